from __future__ import annotations

import numpy as np
import pytest

from ehrfm_core.tokens.spans import Span
from ehrfm_core.tokens.weights import weighed

DOSE, WEIGHT, OTHER = 0, 1, 2
TRANSITIONS = np.array([1, 0, 0], dtype=np.int8)
IS_WEIGHT = np.array([False, True, False])


def span(rows: list[tuple[int, int, int, float]]) -> Span:
    """Rows of stay, item, second, value."""
    stay, item, second, value = zip(*rows, strict=True)
    return Span(5, 9, np.array(stay), np.array(item), np.array(second), np.array(value, dtype=float), 0)


def test_a_dose_takes_the_last_weight_before_it_and_never_a_later_one() -> None:
    rows = [
        (5, DOSE, 10, 100.0),  # before any weight
        (5, WEIGHT, 20, 50.0),
        (5, DOSE, 20, 100.0),  # in the same second
        (5, DOSE, 99, 100.0),
        (5, WEIGHT, 100, 80.0),
        (5, DOSE, 5000, 100.0),
    ]
    value = weighed(span(rows), TRANSITIONS, IS_WEIGHT)
    assert value[[1, 4]].tolist() == [50, 80]
    assert np.isnan(value[0])
    assert value[[2, 3, 5]] == pytest.approx([2.0, 2.0, 1.25])


def test_a_weight_is_its_own_stays_and_must_be_possible() -> None:
    rows = [(5, WEIGHT, 0, 60.0), (6, DOSE, 50, 100.0), (7, WEIGHT, 0, 0.0), (7, DOSE, 50, 100.0)]
    value = weighed(span(rows), TRANSITIONS, IS_WEIGHT)
    assert np.isnan(value[[1, 3]]).all()


def test_doses_before_the_start_and_the_other_way_round() -> None:
    rows = [(5, WEIGHT, -3600, 60.0), (5, DOSE, -1800, 2.0), (5, OTHER, -1800, 7.0)]
    assert weighed(span(rows), -TRANSITIONS, IS_WEIGHT).tolist() == [60.0, 120.0, 7.0]


def test_the_order_of_rows_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    rows = [
        (int(stay), int(item), int(second), float(value))
        for stay, item, second, value in zip(
            rng.integers(5, 9, 300),
            rng.integers(0, 3, 300),
            rng.integers(0, 20, 300),  # many in one second
            rng.integers(20, 90, 300),
            strict=True,
        )
    ]
    order = rng.permutation(300)
    before = weighed(span(rows), TRANSITIONS, IS_WEIGHT)
    after = weighed(span([rows[i] for i in order]), TRANSITIONS, IS_WEIGHT)
    assert np.array_equal(before[order], after, equal_nan=True)
