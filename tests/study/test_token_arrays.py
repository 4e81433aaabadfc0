from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ehrfm_core.model.packing import Pieces
from ehrfm_core.study import open_study, token_arrays
from ehrfm_core.study.layout import SITE_FILES, site_file
from ehrfm_core.study.reader import Study
from ehrfm_core.study.token_arrays import read_token_arrays, write_token_arrays
from tests.make_study import make_study
from tests.reseal import reseal

ID = "hospitalization_id"
SPLITS = ("train", "tuning")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_study(tmp_path_factory.mktemp("study"), sites={"mimic": 60}, stages=("tokenize",))


@pytest.fixture
def study(folder: Path) -> Study:
    return open_study(folder)


def wanted(study: Study, split: str) -> list[list[int]]:
    stays = study.site_table("mimic", "stays").filter(pl.col("split") == split)["hospitalization_id"]
    timelines = study.site_table("mimic", "timelines")
    return timelines.filter(pl.col("hospitalization_id").is_in(stays.implode()))["tokens"].to_list()


def found(folder: Path, split: str) -> list[list[int]]:
    lists = read_token_arrays(folder, split)
    return [lists[i].tolist() for i in range(len(lists))]


@pytest.mark.parametrize("rows", [1, 7, 60, 4096])
def test_every_timeline_of_a_split_is_there_in_the_tables_order(
    rows: int, study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_arrays, "ROWS_AT_A_TIME", rows)
    write_token_arrays(study, "mimic", SPLITS, tmp_path / "arrays")
    for split in SPLITS:
        assert found(tmp_path / "arrays", split) == wanted(study, split) != []
    assert {path.name for path in (tmp_path / "arrays").rglob("*")} == {*SPLITS, "tokens.npy", "offsets.npy"}


def test_tokens_stay_on_the_disk_and_cannot_be_changed(study: Study, tmp_path: Path) -> None:
    write_token_arrays(study, "mimic", SPLITS, tmp_path / "arrays")
    lists = read_token_arrays(tmp_path / "arrays", "train")
    assert isinstance(lists.values, np.memmap)
    assert lists.values.dtype == np.uint16
    assert lists.offsets.dtype == np.int64
    assert not lists.values.flags.writeable
    pieces = Pieces.of(lists, max_tokens=100)
    assert isinstance(pieces.values, np.memmap)
    assert pieces[0].tolist() == wanted(study, "train")[0][:100]


@pytest.mark.parametrize(("highest", "dtype"), [(65_535, np.uint16), (65_536, np.uint32)])
def test_tokens_take_as_little_room_as_the_vocabulary_allows(
    highest: int, dtype: type, tmp_path: Path
) -> None:
    folder = make_study(tmp_path / "study", sites={"mimic": 20}, stages=("tokenize",))
    content = json.loads((folder / "tokenizer.json").read_text())
    content["vocabulary"]["lab/rare"] = highest
    (folder / "tokenizer.json").write_text(json.dumps(content))
    path = folder / site_file("mimic", "timelines")
    rare = pl.read_parquet(path).with_columns(
        tokens=pl.concat_list("tokens", pl.lit(highest)).cast(pl.List(pl.Int32))
    )
    rare.cast(SITE_FILES["timelines"]).write_parquet(path)  # type: ignore[arg-type]
    reseal(folder)
    study = open_study(folder)
    write_token_arrays(study, "mimic", SPLITS, tmp_path / "arrays")
    assert read_token_arrays(tmp_path / "arrays", "train").values.dtype == dtype
    assert found(tmp_path / "arrays", "train") == wanted(study, "train")
    assert found(tmp_path / "arrays", "train")[0][-1] == highest


def test_what_was_there_before_is_gone(study: Study, tmp_path: Path) -> None:
    write_token_arrays(study, "mimic", (*SPLITS, "test"), tmp_path / "arrays")
    write_token_arrays(study, "mimic", SPLITS, tmp_path / "arrays")
    assert {path.name for path in (tmp_path / "arrays").iterdir()} == set(SPLITS)


def test_a_split_without_stays_is_empty(study: Study, tmp_path: Path) -> None:
    write_token_arrays(study, "mimic", ("none",), tmp_path / "arrays")
    lists = read_token_arrays(tmp_path / "arrays", "none")
    assert (len(lists), len(lists.values), lists.offsets.tolist()) == (0, 0, [0])
    assert len(Pieces.of(lists, max_tokens=8)) == 0


def test_with_history_stays_of_a_patient_that_follow_each_other_are_one_timeline(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(folder, tmp_path / "study")
    path = tmp_path / "study" / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"history": True}))
    reseal(tmp_path / "study")
    study = open_study(tmp_path / "study")
    monkeypatch.setattr(token_arrays, "ROWS_AT_A_TIME", 7)
    write_token_arrays(study, "mimic", SPLITS, tmp_path / "arrays")
    tokens = dict(study.site_table("mimic", "timelines").select(ID, "tokens").iter_rows())
    rows = study.site_table("mimic", "earlier").join(study.site_table("mimic", "stays"), on=ID)
    for split in SPLITS:
        chains = [
            [token for stay in stays for token in tokens[stay]]
            for (stays,) in rows.filter(pl.col("split") == split)
            .group_by("patient_id")
            .agg(pl.col(ID).sort_by("place"))
            .select(ID)
            .iter_rows()
        ]
        assert sorted(found(tmp_path / "arrays", split)) == sorted(chains)
        assert len(chains) < rows.filter(pl.col("split") == split).height
