"""`python -m train synthesize`, and what the next command makes of its hospitals."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from ehrfm_core.synthesis.hospital import SITES
from train.__main__ import main

COMMAND = ["--stays", "40", "--draws", "2"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two hospitals of forty stays, all shifted, as the command writes them."""
    out = tmp_path_factory.mktemp("made") / "hospitals"
    assert main(["synthesize", str(out), *COMMAND]) == 0
    return out


def record(out: Path) -> dict:
    return json.loads((out / "synthesis.json").read_text())


def test_it_says_where_they_are_and_how_to_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "hospitals"
    assert main(["synthesize", str(out), *COMMAND, "--shift", "time, coverage", "--seed", "4"]) == 0
    said = capsys.readouterr().out
    assert "Wrote mimic 40, ucmc 40 stays" in said
    assert "Shift: coverage, time." in said
    assert f"python -m train study STUDY --site mimic={out / 'mimic'} --site ucmc={out / 'ucmc'}" in said
    assert f"{out / 'truth'}" in said
    assert record(out)["shift"] == ["coverage", "time"]
    assert (record(out)["seed"], record(out)["draws"]) == (4, 2)


def test_defaults_are_those_that_help_tells(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert record(made)["shift"] == ["population", "coverage", "policy", "measurement", "time"]
    assert record(made)["seed"] == 0
    with pytest.raises(SystemExit) as caught:
        main(["synthesize", "--help"])
    assert caught.value.code == 0
    said = capsys.readouterr().out
    for word in ("population", "coverage", "policy", "measurement", "time", "institution", "none", "truth"):
        assert word in said


def test_no_shift_is_told_as_such(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["synthesize", str(tmp_path / "out"), *COMMAND, "--shift", "none"]) == 0
    assert "nothing: both are one distribution" in capsys.readouterr().out


def test_the_second_run_does_nothing_and_says_so(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*")}
    assert main(["synthesize", str(made), *COMMAND]) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in made.rglob("*")} == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--shift", "tme"], "'tme' is none of population, coverage, policy, measurement, time"),
        (["--shift", "all,time"], "give one of all, institution, none alone"),
        (["--stays", "5000001"], "give a number from 1 to 5,000,000"),
        (["--draws", "1"], "at least 2 simulated futures"),
        (["--draws", "-4"], "at least 2 simulated futures"),
    ],
)
def test_a_mistake_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    assert main(["synthesize", str(tmp_path / "out"), *COMMAND, *options]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("Error: ")
    assert captured.err.count("\n") == 1
    assert said in captured.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "options",
    [
        ["--stays", "0"],
        ["--stays", "mimic=5"],
        ["--stays", "mimic=5,ucmc=0"],
        ["--seed", "-1"],
        ["--draws", "x"],
    ],
)
def test_what_is_no_number_is_refused_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["synthesize", str(tmp_path / "out"), *options])
    assert caught.value.code == 2
    assert options[0] in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_other_options_or_other_files_are_refused(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["synthesize", str(made), *COMMAND, "--seed", "9"]) == 1
    assert "(seed 0, not 9)" in capsys.readouterr().err
    (tmp_path / "thesis.tex").write_text("precious")
    assert main(["synthesize", str(tmp_path), *COMMAND]) == 1
    assert "holds thesis.tex, which is not from this command" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    assert main(["synthesize", str(tmp_path / "thesis.tex"), *COMMAND]) == 1
    assert "is not a folder" in capsys.readouterr().err
    assert main(["synthesize", str(tmp_path / "thesis.tex" / "out"), *COMMAND]) == 1
    assert "thesis.tex" in capsys.readouterr().err


def test_interrupted_it_says_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr("ehrfm_core.synthesis.write.synthesize", stop)
    assert main(["synthesize", str(tmp_path / "out"), *COMMAND]) == 130
    assert "run the same command again" in capsys.readouterr().err


def test_each_hospital_may_have_a_number_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["synthesize", str(out), "--stays", "mimic=30,ucmc=10", "--draws", "2"]) == 0
    assert "Wrote mimic 30, ucmc 10 stays" in capsys.readouterr().out
    assert record(out)["stays"] == {"mimic": 30, "ucmc": 10}


def test_validate_finds_nothing_wrong(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for site in SITES:
        assert main(["validate", str(made / site), "--events", "all", "--json"]) == 0
        printed = capsys.readouterr().out
        counts = json.loads(printed)["counts"]
        told = json.loads(printed)["findings"]
        # among few stays nobody may have died, which is worth a warning anywhere
        assert counts["error"] == 0
        assert [
            one for one in told if one["level"] == "warning" and "in-hospital death" not in one["message"]
        ] == []


def tokenized(study: Path, made: Path, *options: str) -> dict:
    sites = [argument for site in SITES for argument in ("--site", f"{site}={made / site}")]
    assert main(["tokenize", str(study), *sites, *options]) == 0
    return json.loads((study / "study.json").read_text())


def test_a_study_of_them_is_synthetic_without_being_told(made: Path, tmp_path: Path) -> None:
    written = tokenized(tmp_path / "study", made)
    assert written["synthetic"] is True
    assert written["sites"] == list(SITES)
    for site in SITES:
        stays = pl.read_parquet(tmp_path / "study" / "sites" / site / "stays.parquet")
        assert stays.height == 40
        assert not [name for name in stays.columns if name.startswith(("risk", "happened", "severity"))]


def test_one_synthetic_hospital_beside_another_is_enough(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "mimic", tmp_path / "mimic")
    shutil.copytree(made / "ucmc", tmp_path / "ucmc")
    (tmp_path / "mimic" / "synthetic.json").unlink()
    assert tokenized(tmp_path / "study", tmp_path)["synthetic"] is True
    (tmp_path / "ucmc" / "synthetic.json").unlink()
    assert tokenized(tmp_path / "other", tmp_path)["synthetic"] is False
    assert tokenized(tmp_path / "told", tmp_path, "--synthetic")["synthetic"] is True


def test_the_truth_is_never_read(made: Path, tmp_path: Path) -> None:
    """Without the truth, or with one that nobody could read, the study is the same."""
    written = tokenized(tmp_path / "study", made)
    without = tmp_path / "without"
    for site in SITES:
        shutil.copytree(made / site, without / site)
    (without / "truth").mkdir()
    (without / "truth" / "stays.parquet").write_text("not even parquet")
    stages = tokenized(tmp_path / "again", without)["stages"]
    assert stages["tokenize"]["fingerprint"] == written["stages"]["tokenize"]["fingerprint"]
    files = sorted(path.relative_to(tmp_path / "study") for path in (tmp_path / "study").rglob("*.parquet"))
    assert files
    for name in [*files, Path("tokenizer.json")]:
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "study" / name).read_bytes()
