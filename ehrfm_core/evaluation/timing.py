"""Does the model's largest step come when the patient truly got worse? Only where the truth is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

ID = "hospitalization_id"


@dataclass(frozen=True)
class Agreement:
    """How often two hours of the same n stays lie within `within` hours of each other.

    `share` with its 95 % interval (patients resampled); `chance`: the mean share when hours are exchanged
    between stays at random, which keeps how often each hour is named; `p_value` of the share among these.
    """

    within: int
    share: float
    low: float
    high: float
    chance: float
    p_value: float
    n: int


def largest(frame: pl.DataFrame, column: str) -> pl.DataFrame:
    """For each stay the hour at which `column` is largest (the first of equal ones): stay and hour.

    `frame` has hospitalization_id, hour and `column`; nulls do not count, a stay of zeros alone is left out.
    """
    return (
        frame.filter(pl.col(column).is_not_null() & (pl.col("hour") > 0))
        .sort(ID, "hour")
        .group_by(ID, maintain_order=True)
        .agg(
            pl.col("hour").get(pl.col(column).arg_max()).alias("at"),
            pl.col(column).max().alias("most"),
        )
        .filter(pl.col("most") > 0)
        .select(ID, pl.col("at").cast(pl.Int64))
    )


def worsening(truth: pl.DataFrame) -> pl.DataFrame:
    """For each stay the hour of the largest true rise of severity within one hour, among hours 1 … 24.

    `truth` is the generator's hours.parquet: hospitalization_id, hour, severity.
    """
    rise = (
        truth.filter(pl.col("hour") <= 24)
        .sort(ID, "hour")
        .with_columns(pl.col("severity").diff().over(ID).alias("rise"))
    )
    return largest(rise, "rise")


def agreement(
    first: pl.DataFrame,
    second: pl.DataFrame,
    patients: pl.DataFrame,
    *,
    within: int,
    seed: int,
    draws: int = 2_000,
) -> Agreement:
    """Compare two tables of `largest`; `patients` has hospitalization_id and patient_id.

    >>> hours = pl.DataFrame({ID: ["a", "b", "c"], "at": [1, 8, 20]})
    >>> patients = hours.select(ID, pl.col(ID).alias("patient_id"))
    >>> found = agreement(hours, hours, patients, within=1, seed=0)
    >>> found.share, found.n, found.chance < 0.5
    (1.0, 3, True)
    """
    both = first.join(second, on=ID, suffix="_other").join(patients, on=ID).sort(ID)
    a, b = both["at"].to_numpy(), both["at_other"].to_numpy()
    if not len(a):
        return Agreement(within, np.nan, np.nan, np.nan, np.nan, np.nan, 0)
    rng = np.random.default_rng(seed)
    hit = np.abs(a - b) <= within
    shuffled = np.array([(np.abs(a - rng.permutation(b)) <= within).mean() for _ in range(draws)])
    _, cluster = np.unique(both["patient_id"].to_numpy(), return_inverse=True)
    size = np.bincount(cluster)
    hits = np.bincount(cluster, weights=hit)
    drawn = rng.integers(0, len(size), (draws, len(size)))
    low, high = np.quantile(hits[drawn].sum(axis=1) / size[drawn].sum(axis=1), [0.025, 0.975])
    p_value = (1 + (shuffled >= hit.mean()).sum()) / (1 + draws)
    return Agreement(
        within,
        float(hit.mean()),
        float(low),
        float(high),
        float(shuffled.mean()),
        float(p_value),
        len(a),
    )
