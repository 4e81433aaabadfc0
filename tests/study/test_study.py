from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from ehrfm_core.errors import UserError
from ehrfm_core.study import list_studies, open_study
from ehrfm_core.study.files import replacing, write_table
from ehrfm_core.study.layout import RESULT_FILES, result_file
from ehrfm_core.study.manifest import Manifest, read_manifest
from ehrfm_core.study.staging import staging
from ehrfm_core.study.writer import StageResult, create_or_open, finish, inputs_of, is_current
from tests.reseal import reseal


def begin(folder: Path, **changes: object) -> Path:
    options = {"sites": ["mimic"], "source": "mimic", "synthetic": False} | changes
    create_or_open(folder, **options)  # type: ignore[arg-type]
    return folder


def done(folder: Path, stage: str, settings: dict, inputs: dict, name: str) -> None:
    write(folder, stage, settings, inputs, {name: stage})


def write(
    folder: Path,
    stage: str,
    settings: dict,
    inputs: dict,
    files: dict[str, str],
    manifest: Manifest | None = None,
) -> None:
    with staging(folder, stage) as staged:
        for name, text in files.items():
            (staged / name).parent.mkdir(parents=True, exist_ok=True)
            (staged / name).write_text(text)
        result = StageResult(list(files))
        finish(folder, manifest or read_manifest(folder), stage, settings, inputs, result, run={"seconds": 1})


def test_a_finished_stage_is_current_until_something_changes(tmp_path: Path) -> None:
    study = begin(tmp_path / "s")
    assert not is_current(study, read_manifest(study), "tokenize", {"a": 1}, {})
    done(study, "tokenize", {"a": 1}, {"x": "1"}, "tokens")
    manifest = read_manifest(study)
    assert is_current(study, manifest, "tokenize", {"a": 1}, {"x": "1"})
    assert not is_current(study, manifest, "tokenize", {"a": 2}, {"x": "1"})
    assert not is_current(study, manifest, "tokenize", {"a": 1}, {"x": "2"})
    (study / "tokens").write_text("changed by hand")
    assert not is_current(study, manifest, "tokenize", {"a": 1}, {"x": "1"})
    (study / "tokens").unlink()
    assert not is_current(study, manifest, "tokenize", {"a": 1}, {"x": "1"})


def next_stage(folder: Path, stage: str, name: str) -> None:
    done(folder, stage, {}, inputs_of(folder, read_manifest(folder), stage), name)


def test_later_stages_stay_finished_only_where_what_they_read_is_unchanged(tmp_path: Path) -> None:
    study = begin(tmp_path)
    done(study, "tokenize", {}, {}, "sites/mimic/stays.parquet")
    next_stage(study, "pretrain", "model")
    next_stage(study, "embed", "states")
    done(study, "tokenize", {"other": "setting, same files"}, {}, "sites/mimic/stays.parquet")
    assert list(read_manifest(study).stages) == ["tokenize", "pretrain", "embed"]
    write(study, "tokenize", {}, {}, {"sites/mimic/stays.parquet": "other"})
    assert list(read_manifest(study).stages) == ["tokenize"]


def test_a_second_site_leaves_the_pretrained_model_finished(tmp_path: Path) -> None:
    study = begin(tmp_path)
    done(study, "tokenize", {}, {}, "sites/mimic/stays.parquet")
    next_stage(study, "pretrain", "model")
    next_stage(study, "embed", "states")
    manifest = create_or_open(study, sites=["mimic", "ucmc"], source="mimic", synthetic=False)
    files = {"sites/mimic/stays.parquet": "tokenize", "sites/ucmc/stays.parquet": "new"}
    write(study, "tokenize", {}, {}, files, manifest)
    assert list(read_manifest(study).stages) == ["tokenize", "pretrain"]


def test_a_stage_needs_the_ones_before_it_as_they_were_written(tmp_path: Path) -> None:
    study = begin(tmp_path)
    with pytest.raises(UserError, match="stage tokenize has not run"):
        inputs_of(study, read_manifest(study), "embed")
    done(study, "tokenize", {}, {}, "tokenizer.json")
    (study / "tokenizer.json").write_text("changed by hand")
    with pytest.raises(UserError, match=r"tokenizer.json is missing or not as it was written"):
        inputs_of(study, read_manifest(study), "pretrain")


