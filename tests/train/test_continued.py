"""`--from`: a second hospital with the tokens of a first hospital's study."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest

from ehrfm_core.study.manifest import read_manifest
from tests.make_clif import ID, make_tables, write_tables
from tests.make_continued import (
    NEW,
    make_first,
    n_unknown,
    pretend_to_train,
    run,
    second_hospital,
    site_table,
    stage_of,
    tokenizer_of,
)
from train.__main__ import main


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """The study of the first hospital, its model trained."""
    return make_first(tmp_path)


@pytest.fixture
def clif(tmp_path: Path) -> Path:
    return write_tables(second_hospital(), tmp_path / "second-clif")


def test_new_codes_become_unk(first: Path, clif: Path, tmp_path: Path) -> None:
    study = tmp_path / "second"
    assert run(study, clif, "--from", first) == 0
    assert (study / "tokenizer.json").read_bytes() == (first / "tokenizer.json").read_bytes()
    stage, size = stage_of(study), len(tokenizer_of(first).vocabulary)
    files = {name: s.files for name, s in read_manifest(first).stages.items()}
    assert stage["settings"]["from"] == {
        "tokenizer_sha256": files["tokenize"]["tokenizer.json"],
        "model_sha256": files["pretrain"]["model/model.safetensors"],
        "name": "first",
        "new_codes": "unk",
        "inherited": size,
        "synthetic": False,
    }
    summary = stage["summary"]
    assert (summary["inherited"], summary["appended"], summary["new_codes"]) == (size, 0, 2)
    assert summary["vocabulary_size"] == size
    own = summary["sites"]["ucmc"]
    assert own["unknown_events"] == n_unknown(study) > 0
    assert set(own["unknown_codes"]) == set(NEW)
    share = own["unknown_events"] / own["n_events"]
    told = f"2 codes of ucmc are new to it, and {own['unknown_events']:,} events ({share:.1%}) of ucmc became"
    assert any(
        told in note and f"All {size} tokens are those of study first" in note for note in stage["notes"]
    )
    assert any("have codes that study first lacks" in note for note in stage["notes"])
    splits = site_table(study, "stays")["split"].value_counts()
    assert dict(splits.iter_rows())["train"] > 0.5 * splits["count"].sum()
    assert str(tmp_path) not in (study / "study.json").read_text()


@pytest.mark.parametrize("scheme", ["paper", "fused"])
def test_new_codes_are_appended(clif: Path, tmp_path: Path, scheme: str) -> None:
    first = make_first(tmp_path, "--scheme", scheme)
    study, plain = tmp_path / "second", tmp_path / "plain"
    assert run(study, clif, "--from", first, "--new-codes", "append") == 0
    assert run(plain, clif, "--from", first) == 0
    before, after = tokenizer_of(first), tokenizer_of(study)
    size = len(before.vocabulary)
    assert list(after.vocabulary.items())[:size] == list(before.vocabulary.items())
    added = list(after.vocabulary)[size:]
    assert added == sorted(added)
    assert set(NEW) <= set(added)
    assert ("lab/chloride=Q3" in added) == (scheme == "fused")
    assert all(after.cut_points[code] == cuts for code, cuts in before.cut_points.items())
    stage = stage_of(study)
    summary = stage["summary"]
    assert stage["settings"]["from"]["new_codes"] == "append"
    assert stage["settings"]["from"]["inherited"] == summary["inherited"] == size
    assert summary["appended"] == len(added)
    assert summary["new_codes"] == 2
    assert n_unknown(study) == summary["sites"]["ucmc"]["unknown_events"] == 0
    assert summary["events_saved"] == n_unknown(plain)
    assert any(f"{summary['events_saved']:,} events" in note for note in stage["notes"])
    assert site_table(study, "categories").filter(pl.col("code").is_in(NEW))["known"].all()


def test_a_code_of_the_test_split_alone_stays_unknown(first: Path, clif: Path, tmp_path: Path) -> None:
    study = tmp_path / "second"
    assert run(study, clif, "--from", first) == 0
    stays = site_table(study, "stays").filter(pl.col("split") == "test")[ID].to_list()
    tables = second_hospital()
    hidden = pl.col(ID).is_in(stays)
    tables["labs"] = tables["labs"].with_columns(
        pl.when(hidden).then(pl.lit("troponin_t")).otherwise("lab_category").alias("lab_category")
    )
    write_tables(tables, clif)
    assert run(study, clif, "--from", first, "--new-codes", "append") == 0
    assert "lab/troponin_t" not in tokenizer_of(study).vocabulary
    own = stage_of(study)["summary"]["sites"]["ucmc"]
    assert own["unknown_codes"] == {"lab/troponin_t": n_unknown(study)}
    assert any(
        "neither study first nor the source's training split has" in n for n in stage_of(study)["notes"]
    )


def test_nothing_is_done_twice_and_the_first_study_may_go(
    first: Path, clif: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = tmp_path / "second"
    assert run(study, clif, "--from", first, "--new-codes", "append", "--window", 24, 48) == 0
    before = {path: path.read_bytes() for path in study.rglob("*") if path.is_file()}
    moved = tmp_path / "elsewhere"
    for again in (["--from", first], ["--from", first, "--new-codes", "append"], [], ["--from", moved], []):
        if again == ["--from", moved]:
            first.rename(moved)
        capsys.readouterr()
        assert run(study, clif, *again) == 0
        assert "nothing to do" in capsys.readouterr().out
        assert {path: path.read_bytes() for path in study.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("new_codes", ["unk", "append"])
def test_other_tables_are_tokenized_again_without_the_first_study(
    first: Path, clif: Path, tmp_path: Path, new_codes: str
) -> None:
    study, fresh = tmp_path / "second", tmp_path / "fresh"
    assert run(study, clif, "--from", first, "--new-codes", new_codes) == 0
    tables = second_hospital(seed=2)
    tables["labs"] = tables["labs"].with_columns(pl.col("lab_category").replace("lactate", "glucose_serum"))
    write_tables(tables, clif)
    assert run(fresh, clif, "--from", first, "--new-codes", new_codes) == 0
    shutil.rmtree(first)
    recorded = stage_of(study)["settings"]["from"]
    assert run(study, clif) == 0
    assert (study / "tokenizer.json").read_bytes() == (fresh / "tokenizer.json").read_bytes()
    assert site_table(study, "timelines").equals(site_table(fresh, "timelines"))
    assert stage_of(study)["settings"]["from"] == recorded
    assert any("was not checked" in note for note in stage_of(study)["notes"])
    assert not any("was not checked" in note for note in stage_of(fresh)["notes"])
    # and from unk to append, too
    assert run(study, clif, "--new-codes", "append") == 0
    assert "lab/glucose_serum" in tokenizer_of(study).vocabulary


def test_a_first_study_that_changed_is_followed(
    first: Path, clif: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = tmp_path / "second"
    assert run(study, clif, "--from", first) == 0
    again = make_first(tmp_path, "--n-bins", "4")
    capsys.readouterr()
    assert run(study, clif, "--from", again) == 0
    assert "nothing to do" not in capsys.readouterr().out
    assert tokenizer_of(study).settings.n_bins == 4
    pretend_to_train(again, b"other weights")
    assert run(study, clif, "--from", again) == 0
    assert (
        stage_of(study)["settings"]["from"]["model_sha256"]
        == read_manifest(again).stages["pretrain"].files["model/model.safetensors"]
    )


def test_a_chain_of_studies_and_a_synthetic_beginning(clif: Path, tmp_path: Path) -> None:
    first = make_first(tmp_path, "--synthetic")
    second, third = tmp_path / "second", tmp_path / "third"
    assert run(second, clif, "--from", first, "--new-codes", "append") == 0
    assert not read_manifest(second).synthetic
    pretend_to_train(second)
    other = write_tables(make_tables(seed=3), tmp_path / "third-clif")
    assert run(third, other, "--from", second) == 0
    assert stage_of(third)["settings"]["from"]["inherited"] == len(tokenizer_of(second).vocabulary)
    for study in (second, third):
        assert any("whose model has seen SYNTHETIC data" in note for note in stage_of(study)["notes"])


def test_explain_says_whose_tokens_they_are(
    first: Path, clif: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = tmp_path / "second"
    assert run(study, clif, "--from", first) == 0
    assert "from" not in stage_of(first)["settings"]
    for folder, told in ((study, True), (first, False)):
        capsys.readouterr()
        assert main(["tokenize", str(folder), "--explain", "labs potassium 5.5"]) == 0
        assert ("those of study first" in capsys.readouterr().out) == told


def test_an_ordinary_study_can_be_given_other_tokens(first: Path, clif: Path, tmp_path: Path) -> None:
    study = tmp_path / "second"
    assert run(study, clif, "--n-bins", 4, "--window", 24, 48) == 0
    assert run(study, clif, "--from", first) == 0
    assert (study / "tokenizer.json").read_bytes() == (first / "tokenizer.json").read_bytes()
