from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist, mahalanobis
from sklearn.ensemble import IsolationForest
from sklearn.mixture import GaussianMixture

from ehrfm_core.dynamics.anomaly import THRESHOLD, anomaly_scores, fit_forest
from ehrfm_core.dynamics.detector_names import DETECTORS, FOREST
from ehrfm_core.dynamics.detectors import FITS, NEIGHBORS, Detectors, fit_detectors, matching_threshold
from ehrfm_core.dynamics.space import MOST_COMPONENTS, Space, fit_space
from ehrfm_core.study.files import write_table
from ehrfm_core.study.layout import SITE_FILES

ELSE = [name for name in DETECTORS if name != FOREST]


def cloud(n: int, seed: int = 0, width: int = 12) -> np.ndarray:
    """Correlated, skewed states in two groups."""
    rng = np.random.default_rng(seed)
    mix = np.random.default_rng(99).normal(size=(width, width))
    groups = np.repeat([[0.0], [3.0]], [n - n // 3, n // 3], axis=0)
    return ((rng.gamma(2, 1, (n, width)) + groups) @ mix).astype(np.float32)


@cache
def fitted() -> Detectors:
    return fit_detectors(cloud(400), seed=0)


@cache
def space() -> Space:
    found = fitted().space
    assert found is not None
    return found


def places(states: np.ndarray) -> np.ndarray:
    return space().coordinates(states).astype(np.float64)


def test_one_registry_names_them_all() -> None:
    assert list(DETECTORS) == [FOREST, *FITS]
    assert set(fitted().scores(cloud(5))) == set(DETECTORS)


def test_components_are_the_eigenvectors_of_the_correlation_matrix() -> None:
    states = cloud(400).astype(np.float64)
    values, vectors = np.linalg.eigh(np.corrcoef(states, rowvar=False))
    values, vectors = values[::-1], vectors[:, ::-1]
    kept = space().axes.shape[1]
    assert np.cumsum(values / values.sum())[kept - 1] >= 0.95 > np.cumsum(values / values.sum())[kept - 2]
    assert np.allclose(np.abs(space().axes.T @ vectors[:, :kept]), np.eye(kept), atol=1e-6)
    assert np.allclose(places(cloud(400)).std(axis=0, ddof=1), space().spread, rtol=1e-4)


def test_the_forest_is_the_paper_s() -> None:
    states = cloud(60, seed=1)
    forest = IsolationForest(n_estimators=100, random_state=0).fit(cloud(400))
    assert np.allclose(fitted().scores(states)[FOREST], -forest.score_samples(states))
    assert fitted().thresholds[FOREST] == THRESHOLD == 0.5
    given_forest = fit_detectors(cloud(400), seed=0, forest=fit_forest(cloud(400), seed=0))
    assert np.array_equal(given_forest.scores(states)[FOREST], anomaly_scores(given_forest.forest, states))


def test_neighbours_are_those_of_every_pair_of_distances() -> None:
    train, new = cloud(400), cloud(50, seed=1)
    away = np.sort(cdist(places(new), places(train)), axis=1)
    assert np.allclose(fitted().scores(new)["knn"], away[:, :NEIGHBORS].mean(axis=1), rtol=1e-9)
    own = np.sort(cdist(places(train), places(train)), axis=1)
    left_out = own[:, 1 : NEIGHBORS + 1].mean(axis=1)
    assert np.allclose(fitted().scores(train)["knn"], left_out, rtol=1e-9), "a state is not its own neighbour"


def test_mahalanobis_is_the_distance_under_the_inverse_covariance() -> None:
    train, new = places(cloud(400)), places(cloud(20, seed=1))
    inverse = np.linalg.inv(np.cov(train, rowvar=False))
    expected = [mahalanobis(row, train.mean(axis=0), inverse) for row in new]
    assert np.allclose(fitted().scores(cloud(20, seed=1))["mahalanobis"], expected, rtol=1e-5)


def test_the_mixture_is_the_one_with_the_lowest_bic() -> None:
    z = places(cloud(400)) / space().spread
    mixtures = [GaussianMixture(k, reg_covar=1e-3, max_iter=200, random_state=0).fit(z) for k in range(1, 9)]
    best = min(mixtures, key=lambda mixture: mixture.bic(z))
    assert best.n_components > 1, "two groups"
    new = cloud(20, seed=1)
    expected = -best.score_samples(places(new) / space().spread)
    assert np.allclose(fitted().scores(new)["gaussian_mixture"], expected, rtol=1e-5)


def tail_sum(train: np.ndarray, row: np.ndarray) -> float:
    """Formula of ECOD with loops, one state at a time."""
    total = 0.0
    for k, value in enumerate(row):
        left = max(sum(train[:, k] <= value), 1) / len(train)
        right = max(sum(train[:, k] >= value), 1) / len(train)
        total += max(-np.log(left), -np.log(right))
    return total


def test_ecod_sums_the_smaller_tails() -> None:
    train, new = space().coordinates(cloud(400)), space().coordinates(cloud(8, seed=1))
    expected = [tail_sum(train, row) for row in new]
    assert np.allclose(fitted().scores(cloud(8, seed=1))["ecod"], expected)
    far = fitted().scores(np.full((1, 12), 1e6, dtype=np.float32))["ecod"]
    assert far == pytest.approx(train.shape[1] * np.log(400)), "beyond all in every component"


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 40))
def test_a_state_has_the_same_score_alone_or_in_a_batch(seed: int, n: int) -> None:
    states = np.concatenate([cloud(n, seed=seed), cloud(400)[:n]])
    together = fitted().scores(states)
    for i in (0, n, 2 * n - 1):
        alone = fitted().scores(states[i : i + 1])
        for name in DETECTORS:
            assert alone[name][0] == pytest.approx(together[name][i], rel=1e-9), name