def test_opening_changes_nothing_and_a_site_goes_only_when_the_new_tokens_are_there(tmp_path: Path) -> None:
    study = begin(tmp_path, sites=["mimic", "ucmc"])
    done(study, "tokenize", {}, {}, "a")
    (study / "sites" / "ucmc").mkdir(parents=True)
    before = (study / "study.json").read_bytes()
    begin(study, sites=["ucmc", "mimic"])
    manifest = create_or_open(study, sites=["mimic"], source="mimic", synthetic=False)
    assert (study / "study.json").read_bytes() == before
    assert (study / "sites" / "ucmc").exists()
    write(study, "tokenize", {}, {}, {"a": "tokenize"}, manifest)
    assert not (study / "sites" / "ucmc").exists()
    with pytest.raises(UserError, match="is a study of mimic, not of elsewhere"):
        begin(study, sites=["elsewhere"], source="elsewhere")


def test_calling_it_synthetic_keeps_its_stages(tmp_path: Path) -> None:
    study = begin(tmp_path)
    done(study, "tokenize", {}, {}, "a")
    begin(study, synthetic=True)
    assert read_manifest(study).synthetic
    assert "tokenize" in read_manifest(study).stages


def test_a_first_write_that_was_killed_does_not_block_the_folder(tmp_path: Path) -> None:
    (tmp_path / ".study.json.partial").write_text("{")
    begin(tmp_path)
    assert read_manifest(tmp_path).sites == ["mimic"]


def test_a_folder_that_is_no_study_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_text("sea")
    with pytest.raises(UserError, match="holds holiday.jpg but no study.json"):
        begin(tmp_path)
    with pytest.raises(UserError, match="is not a folder"):
        begin(tmp_path / "holiday.jpg")
    with pytest.raises(UserError, match="is not a study"):
        open_study(tmp_path)
    with pytest.raises(UserError, match="does not exist"):
        open_study(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".", "-x", "a" * 41, "ä"])
def test_names_that_cannot_be_a_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="cannot be a site's name"):
        begin(tmp_path, sites=[name], source=name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not readable JSON"),
        ('{"format_version": 99}', "format version 99"),
        ("[]", "format version None"),
        ('{"format_version": 1}', "not a complete manifest"),
        ('{"format_version": 1, "stages": [], "source": "a", "sites": []}', "not a complete manifest"),
        ('{"format_version": 1, "stages": {}, "source": "a", "sites": null}', "not a complete manifest"),
        ('{"format_version": 1, "stages": {}, "source": "../a", "sites": ["../a"]}', "cannot be a site"),
        (
            '{"format_version": 1, "source": "a", "sites": ["a"], "stages": {"tokenize": '
            '{"fingerprint": "", "settings": {}, "files": {"../x": ""}}}}',
            "names a file outside the study",
        ),
        ("[" * 100_000, "not readable JSON"),
    ],
)
def test_a_manifest_that_is_broken(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "study.json").write_text(text)
    with pytest.raises(UserError, match=message):
        open_study(tmp_path / "s")
    begin(tmp_path / "good")
    found = list_studies(tmp_path)
    assert isinstance(found["s"], UserError)
    assert not isinstance(found["good"], UserError)


def test_a_table_that_is_missing_or_broken_is_named(tmp_path: Path) -> None:
    name = result_file("metrics")
    folder, path = begin(tmp_path), tmp_path / name
    with pytest.raises(UserError, match=r"metrics.parquet is missing"):
        open_study(folder).result("metrics")
    path.parent.mkdir()
    path.write_bytes(b"PAR1 no")
    with pytest.raises(UserError, match=r"metrics.parquet belongs to no finished stage"):
        open_study(folder).result("metrics")
    done(folder, "evaluate", {}, {}, name)
    with pytest.raises(UserError, match=r"metrics.parquet is not readable as parquet"):
        open_study(folder).result("metrics")
    pl.DataFrame({"model": ["probe"]}).write_parquet(path)
    with pytest.raises(UserError, match=r"metrics.parquet is not as it was written"):
        open_study(folder).result("metrics")
    reseal(folder)
    with pytest.raises(UserError, match="column 'arm' is missing"):
        open_study(folder).result("metrics")
    with pytest.raises(UserError, match="has no site 'mars'"):
        open_study(folder).site_table("mars", "stays")


def test_tables_are_written_as_the_contract_says(tmp_path: Path) -> None:
    schema = RESULT_FILES["associations"]
    frame = pl.DataFrame({column: [None] for column in schema})
    write_table(tmp_path / "a.parquet", frame, schema)
    assert dict(pl.read_parquet_schema(tmp_path / "a.parquet")) == schema


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a.json", "old")]


def test_the_manifest_tells_neither_time_nor_place(tmp_path: Path) -> None:
    study = begin(tmp_path)
    done(study, "tokenize", {"a": 1}, {}, "tokens")
    text = (study / "study.json").read_text()
    assert str(tmp_path) not in text
    assert set(json.loads(text)) >= {"format_version", "source", "sites", "packages", "stages"}
    first = text
    done(study, "tokenize", {"a": 1}, {}, "tokens")
    assert (study / "study.json").read_text() == first
