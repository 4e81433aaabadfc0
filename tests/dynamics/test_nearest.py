"""The search against every distance there is, and against itself in other company."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ehrfm_core.dynamics.nearest import BLOCK, cut_into_blocks, nearest


def clustered(n: int, width: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    scale = np.geomspace(5, 0.05, width)  # widest first, as principal components are
    return ((rng.normal(size=(7, width)) * 3)[rng.integers(7, size=n)] + rng.normal(size=(n, width))) * scale


def by_every_distance(points: np.ndarray, queries: np.ndarray, k: int) -> np.ndarray:
    points, queries = (x.astype(np.float32).astype(np.float64) for x in (points, queries))
    return np.sort(np.linalg.norm(queries[:, None] - points, axis=2), axis=1)[:, :k]


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 5 * BLOCK + 3),
    width=st.integers(1, 40),
    k=st.integers(1, 20),
    seed=st.integers(0, 1000),
    spread=st.sampled_from([0.1, 1.0, 30.0]),
)
def test_no_nearer_point_is_missed(n: int, width: int, k: int, seed: int, spread: float) -> None:
    points, queries = clustered(n, width, seed), spread * clustered(9, width, seed + 1)
    k = min(k, n)
    distances, rows = nearest(cut_into_blocks(points), queries, k)
    np.testing.assert_allclose(distances, by_every_distance(points, queries, k), rtol=1e-4, atol=1e-5)
    assert all(len(set(own)) == k for own in rows)
    reached = np.linalg.norm(queries[:, None] - points[rows], axis=2)
    np.testing.assert_allclose(reached, distances, rtol=1e-3, atol=1e-4)


@settings(max_examples=25, deadline=None)
@given(data=st.data(), seed=st.integers(0, 1000))
def test_near_ties_are_settled_alike_in_any_company(data: st.DataObject, seed: int) -> None:
    """Points a rounding error apart: a matrix product would rank them by the shape of the batch."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(300, 1)) + rng.normal(scale=1e-7, size=(300, 20))
    queries = points[:40] + rng.normal(scale=1e-7, size=(40, 20))
    blocks = cut_into_blocks(points)
    whole = nearest(blocks, queries, 15)
    chosen = data.draw(st.lists(st.integers(0, 39), min_size=1, max_size=60))
    for all_of_them, some in zip(whole, nearest(blocks, queries[chosen], 15), strict=True):
        assert np.array_equal(some, all_of_them[chosen])


def test_a_point_is_its_own_nearest_and_twins_count_twice() -> None:
    points = clustered(200, 12, 0)
    distances, rows = nearest(cut_into_blocks(np.concatenate([points, points[:5]])), points, 3)
    assert (distances[:, 0] == 0).all()
    assert (distances[:5, 1] == 0).all()
    assert (distances[5:, 1] > 0).all()
    assert {0, 200} == set(rows[0, :2])


@pytest.mark.parametrize("strange", [np.nan, np.inf])
def test_what_is_no_place_has_no_neighbour(strange: float) -> None:
    points = clustered(100, 5, 0)
    query = points[:2].copy()
    query[0, 3] = strange
    distances, rows = nearest(cut_into_blocks(points), query, 4)
    assert np.isinf(distances[0]).all()
    assert (rows[0] == -1).all()
    assert np.isfinite(distances[1]).all()


def test_more_neighbours_than_points_leaves_the_rest_empty() -> None:
    distances, rows = nearest(cut_into_blocks(np.zeros((2, 3))), np.ones((1, 3)), 4)
    np.testing.assert_allclose(distances[0], [3**0.5, 3**0.5, np.inf, np.inf], rtol=1e-6)
    assert rows[0, 2:].tolist() == [-1, -1]
