"""Two hospitals, and a study of the first that the second can go on from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from ehrfm_core.study.manifest import read_manifest
from ehrfm_core.study.staging import staging
from ehrfm_core.study.writer import StageResult, finish
from ehrfm_core.tokens.tokenizer import Tokenizer
from tests.make_clif import Tables, make_tables, write_tables
from train.__main__ import main

NEW = ("lab/chloride", "vital/map")


def second_hospital(seed: int = 1) -> Tables:
    tables = make_tables(patients=14, seed=seed)
    tables["labs"] = tables["labs"].with_columns(pl.col("lab_category").replace("sodium", "chloride"))
    tables["vitals"] = tables["vitals"].with_columns(pl.col("vital_category").replace("spo2", "map"))
    return tables


def pretend_to_train(study: Path, weights: bytes = b"weights") -> None:
    """A finished stage of pretraining without the training."""
    with staging(study, "pretrain") as staged:
        (staged / "model").mkdir()
        (staged / "model" / "model.safetensors").write_bytes(weights)
        result = StageResult(files=["model/model.safetensors"])
        finish(study, read_manifest(study), "pretrain", {}, {}, result, run={})


def make_first(tmp_path: Path, *options: str) -> Path:
    """A study of the first hospital in `tmp_path`, its model trained."""
    clif = write_tables(make_tables(), tmp_path / "first-clif")
    study = tmp_path / "first"
    assert main(["tokenize", str(study), "--site", f"mimic={clif}", *options]) == 0
    pretend_to_train(study)
    return study


def run(study: Path, clif: Path, *options: object) -> int:
    return main(["tokenize", str(study), "--site", f"ucmc={clif}", *map(str, options)])


def stage_of(study: Path) -> dict[str, Any]:
    return json.loads((study / "study.json").read_text())["stages"]["tokenize"]


def tokenizer_of(study: Path) -> Tokenizer:
    return Tokenizer.from_json(json.loads((study / "tokenizer.json").read_text()))


def site_table(study: Path, name: str) -> pl.DataFrame:
    return pl.read_parquet(study / "sites" / "ucmc" / f"{name}.parquet")


def n_unknown(study: Path) -> int:
    """UNK among the events of all stays, the static tokens in front left out."""
    tokens = site_table(study, "timelines")["tokens"]
    head = 1 + len(tokenizer_of(study).prefix)
    return int((tokens.list.slice(head).explode() == 1).sum())
