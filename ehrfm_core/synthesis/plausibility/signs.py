"""Which way pairs of labs and vitals move together, in two hospitals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from ehrfm_core.evaluation.intervals import Statistic, percentile_interval, replicates
from ehrfm_core.synthesis.plausibility.readings import Category, Records

BIN_HOURS = 6
MOST_STAYS = 2000  # of a pair, drawn at random where there are more: the real demo has 245
FEWEST_PATIENTS = 10  # with both of a pair; below that no correlation is told

_VITALS = ("heart_rate", "respiratory_rate", "temp_c", "spo2", "sbp", "dbp", "map")
PAIRS = (
    ("lactate", "map"),
    ("lactate", "bicarbonate"),
    ("lactate", "ph_arterial"),
    ("creatinine", "bun"),
    ("creatinine", "potassium"),
    ("creatinine", "phosphate"),
    ("creatinine", "bicarbonate"),
    ("hemoglobin", "heart_rate"),
    ("heart_rate", "respiratory_rate"),
    ("heart_rate", "temp_c"),
    ("heart_rate", "map"),
    ("spo2", "respiratory_rate"),
    ("sbp", "dbp"),
    ("sbp", "heart_rate"),
    ("gcs_total", "respiratory_rate"),
    ("gcs_total", "heart_rate"),
    ("wbc", "platelet_count"),
    ("wbc", "temp_c"),
    ("bilirubin_total", "inr"),
    ("bilirubin_total", "platelet_count"),
    ("albumin", "bilirubin_total"),
    ("ast", "alt"),
    ("ast", "ldh"),
    ("inr", "ptt"),
    ("sodium", "chloride"),
    ("bicarbonate", "chloride"),
    ("bicarbonate", "pco2_arterial"),
    ("pco2_arterial", "ph_arterial"),
    ("po2_arterial", "spo2"),
    ("calcium_total", "albumin"),
)


def category_of(name: str) -> Category:
    """The table that a name of `PAIRS` belongs to.

    >>> category_of("spo2").table, category_of("inr").table, category_of("gcs_total").table
    ('vitals', 'labs', 'patient_assessments')
    """
    if name in _VITALS:
        return Category("vitals", name)
    return Category("patient_assessments" if name.startswith("gcs") else "labs", name)


def medians(records: pl.DataFrame) -> pl.DataFrame:
    """Median of one category by stay and 6 hours since admission: stay, bin, value."""
    return (
        records.drop_nulls("value")
        .group_by("stay", (pl.col("hours") // BIN_HOURS).cast(pl.Int32).alias("bin"))
        .agg(pl.col("value").median())
    )


Medians = Mapping[Category, pl.DataFrame]


def sign_rows(
    real: tuple[Records, Medians],
    synthetic: tuple[Records, Medians],
    *,
    pairs: Sequence[tuple[str, str]] = PAIRS,
    seed: int = 0,
    n_replicates: int = 500,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[dict[str, Any]]:
    """Spearman correlation of each pair in both hospitals, and whether the signs agree.

    The medians of two categories are joined by stay and 6 hours; of more than 2,000 stays 2,000 are drawn.
    A row: first, second; for each hospital real_n (pairs of medians), real_stays, real_rho, real_low,
    real_high (95 %, resampled patients, each with all stays and hours), real_clear (the interval excludes
    0); agree (both signs are the same). Null is what is not known, as with fewer than 10 patients.
    """
    rows = []
    for done, (first, second) in enumerate(pairs):
        row: dict[str, Any] = {"first": first, "second": second}
        for name, (records, by_category) in (("real", real), ("synthetic", synthetic)):
            rng = np.random.default_rng([seed, done])
            one, other = (by_category[category_of(category)] for category in (first, second))
            found = _correlation(records, one, other, n_replicates, rng)
            row |= {f"{name}_{key}": value for key, value in found.items()}
        both = row["real_rho"], row["synthetic_rho"]
        row["agree"] = None if None in both else bool(np.sign(both[0]) == np.sign(both[1]))
        rows.append(row)
        progress(done + 1, len(pairs))
    return rows


def _correlation(
    records: Records, one: pl.DataFrame, other: pl.DataFrame, n_replicates: int, rng: np.random.Generator
) -> dict[str, Any]:
    both = one.join(other, on=["stay", "bin"], suffix="_other").join(
        records.stays.select("stay", "patient_id"), on="stay"
    )
    stays = both["stay"].unique().sort().to_numpy()
    if len(stays) > MOST_STAYS:
        stays = rng.choice(stays, MOST_STAYS, replace=False)
        both = both.filter(pl.col("stay").is_in(pl.Series(stays).implode()))
    both = both.sort("stay", "bin")  # a join keeps no order, and the draws go by it
    found = {"n": both.height, "stays": len(stays)}
    nothing = dict.fromkeys(("rho", "low", "high", "clear"))
    if both["patient_id"].n_unique() < FEWEST_PATIENTS:
        return found | nothing
    rho = spearman(both["value"].to_numpy(), both["value_other"].to_numpy())
    estimate = float(rho(np.ones((1, both.height)))[0])
    if not np.isfinite(estimate):
        return found | nothing
    drawn = replicates([rho], both["patient_id"].to_numpy(), n_replicates=n_replicates, rng=rng)
    low, high = (interval := percentile_interval(drawn[0])).low, interval.high
    clear = None if low is None or high is None else not low <= 0 <= high
    return found | {"rho": estimate, "low": low, "high": high, "clear": clear}


def spearman(one: np.ndarray, other: np.ndarray) -> Statistic:
    """Spearman's rank correlation of n pairs as a statistic of weights: each pair counts as often as it says.

    With whole weights it is that of the repeated pairs, ties at their mean rank; the ranks are made anew for
    every row of weights. NaN where one side does not vary.

    >>> rho = spearman(np.array([1.0, 2.0, 3.0, 3.0]), np.array([9.0, 4.0, 1.0, 0.0]))
    >>> rho(np.ones((1, 4))).round(3).tolist()
    [-0.949]
    """
    codes = [np.unique(side, return_inverse=True)[1] for side in (one, other)]

    def ranks(code: np.ndarray, weights: np.ndarray) -> np.ndarray:
        count = np.bincount(code, weights)
        rank = (np.cumsum(count) - count / 2)[code]
        return rank - np.average(rank, weights=weights)

    def statistic(weights: np.ndarray) -> np.ndarray:
        out = np.full(len(weights), np.nan)
        for row, weight in enumerate(weights):
            x, y = (ranks(code, weight) for code in codes)
            scale = (weight @ x**2) * (weight @ y**2)
            if scale > 1e-12:
                out[row] = (weight @ (x * y)) / np.sqrt(scale)
        return out

    return statistic
