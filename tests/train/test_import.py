"""`python -m train import`: what it prints, and how it ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sources.make_challenges import as_folder, as_zip, challenge_2012, challenge_2019
from train.__main__ import main


@pytest.mark.parametrize(
    ("collection", "words"),
    [
        ("cinc2012", ("Open Data Commons Attribution", "Silva", "39:245–248", "challenge-2012/1.0.0/")),
        ("cinc2019", ("Creative Commons Attribution 4.0", "Reyna", "48(2):210–217", "challenge-2019/1.0.0/")),
    ],
)
def test_help_tells_the_whole_story(
    collection: str, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as done:
        main(["import", collection, "--help"])
    text = capsys.readouterr().out
    assert done.value.code == 0
    assert all(word in text for word in (*words, "wget -r -N -c -np", "Dates are invented", "SRC"))


def test_several_sources_and_what_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = challenge_2012()
    records = as_zip(tmp_path / "set-a.zip", {k: v for k, v in files.items() if k.startswith("set")})
    outcomes = as_folder(tmp_path, {"Outcomes-a.txt": files["Outcomes-a.txt"]}) / "Outcomes-a.txt"
    assert main(["import", "cinc2012", str(records), str(outcomes), str(tmp_path / "out")]) == 0
    text = capsys.readouterr().out
    assert "10 records, 2 deaths in hospital." in text
    assert "Left out, since CLIF 2.1 has no category for them: HCT 1, Urine 1." in text
    assert [line.split() for line in text.splitlines() if line.startswith("  SysABP")] == [
        ["SysABP", "1", "0", "1"]
    ]
    assert "Dates are invented" in text
    assert "cite Silva et al." in text
    assert main(["validate", str(tmp_path / "out")]) == 0


def test_one_directory_an_icu_type(tmp_path: Path) -> None:
    src = as_folder(tmp_path / "src", challenge_2012())
    assert main(["import", "cinc2012", str(src), str(tmp_path / "out"), "--by", "icu-type"]) == 0
    assert main(["validate", str(tmp_path / "out" / "coronary")]) == 0


def test_both_hospitals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    src = as_folder(tmp_path / "src", challenge_2019() | challenge_2019(letter="B"))
    out = tmp_path / "out"
    assert main(["import", "cinc2019", str(src), str(out)]) == 0
    assert "cite Reyna et al." in capsys.readouterr().out
    study = ["tokenize", str(tmp_path / "study"), "--outcomes", str(out / "outcomes.yaml")]
    sites = [f"--site=hospital_{letter}={out}/hospital_{letter}" for letter in "ab"]
    assert main([*study, *sites]) == 0
    text = capsys.readouterr().out
    assert "Sepsis: 1 of the 8 stays that count have the event; 1 had it in the window" in text


@pytest.mark.parametrize(("given", "right"), [("cinc2012", "cinc2019"), ("cinc2019", "cinc2012")])
def test_the_wrong_collection(
    given: str, right: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = challenge_2019() if given == "cinc2012" else challenge_2012()
    src = as_folder(tmp_path / "src", files)
    assert main(["import", given, str(src), str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("Error: ")
    assert f"use `python -m train import {right}`" in error
