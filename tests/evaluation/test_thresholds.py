from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, roc_curve

from ehrfm_core.evaluation.thresholds import Levels, Thresholded

THRESHOLDS = np.array([0.1, 0.25, 0.5, 0.9])


def drawn(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) < max(1, n // 4))
    return labels, np.round(np.clip(rng.random(n) * 0.7 + 0.2 * labels, 0, 1), 1)  # ties, also at thresholds


@settings(deadline=None)
@given(st.integers(0, 9999), st.integers(4, 60))
def test_counts_are_those_of_a_confusion_matrix(seed: int, n: int) -> None:
    labels, p = drawn(seed, n)
    weights = np.random.default_rng(seed).integers(0, 3, (3, n))
    weights[:, :] += 1
    made = Thresholded.of(labels, p, THRESHOLDS)
    benefit, everybody = made.net_benefit(weights)
    sorting = made.sorting(weights)
    for r, row in enumerate(weights):
        for k, t in enumerate(THRESHOLDS):
            tn, fp, fn, tp = confusion_matrix(labels, p >= t, sample_weight=row, labels=[False, True]).ravel()
            size, odds = row.sum(), t / (1 - t)
            assert benefit[r, k] == pytest.approx(tp / size - fp / size * odds)
            assert everybody[r, k] == pytest.approx((tp + fn) / size - (fp + tn) / size * odds)
            ppv = tp / (tp + fp) if tp + fp else np.nan
            found = [tp / (tp + fn), tn / (tn + fp), ppv, 100 * (tp + fp) / size]
            assert sorting[:, r, k] == pytest.approx(found, nan_ok=True)


@settings(deadline=None)
@given(st.integers(0, 9999), st.integers(8, 60), st.sampled_from([0.5, 0.8, 0.9, 0.95]))
def test_sensitivity_at_a_specificity_is_that_of_the_roc_curve(seed: int, n: int, wanted: float) -> None:
    labels, p = drawn(seed, n)
    fpr, tpr, _ = roc_curve(labels, p, drop_intermediate=False)
    best = tpr[1 - fpr >= wanted - 1e-12].max()
    levels = Levels.of(labels, p)
    assert levels.sensitivity(np.ones((1, n)), specificity=wanted)[0] == pytest.approx(best)
    threshold = levels.threshold(specificity=wanted)
    assert (p[~labels] < threshold).mean() >= wanted - 1e-12
    assert (p[labels] >= threshold).mean() == pytest.approx(best)


def test_without_a_class_there_is_no_figure() -> None:
    weights = np.array([[1.0, 0.0], [0.0, 1.0]])
    labels, p = np.array([True, False]), np.array([0.6, 0.4])
    assert np.isnan(Levels.of(labels, p).sensitivity(weights, specificity=0.9)).all()
    sorting = Thresholded.of(labels, p, np.array([0.5])).sorting(weights)[:, :, 0]
    assert np.isnan(sorting[0, 1])
    assert np.isnan(sorting[1, 0])
    assert Levels.of(labels, p[::-1]).threshold(specificity=0.9) == np.inf
