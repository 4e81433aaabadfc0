from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from ehrfm_core.dynamics.anomaly import THRESHOLD, anomaly_scores, fit_forest
from ehrfm_core.dynamics.map_fitting import draw_states, fit_maps
from ehrfm_core.dynamics.map_quality import neighborhood, site_auc, step_fidelity
from ehrfm_core.dynamics.maps import NEIGHBORS, Maps, Points


def cloud(n: int, seed: int = 0, *, width: int = 16) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(9).normal(0, 6, (4, width))
    return (centers[rng.integers(4, size=n)] + rng.normal(0, 1, (n, width))).astype(np.float32)


@pytest.fixture(scope="module")
def maps() -> Maps:
    return fit_maps(np.repeat(cloud(240, width=64), 2, axis=0), held_out=cloud(80, 2, width=64), seed=0)


def same(a: Points, b: Points) -> bool:
    return a.to_frame().equals(b.to_frame())


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_a_state_lands_on_the_same_point_alone_or_in_any_batch(maps: Maps, data: st.DataObject) -> None:
    states = cloud(40, seed=1, width=64)
    states[20:] = states[:20] + np.float32(1e-6)  # almost ties
    chosen = data.draw(st.lists(st.integers(0, 39), min_size=1, max_size=50))
    whole = maps.place(states).to_frame()
    assert maps.place(states[chosen]).to_frame().equals(whole[chosen])
    alone = [maps.place(states[i : i + 1]).to_frame() for i in chosen[:5]]
    assert pl.concat(alone).equals(whole[chosen[:5]])


def test_pieces_and_repeats_change_nothing(maps: Maps, monkeypatch: pytest.MonkeyPatch) -> None:
    states = np.repeat(cloud(50, seed=1, width=64), 3, axis=0).astype(np.float16)
    placed = maps.place(states)
    assert same(placed, maps.place(states.astype(np.float32)))
    monkeypatch.setattr("ehrfm_core.dynamics.maps.PLACED_AT_ONCE", 7 * 64)
    assert same(placed, maps.place(states))
    assert np.array_equal(placed.umap[::3], placed.umap[2::3])


def test_the_place_is_the_inverse_distance_mean_of_the_nearest(maps: Maps) -> None:
    """By scikit-learn's search and weights, in double precision."""
    assert maps.placed is not None
    states = cloud(60, seed=4, width=64)
    points = maps.projection.points(states).astype(np.float64)
    index = NearestNeighbors(n_neighbors=NEIGHBORS).fit(maps.anchors.astype(np.float64))
    distances, neighbors = index.kneighbors(points)
    weights = 1 / distances / (1 / distances).sum(axis=1, keepdims=True)
    placed = maps.place(states)
    np.testing.assert_allclose(placed.umap, (weights[..., None] * maps.placed[neighbors]).sum(1), atol=1e-3)
    np.testing.assert_allclose(placed.distance, distances.mean(axis=1), rtol=1e-4)
    assert np.array_equal(placed.pca, points[:, :2].astype(np.float32))


def test_fitted_states_keep_their_own_point_and_repeats_count_once(maps: Maps) -> None:
    fitted = np.unique(cloud(240, width=64), axis=0)
    assert len(maps.anchors) == 240
    assert maps.placed is not None
    assert np.allclose(maps.place(fitted).umap, maps.placed, atol=1e-3)


def test_the_same_seed_gives_the_same_map(maps: Maps) -> None:
    again = fit_maps(np.repeat(cloud(240, width=64), 2, axis=0)[::-1], seed=0)
    assert np.array_equal(again.placed, maps.placed)
    assert set(maps.versions) == {"umap-learn", "scikit-learn"}


def test_off_the_map_is_what_lies_beyond_all_but_one_in_a_hundred(maps: Maps) -> None:
    held_out = cloud(80, 2, width=64)
    distances = maps.place(held_out).distance
    assert maps.limit == pytest.approx(np.quantile(distances, 0.99))
    assert maps.limit_from == "tuning split"
    assert maps.place(held_out).off_map.mean() == pytest.approx(0.01, abs=0.01)
    far = maps.place(held_out + 50)
    assert far.off_map.all()
    assert maps.placed is not None
    assert (far.umap >= maps.placed.min(axis=0)).all()
    assert (far.umap <= maps.placed.max(axis=0)).all()


def test_without_a_tuning_split_the_fitted_states_judge_each_other() -> None:
    states = cloud(120)
    maps = fit_maps(states, held_out=np.empty((0, 16)), seed=0)
    others = NearestNeighbors(n_neighbors=NEIGHBORS).fit(states).kneighbors()[0]  # none is its own neighbour
    assert maps.limit == pytest.approx(np.quantile(others.mean(axis=1), 0.99), rel=1e-4)
    assert maps.limit_from is not None
    assert "fitted" in maps.limit_from


def test_too_few_states_for_a_umap() -> None:
    placed = fit_maps(cloud(10), seed=0).place(cloud(3))
    assert np.isnan(placed.umap).all()
    assert np.isfinite(placed.pca).all()
    frame = placed.to_frame()
    assert frame["map_distance"].null_count() == frame["off_map"].null_count() == 3
    assert np.isnan(fit_maps(cloud(1), seed=0).place(cloud(3)).pca).all()
    assert np.isnan(fit_maps(np.ones((50, 16)), seed=0).place(cloud(3)).pca).all()
    assert len(fit_maps(cloud(40), seed=0).place(np.empty((0, 16)))) == 0


def test_a_state_that_is_no_number_has_no_point(maps: Maps) -> None:
    states = cloud(4, width=64)
    states[1, 5] = np.nan
    frame = maps.place(states).to_frame()
    assert frame[1].null_count().sum_horizontal().item() == 6
    assert frame[[0, 2, 3]].null_count().sum_horizontal().item() == 0
    with_gap = np.concatenate([cloud(120), np.full((3, 16), np.nan, np.float32)])
    assert np.array_equal(fit_maps(with_gap, seed=0).placed, fit_maps(cloud(120), seed=0).placed)


def test_only_some_states_are_drawn_and_only_of_the_chosen_stays() -> None:
    hourly = np.arange(40.0).reshape(10, 4, 1)
    stays = np.arange(10) % 2 == 0
    drawn = draw_states(hourly, stays, seed=0, most=7)[:, 0]
    assert len(set(drawn)) == 7
    assert (drawn // 4 % 2 == 0).all()
    assert (np.diff(drawn) > 0).all()
    assert not len(draw_states(hourly, np.zeros(10, dtype=bool), seed=0))


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
