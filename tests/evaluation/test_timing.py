from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from ehrfm_core.evaluation.timing import ID, agreement, largest, worsening


def hours(seed: int, n: int = 400) -> pl.DataFrame:
    at = np.random.default_rng(seed).integers(1, 25, n)
    return pl.DataFrame({ID: [f"s{i}" for i in range(n)], "at": at})


def patients(n: int = 400) -> pl.DataFrame:
    return pl.DataFrame({ID: [f"s{i}" for i in range(n)], "patient_id": [f"p{i // 2}" for i in range(n)]})


def test_hours_without_relation_agree_as_chance_would() -> None:
    found = agreement(hours(0), hours(1), patients(), within=1, seed=0)
    assert found.low < found.chance < found.high
    assert found.chance == pytest.approx(3 / 24, abs=0.02)  # three hours of 24, less at the ends
    assert found.p_value > 0.05


def test_hours_that_belong_together_are_told_from_chance() -> None:
    moved = hours(0).with_columns(at=(pl.col("at") + 1).clip(1, 24))
    exact, near = (agreement(hours(0), moved, patients(), within=k, seed=0) for k in (0, 1))
    assert near.share == 1
    assert exact.share < 0.15
    assert near.p_value < 0.001


def test_the_largest_is_found_and_nothing_is_no_hour() -> None:
    frame = pl.DataFrame(
        {
            ID: ["a"] * 4 + ["b"] * 4 + ["c"] * 4,
            "hour": [0, 1, 2, 3] * 3,
            "step": [9.0, 1.0, 5.0, 5.0, None, None, 2.0, 1.0, 0.0, 0.0, 0.0, 0.0],
        }
    )
    assert largest(frame, "step").rows() == [("a", 2), ("b", 2)]  # hour 0 does not count; c never moves


def test_worsening_is_the_largest_rise_of_the_first_day() -> None:
    truth = pl.DataFrame(
        {
            ID: ["a"] * 5,
            "hour": [0, 1, 2, 24, 25],
            "severity": [1.0, 1.2, 0.9, 1.5, 9.0],
        }
    )
    assert worsening(truth).rows() == [("a", 24)]


def test_no_stay_in_common_gives_no_figure() -> None:
    other = hours(0).with_columns(pl.col(ID) + "x")
    found = agreement(hours(0), other, patients(), within=1, seed=0)
    assert found.n == 0
    assert np.isnan(found.share)
