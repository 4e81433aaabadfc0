import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from ehrfm_core.evaluation.metrics import average_precision, brier, roc_auc


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(2, 60), levels=st.integers(1, 20), whole=st.booleans())
def test_equal_sklearn_with_ties_and_weights(seed: int, n: int, levels: int, whole: bool) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.random(n) < rng.random()
    labels[:2] = [True, False]
    scores = rng.integers(0, levels, n) / levels
    weights = rng.integers(0, 4, (5, n)) if whole else rng.random((5, n))
    weights[:, :2] += 1
    expected = [roc_auc_score(labels, scores, sample_weight=row) for row in weights]
    np.testing.assert_allclose(roc_auc(labels, scores, weights), expected, rtol=0, atol=1e-12)
    expected = [average_precision_score(labels, scores, sample_weight=row) for row in weights]
    np.testing.assert_allclose(average_precision(labels, scores, weights), expected, rtol=0, atol=1e-12)
    expected = [brier_score_loss(labels, scores, sample_weight=row) for row in weights]
    np.testing.assert_allclose(brier(labels, scores, weights), expected, rtol=0, atol=1e-12)


def test_unweighted_on_many_stays() -> None:
    rng = np.random.default_rng(0)
    labels = rng.random(5000) < 0.1
    scores = rng.normal(size=5000).round(2) + labels
    assert abs(roc_auc(labels, scores)[0] - roc_auc_score(labels, scores)) < 1e-12
    assert abs(average_precision(labels, scores)[0] - average_precision_score(labels, scores)) < 1e-12


@pytest.mark.parametrize("labels", [[True, True], [False, False]])
def test_one_class_has_no_discrimination(labels: list[bool]) -> None:
    every, scores = np.array(labels), np.array([0.2, 0.7])
    assert np.isnan(roc_auc(every, scores)).all()
    assert np.isnan(average_precision(every, scores)).all()
    assert np.isfinite(brier(every, scores)).all()


def test_a_weighting_that_drops_a_class_is_nan_and_the_others_are_not() -> None:
    labels, scores = np.array([True, False, False]), np.array([0.5, 0.2, 0.9])
    values = roc_auc(labels, scores, np.array([[0, 1, 1], [1, 1, 1], [1, 0, 0]]))
    assert np.isnan(values[[0, 2]]).all()
    assert values[1] == 0.5


def test_scores_must_be_finite_and_of_one_length() -> None:
    with pytest.raises(ValueError, match="not finite"):
        roc_auc(np.array([True, False]), np.array([0.1, np.nan]))
    with pytest.raises(ValueError, match="one length"):
        roc_auc(np.array([True, False]), np.array([0.1]))
