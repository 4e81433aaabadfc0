"""Values by category and bin, counted from timelines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ehrfm_core.study import Study, open_study
from ehrfm_core.tokens import bin_counts as module
from ehrfm_core.tokens.bin_counts import SCHEMA, bin_counts
from ehrfm_core.tokens.categories import psi
from ehrfm_core.tokens.settings import TokenSettings
from ehrfm_core.tokens.tokenizer import Tokenizer

DEMO = Path(__file__).parents[2] / "data_samples/studies/demo-two-hospitals"


def _fused() -> Tokenizer:
    names = ["PAD", "UNK", "TRUNC", "TL_START", "TL_END", "age/years=Q1", "lab/k", "lab/k=Q0", "lab/k=Q1"]
    return Tokenizer(TokenSettings(scheme="fused"), {"lab/k": [4.0]}, {n: i for i, n in enumerate(names)})


def test_a_fused_token_counts_for_its_code_and_bin() -> None:
    frame = pl.DataFrame({"tokens": [[3, 5, 7, 6, 8, 8], [3, 5, 1]]})
    assert bin_counts(frame, _fused()).rows() == [("age", 1, 2), ("lab/k", 0, 1), ("lab/k", 1, 2)]


def test_nothing_counts_to_nothing() -> None:
    empty = pl.DataFrame({"tokens": []}, schema={"tokens": pl.List(pl.Int32)})
    assert bin_counts(empty, _fused()).schema == SCHEMA
    assert bin_counts(pl.DataFrame({"tokens": [[3, 6]]}), _fused()).is_empty()


def test_stays_in_parts_count_to_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    study = open_study(DEMO)
    tokenizer = Tokenizer.from_json(study.tokenizer())
    frame = study.site_table("mimic", "timelines").head(50)
    whole = bin_counts(frame, tokenizer)
    monkeypatch.setattr(module, "STAYS_AT_A_TIME", 7)
    assert bin_counts(frame, tokenizer).equals(whole)


def _counts(study: Study, tokenizer: Tokenizer, site: str, splits: tuple[str, ...]) -> dict[str, np.ndarray]:
    stays = study.site_table(site, "stays").filter(pl.col("split").is_in(splits))
    timelines = study.site_table(site, "timelines").join(stays, on="hospitalization_id", how="semi")
    found: dict[str, np.ndarray] = {}
    for code, index, n in bin_counts(timelines, tokenizer).iter_rows():
        found.setdefault(code, np.zeros(len(tokenizer.value_tokens(code)), dtype=np.int64))[index] = n
    return found


def test_the_counts_give_the_drift_that_the_study_holds() -> None:
    study = open_study(DEMO)
    tokenizer = Tokenizer.from_json(study.tokenizer())
    expected = _counts(study, tokenizer, "mimic", ("train",))
    for site, splits in (("mimic", ("tuning", "test")), ("ucmc", ("train", "tuning", "test"))):
        own = _counts(study, tokenizer, site, splits)
        known = study.site_table(site, "categories").drop_nulls("psi")
        assert known.height > 50
        for row in known.iter_rows(named=True):
            found = psi(expected[row["code"]], own[row["code"]])
            assert found == pytest.approx((row["psi"], row["psi_noise"]))
