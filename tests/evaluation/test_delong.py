from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ehrfm_core.evaluation.delong import area_intervals, areas
from ehrfm_core.evaluation.metrics import roc_auc


def by_pairs(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """DeLong's covariance from the matrix of all pairs, as in the paper."""
    v10, v01 = [], []
    for row in scores:
        wins = (row[labels][:, None] > row[~labels]) + 0.5 * (row[labels][:, None] == row[~labels])
        v10.append(wins.mean(axis=1))
        v01.append(wins.mean(axis=0))
    m, n = labels.sum(), (~labels).sum()
    return np.atleast_2d(np.cov(v10)) / m + np.atleast_2d(np.cov(v01)) / n


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 30), st.integers(2, 30), st.integers(1, 3))
def test_areas_and_covariance_are_those_of_all_pairs(seed: int, m: int, n: int, models: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(m + n) < m)
    scores = rng.integers(0, 6, (models, m + n)) + labels  # many ties
    found = areas(labels, scores)
    for row, area in zip(scores, found.auc, strict=True):
        assert area == pytest.approx(float(roc_auc(labels, row)[0]))
    assert np.allclose(found.covariance, by_pairs(labels, scores.astype(float)))
    alone = areas(labels, scores, np.arange(m + n))
    assert np.allclose(np.diag(alone.covariance), np.diag(found.covariance), rtol=0.2, atol=1e-3)


def test_the_order_of_stays_changes_nothing() -> None:
    rng = np.random.default_rng(1)
    labels, scores, patients = rng.random(80) < 0.3, rng.random((2, 80)), rng.integers(0, 40, 80)
    order = rng.permutation(80)
    one, other = areas(labels, scores, patients), areas(labels[order], scores[:, order], patients[order])
    assert np.allclose(one.covariance, other.covariance)


def test_repeated_stays_of_a_patient_do_not_pass_for_new_ones() -> None:
    """Every stay four times: the variance stays that of the patients."""
    rng = np.random.default_rng(2)
    labels, scores = rng.random(60) < 0.4, rng.random(60)
    once = areas(labels, scores, np.arange(60)).covariance[0, 0]
    again = areas(np.tile(labels, 4), np.tile(scores, 4), np.tile(np.arange(60), 4)).covariance[0, 0]
    naive = areas(np.tile(labels, 4), np.tile(scores, 4)).covariance[0, 0]
    assert again == pytest.approx(once, rel=1e-6)
    assert naive < 0.3 * once


def test_a_model_is_no_better_than_itself() -> None:
    rng = np.random.default_rng(3)
    labels, scores = rng.random(50) < 0.5, rng.random(50)
    found = areas(labels, np.stack([scores, 2 * scores + 1]))
    difference, low, high, p_value = found.difference(0, 1)
    assert (difference, p_value) == (0.0, 1.0)
    assert low == pytest.approx(0, abs=1e-6)
    assert high == pytest.approx(0, abs=1e-6)


def test_an_interval_stays_within_its_bounds() -> None:
    labels = np.arange(40) < 8
    scores = np.where(labels, 1.0, 0.0) + np.linspace(0, 0.9, 40)[::-1]
    low, high = areas(labels, scores).interval()
    assert 0 < low <= high <= 1


@pytest.mark.parametrize("labels", [[True, True], [False, False]])
def test_one_class_has_no_area(labels: list[bool]) -> None:
    with pytest.raises(ValueError, match="both classes"):
        areas(np.array(labels), np.array([0.1, 0.2]))


def test_one_patient_s_stays_give_newcombe_s_interval() -> None:
    labels = np.array([True, False, True, False])
    area, low, high = area_intervals(labels, np.array([[0.9, 0.1, 0.4, 0.6]]), np.zeros(4))[0]
    assert area == 0.75
    assert 0 <= low < area < high <= 1
