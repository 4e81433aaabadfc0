"""Principal components against scikit-learn's, and the projection against a plain product."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from ehrfm_core.dynamics.projection import fit_projection


def states(n: int, width: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, width)) * np.geomspace(4, 0.1, width) + 7).astype(np.float32)


def test_components_shares_and_points_are_those_of_scikit_learn() -> None:
    sample = states(500, 80)
    projection = fit_projection(sample, most=10)
    reference = PCA(10, svd_solver="full").fit(sample.astype(np.float64))
    np.testing.assert_allclose(projection.variance, reference.explained_variance_ratio_, rtol=1e-5)
    signs = np.sign((projection.components * reference.components_).sum(axis=1))
    np.testing.assert_allclose(projection.components, reference.components_ * signs[:, None], atol=1e-4)
    np.testing.assert_allclose(projection.points(sample), reference.transform(sample) * signs, atol=1e-3)
    assert (projection.components[np.arange(10), np.abs(projection.components).argmax(axis=1)] > 0).all()


@pytest.mark.parametrize("n", [400, 12])
def test_few_numbers_are_only_turned(n: int) -> None:
    """All components are kept, even of fewer states than numbers, so that no distance changes."""
    sample, others = states(n, 30), states(20, 30, seed=1)
    projection = fit_projection(sample)
    assert projection.width == 30
    before = np.linalg.norm(others[:, None] - sample[None, :10], axis=2)
    points, anchors = projection.points(others), projection.points(sample[:10])
    np.testing.assert_allclose(np.linalg.norm(points[:, None] - anchors, axis=2), before, rtol=1e-4)
    assert projection.variance.sum() == pytest.approx(1)


def test_many_numbers_of_few_states() -> None:
    assert fit_projection(states(20, 90)).width == 19
    assert fit_projection(states(200, 90)).width == 50


def test_what_does_not_vary_has_no_components() -> None:
    for sample in (states(2, 60), np.ones((40, 60), np.float32), np.empty((0, 60), np.float32)):
        projection = fit_projection(sample)
        assert projection.points(sample).shape == (len(sample), 0)
        assert projection.variance.shape == (0,)


@settings(max_examples=25, deadline=None)
@given(chosen=st.lists(st.integers(0, 49), min_size=1, max_size=80))
def test_a_state_has_the_same_point_in_any_company(chosen: list[int]) -> None:
    sample = states(50, 70)
    projection = fit_projection(sample, most=12)
    assert np.array_equal(projection.points(sample[chosen]), projection.points(sample)[chosen])
