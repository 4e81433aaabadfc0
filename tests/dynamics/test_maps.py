from __future__ import annotations

import numpy as np
import pytest

from ehrfm_core.dynamics.anomaly import THRESHOLD, anomaly_scores, fit_forest
from ehrfm_core.dynamics.map_quality import neighborhood, site_auc, step_fidelity
from ehrfm_core.dynamics.maps import Maps, fit_maps


def cloud(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centers = rng.normal(0, 6, (4, 16))
    return (centers[rng.integers(4, size=n)] + rng.normal(0, 1, (n, 16))).astype(np.float32)


@pytest.fixture(scope="module")
def maps() -> Maps:
    return fit_maps(np.repeat(cloud(120), 2, axis=0), seed=0)


def test_a_state_lands_on_the_same_point_alone_or_in_a_batch(maps: Maps) -> None:
    states = cloud(40, seed=1)
    for place in (maps.pca_points, maps.umap_points):
        alone = np.concatenate([place(states[i : i + 1]) for i in range(len(states))])
        assert np.allclose(place(states), alone, atol=1e-4)


def test_fitted_states_keep_their_own_point_and_repeats_count_once(maps: Maps) -> None:
    assert len(maps.anchors) == 120
    assert np.allclose(maps.umap_points(maps.anchors), maps.placed, atol=1e-3)


def test_the_same_seed_gives_the_same_map(maps: Maps) -> None:
    again = fit_maps(np.repeat(cloud(120), 2, axis=0)[::-1], seed=0)
    assert np.array_equal(again.placed, maps.placed)


def test_too_few_states_for_a_umap() -> None:
    maps = fit_maps(cloud(10), seed=0)
    assert np.isnan(maps.umap_points(cloud(3))).all()
    assert np.isfinite(maps.pca_points(cloud(3))).all()
    assert np.isnan(fit_maps(cloud(1), seed=0).pca_points(cloud(3))).all()


def test_step_fidelity_is_one_for_a_faithful_map_and_near_zero_for_noise() -> None:
    rng = np.random.default_rng(0)
    full = np.cumsum(rng.normal(size=(30, 25, 2)), axis=1)
    assert step_fidelity(full, 3 * full) == pytest.approx(1)
    assert abs(step_fidelity(full, rng.normal(size=full.shape)) or 1) < 0.15
    assert step_fidelity(np.zeros((3, 25, 2)), np.zeros((3, 25, 2))) is None


def test_neighborhood_of_a_faithful_map() -> None:
    flat = np.random.default_rng(0).normal(size=(200, 2))
    assert neighborhood(flat, flat, seed=0) == {"trustworthiness": 1.0, "neighbour_overlap": 1.0}
    assert neighborhood(flat[:20], flat[:20], seed=0)["trustworthiness"] is None


def test_sites_that_differ_can_be_told_apart_and_others_not() -> None:
    rng = np.random.default_rng(0)
    space, side = rng.normal(size=(600, 4)), np.repeat([True, False], 300)
    patients = np.arange(600).astype(str)
    assert abs((site_auc(space, side, patients, seed=0) or 0) - 0.5) < 0.1
    assert (site_auc(space + 5 * side[:, None], side, patients, seed=0) or 0) > 0.95
    assert site_auc(space[:310], side[:310], patients[:310], seed=0) is None


def test_anomaly_scores_follow_the_paper() -> None:
    states = cloud(300)
    forest = fit_forest(states, seed=0)
    scores = anomaly_scores(forest, states)
    assert ((scores > 0) & (scores <= 1)).all()
    assert np.array_equal(scores > THRESHOLD, forest.predict(states) == -1)
    assert anomaly_scores(forest, np.full((1, 16), 60, dtype=np.float32))[0] > scores.max()
    assert np.array_equal(anomaly_scores(fit_forest(states, seed=0), states), scores)
