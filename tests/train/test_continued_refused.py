"""`--from`: what cannot be continued, and what would change or betray the first study's tokens."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.make_clif import write_tables
from tests.make_continued import make_first, run, second_hospital, stage_of, tokenizer_of
from train.__main__ import main


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """The study of the first hospital, its model trained."""
    return make_first(tmp_path)


@pytest.fixture
def clif(tmp_path: Path) -> Path:
    return write_tables(second_hospital(), tmp_path / "second-clif")


def test_a_tokenizer_that_was_changed_by_hand_is_not_built_upon(
    first: Path, clif: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = tmp_path / "second"
    assert run(study, clif, "--from", first) == 0
    whole = (study / "tokenizer.json").read_bytes()
    (study / "tokenizer.json").write_bytes(whole.replace(b"lab/potassium", b"lab/potassiun"))
    assert run(study, clif) == 1
    assert "give --from with the folder of that study again" in capsys.readouterr().err
    assert run(study, clif, "--from", first) == 0
    assert (study / "tokenizer.json").read_bytes() == whole


SCHEME = {
    "--n-bins 4": "--n-bins: study first was made with n bins 10, not 4, and --from keeps its tokens",
    "--preset fused": "--preset: study first was made with scheme paper, not fused",
    "--preset paper --scheme fused": "--scheme: study first was made with scheme paper, not fused",
    "--bins reference": "--bins: study first was made with bins quantile, not reference",
    "--spacing": "--spacing: study first was made with spacing off, not on",
    "--labs fine": "--labs: study first was made with labs coarse, not fine",
    "--window 48": "--window: study first was made with window hours 24, not 48",
    "--max-tokens 99": "--max-tokens: study first was made with max tokens 1024, not 99",
    "--events all": "--events: study first was made with events paper, not all",
}


def test_options_that_would_change_the_scheme(
    first: Path, clif: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = tmp_path / "second"
    for options, message in SCHEME.items():
        assert run(study, clif, "--from", first, *options.split()) == 1
        shown = capsys.readouterr().err
        assert message in shown
        assert shown.count("\n") == 1
        assert not study.exists()
    same = "--preset paper --scheme paper --n-bins 10 --max-tokens 1024 --events paper --window 24 48 all"
    assert run(study, clif, "--from", first, *same.split()) == 0
    assert tokenizer_of(study).settings.more_windows == (48.0, None)
    assert run(study, clif, "--n-bins", "4") == 1  # nor later, without --from
    assert SCHEME["--n-bins 4"] in capsys.readouterr().err


def test_first_studies_that_cannot_be_continued(
    first: Path, clif: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = tmp_path / "second"

    def refused(*options: object, to: Path = study) -> str:
        assert run(to, clif, *options) == 1
        shown = capsys.readouterr().err
        assert shown.count("\n") == 1
        assert not study.exists()
        return shown

    assert "a study cannot continue itself" in refused("--from", tmp_path / "x" / ".." / "first", to=first)
    assert "no study is there" in refused("--from", tmp_path / "nowhere")
    assert "give --from as well" in refused("--new-codes", "append")
    tokens = (first / "tokenizer.json").read_bytes()
    for path in ("tokenizer.json", "model/model.safetensors"):
        kept = (first / path).read_bytes()
        (first / path).write_bytes(kept + b" ")
        assert f"{path} is missing or not as it was written" in refused("--from", first)
        (first / path).unlink()
        assert f"{path} is missing or not as it was written" in refused("--from", first)
        (first / path).write_bytes(kept)
    assert (first / "tokenizer.json").read_bytes() == tokens
    assert main(["tokenize", str(first), "--site", f"mimic={tmp_path / 'first-clif'}", "--n-bins", "5"]) == 0
    capsys.readouterr()
    assert "its stage pretrain has not finished" in refused("--from", first)


def test_patients_that_the_model_was_trained_on_are_no_test(
    first: Path, clif: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study, home = tmp_path / "second", tmp_path / "first-clif"
    # the first hospital as a target: nine in ten of its patients would be tests
    assert run(study, clif, "--from", first, "--site", f"mimic={home}") == 1
    assert (
        "the model of first was trained on their patients; leave --site mimic out" in capsys.readouterr().err
    )
    assert not (study / "tokenizer.json").exists()
    # the same hospital again has the same split: no test stay was trained on
    assert main(["tokenize", str(tmp_path / "again"), "--site", f"mimic={home}", "--from", str(first)]) == 0
    # where the checkpoint came alone, nobody can tell
    shutil.rmtree(first / "sites")
    assert run(study, clif, "--from", first, "--site", f"mimic={home}") == 0
    assert any("was not checked" in note for note in stage_of(study)["notes"])
