from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from ehrfm_core.evaluation.boosting import fit_boosting
from ehrfm_core.evaluation.sites import ID, Stays, align
from ehrfm_core.evaluation.value_features import STATISTICS, Codes, value_features

from .data import make_site

PAPER = {
    name: i for i, name in enumerate(["PAD", "TL_START", "Q0", "Q1", "Q2", "lab/a", "vital/b", "time/1h-2h"])
}
FUSED = {
    name: i for i, name in enumerate(["PAD", "TL_START", "lab/a=Q0", "lab/a=Q1", "lab/a=HIGH", "vital/b"])
}


def stays_of(windows: list[list[str]], vocabulary: dict[str, int]) -> Stays:
    site = make_site("a", len(windows))
    tokens = [[vocabulary[token] for token in window] for window in windows]
    table = pl.DataFrame({ID: sorted(site.state_ids), "tokens": pl.Series(tokens, dtype=pl.List(pl.Int32))})
    return align(replace(site, windows=table))[0]


def table(stays: Stays, vocabulary: dict[str, int]) -> dict[tuple[str, str], list[float]]:
    codes = Codes.of(vocabulary)
    found = value_features(stays, codes)
    names = [(statistic, code) for statistic in STATISTICS for code in codes.columns]
    return {name: found[:, k].tolist() for k, name in enumerate(names)}


def test_values_belong_to_the_code_before_them() -> None:
    windows = [
        ["TL_START", "lab/a", "Q1", "vital/b", "Q0", "lab/a", "Q0", "lab/a", "Q2"],
        ["TL_START", "vital/b", "time/1h-2h", "lab/a"],
        ["Q2", "vital/b", "Q2"],  # the first stands at the beginning of a stay: nobody's
    ]
    found = table(stays_of(windows, PAPER), PAPER)
    none = float("nan")
    assert found["count", "lab/a"] == [3, 1, 0]
    for statistic, values in {"last": 2, "lowest": 0, "highest": 2, "mean": 1}.items():
        assert found[statistic, "lab/a"] == pytest.approx([values, none, none], nan_ok=True)
    assert found["last", "vital/b"] == pytest.approx([0, none, 2], nan_ok=True)
    assert ("count", "time/1h-2h") not in found


def test_fused_tokens_are_code_and_value_in_one() -> None:
    windows = [["TL_START", "lab/a=Q1", "lab/a=HIGH", "vital/b"], ["TL_START", "vital/b", "vital/b"]]
    found = table(stays_of(windows, FUSED), FUSED)
    none = float("nan")
    assert found["count", "lab/a"] == [2, 0]
    assert found["count", "vital/b"] == [1, 2]
    assert found["last", "lab/a"] == pytest.approx([2, none], nan_ok=True)
    assert found["mean", "lab/a"] == pytest.approx([1.5, none], nan_ok=True)
    assert np.isnan(found["last", "vital/b"]).all()


def test_an_empty_window() -> None:
    found = table(stays_of([[], ["lab/a", "Q1"]], PAPER), PAPER)
    assert found["count", "lab/a"] == [0, 1]


def test_boosting_reads_what_is_missing_and_is_the_same_again() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3)).astype(np.float32)
    labels = x[:, 0] + 0.3 * rng.normal(size=400) > 0.5
    x[rng.random(x.shape) < 0.2] = np.nan
    x[:, 2] = np.nan  # nobody has it
    one, other = (fit_boosting(x, labels, seed=1).probability(x) for _ in range(2))
    assert np.array_equal(one, other)
    assert np.mean((one > 0.5) == labels) > 0.85
    assert len(fit_boosting(x, labels, seed=1).probability(x[:0])) == 0
