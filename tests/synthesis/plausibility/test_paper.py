from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from statsmodels.stats.proportion import proportion_confint

from ehrfm_core.synthesis.plausibility.paper import SCHEMA, against_paper

OUTCOMES = ("death", "long_los", "icu", "imv", "icu_24h", "imv_24h")


def stays(n: int = 400, **columns: Any) -> pl.DataFrame:
    """The test split, two stays a patient; of the training split one stay that must not count."""
    rng = np.random.default_rng(0)
    known = {
        "patient_id": [f"p{i // 2}" for i in range(n)],
        "split": "test",
        "age": rng.normal(60, 10, n),
        "n_tokens": rng.integers(50, 150, n),
        "sex": ["Female", "Male"] * (n // 2),
        "race": ["Black or African American", None, "White", "White"] * (n // 4),
        **{name: [True, False, False, False] * (n // 4) for name in OUTCOMES},
    }
    frame = pl.DataFrame(known | columns)
    stranger = frame.head(1).with_columns(split=pl.lit("train"), n_tokens=pl.lit(10**6, dtype=pl.Int64))
    return pl.concat([frame, stranger])


def row(frame: pl.DataFrame, name: str) -> dict[str, Any]:
    return frame.row(by_predicate=pl.col("characteristic") == name, named=True)


def test_shares_means_and_differences() -> None:
    table = stays()
    found = against_paper(table, "ucmc")
    assert dict(found.schema) == SCHEMA
    low, high = proportion_confint(200, 400, method="wilson")
    female = row(found, "female")
    assert (female["synthetic"], female["published"]) == (0.5, 0.561)
    assert female["difference"] == pytest.approx(-0.061)
    assert (female["ci_low"], female["ci_high"]) == pytest.approx((low, high))
    assert row(found, "african_american")["synthetic"] == 0.25
    assert row(found, "death")["difference"] == pytest.approx(0.25 - 0.027)
    tokens = row(found, "n_tokens")
    assert tokens["synthetic"] == pytest.approx(table["n_tokens"].head(400).mean())
    assert tokens["ci_low"] < tokens["synthetic"] < tokens["ci_high"]
    size = row(found, "n_stays")
    assert (size["synthetic"], size["published"], size["difference"]) == (400, 53991, None)


def test_a_mean_has_the_interval_of_its_patients() -> None:
    age = np.repeat(np.random.default_rng(1).normal(60, 10, 200), 2)  # both stays at one age
    found = row(against_paper(stays(age=age), "mimic"), "age")
    of_patients = 1.96 * age[::2].std() / 200**0.5
    assert found["ci_high"] - found["ci_low"] == pytest.approx(2 * of_patients, rel=0.15)


def test_what_is_not_known_does_not_count() -> None:
    unknown = pl.Series([None] * 400, dtype=pl.Boolean)
    found = against_paper(stays(imv=unknown, icu=[True, None] * 200), "mimic")
    imv = row(found, "imv")
    assert (imv["n"], imv["synthetic"], imv["difference"], imv["published"]) == (0, None, None, 0.068)
    assert (row(found, "icu")["n"], row(found, "icu")["synthetic"]) == (200, 1.0)


def test_no_stay_in_the_test_split() -> None:
    found = against_paper(stays().filter(pl.col("split") == "train"), "mimic")
    assert found.height == 11
    assert found.filter(pl.col("characteristic") != "n_stays")["synthetic"].null_count() == 10
    assert row(found, "n_stays")["synthetic"] == 0