def test_a_stranger_state_scores_higher_everywhere() -> None:
    train = cloud(400)
    far = (train.mean(axis=0) + 8 * train.std(axis=0) * np.sign(np.arange(12) - 5.5))[None].astype(np.float32)
    for name, scores in fitted().scores(np.concatenate([train, far])).items():
        assert scores[-1] > np.quantile(scores[:-1], 0.99), name


def test_each_flags_as_many_training_states_as_the_forest() -> None:
    train = cloud(400)
    table = fitted().table(pl.Series([str(i) for i in range(400)]), train)
    flagged = {name: int(table[f"{name}_flag"].sum()) for name in DETECTORS}
    assert flagged[FOREST] == (anomaly_scores(fit_forest(train, seed=0), train) > THRESHOLD).sum()
    assert 0 < flagged[FOREST] < 400
    assert set(flagged.values()) == {flagged[FOREST]}


@given(scores=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30, unique=True), data=st.data())
def test_the_threshold_parts_off_so_many(scores: list[float], data: st.DataObject) -> None:
    many = data.draw(st.integers(0, len(scores)))
    ordered = np.sort(scores)
    if (np.diff(ordered) > 1e-9).all():
        assert (np.array(scores) > matching_threshold(np.array(scores), many)).sum() == many


def test_tied_scores_are_not_parted() -> None:
    assert (np.array([1.0, 2, 2, 2]) > matching_threshold(np.array([1.0, 2, 2, 2]), 2)).sum() == 0


def test_the_same_states_and_seed_give_the_same_table(tmp_path: Path) -> None:
    ids, new = pl.Series(["a", "b", "c"]), cloud(3, seed=4)
    first = fitted().table(ids, new)
    assert first.equals(fit_detectors(cloud(400), seed=0).table(ids, new))
    path = tmp_path / "anomaly.parquet"
    write_table(path, first, SITE_FILES["anomaly"])
    assert dict(pl.read_parquet(path).schema) == SITE_FILES["anomaly"]


@pytest.mark.parametrize(
    "states",
    [cloud(1), cloud(29), np.ones((50, 4), dtype=np.float32)],
    ids=["one", "few", "constant"],
)
def test_too_little_to_fit_on_leaves_the_forest_and_a_note(states: np.ndarray) -> None:
    detectors = fit_detectors(states, seed=0)
    table = detectors.table(pl.Series(["a"]), states[:1])
    assert table[f"{FOREST}_score"].null_count() == 0
    for name in ELSE:
        assert table[f"{name}_score"].null_count() == table[f"{name}_flag"].null_count() == 1
    assert len(detectors.notes) == 1
    assert not fitted().notes


def test_constant_and_repeated_columns_do_no_harm() -> None:
    states = np.concatenate([cloud(200), cloud(200)[:, :3], np.full((200, 2), 7, dtype=np.float32)], axis=1)
    scores = fit_detectors(states, seed=0).scores(states)
    assert all(np.isfinite(values).all() for values in scores.values())
    moved = states.copy()
    moved[:, -1] += 5
    space = fit_space(states, seed=0)
    assert space is not None
    assert np.array_equal(space.coordinates(moved), space.coordinates(states))


def test_few_states_keep_few_components() -> None:
    wide = np.random.default_rng(0).normal(size=(60, 80)).astype(np.float32)
    small, large = fit_space(wide, seed=0), fit_space(np.tile(wide, (10, 1)), seed=0)
    assert small is not None
    assert large is not None
    assert small.axes.shape == (80, 6)
    assert large.axes.shape[1] == MOST_COMPONENTS
