"""The sanity gate of every evaluation: no window tells an outcome, and no figure is too good to be true."""

from __future__ import annotations

import polars as pl

from ehrfm_core.evaluation.recompute import near_perfect
from ehrfm_core.study.leaks import leaks
from ehrfm_core.study.reader import Study


def check_results(study: Study, metrics: pl.DataFrame) -> list[str]:
    """Notes that name tokens which tell an outcome by themselves, and near-perfect areas.

    `metrics` are rows of `metrics.parquet`, not written yet. Notes and no refusal: that a finding is a leak a
    reader of the tables must say. `verify` finds the same.
    """
    return leaks(study, evaluated=False) + near_perfect(metrics, study.outcomes)
