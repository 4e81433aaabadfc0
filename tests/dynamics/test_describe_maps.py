"""What maps.json tells, on two made sites of which one lies partly elsewhere."""

from __future__ import annotations

import json
from importlib.metadata import version

import numpy as np
import polars as pl
import pytest

from ehrfm_core.dynamics.describe_maps import PlacedSite, axis_ranges, describe_maps, paths_to_check
from ehrfm_core.dynamics.map_fitting import draw_states, fit_maps
from ehrfm_core.dynamics.maps import Maps

HOURS, WIDTH = 4, 60


def made_paths(n: int, seed: int, *, away: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    start = rng.normal(size=(n, 1, WIDTH))
    paths = start + np.cumsum(rng.normal(scale=0.3, size=(n, HOURS + 1, WIDTH)), axis=1)
    paths[rng.random(n) < away] += 40
    return paths.astype(np.float32)


def stays_of(n: int) -> pl.DataFrame:
    split = np.array(["train", "train", "tuning", "test", None], dtype=object)[np.arange(n) % 5]
    return pl.DataFrame({"patient_id": [f"p{i}" for i in range(n)], "split": split.tolist()})


def placed_site(maps: Maps, name: str, paths: np.ndarray) -> PlacedSite:
    return PlacedSite(name, stays_of(len(paths)), paths[:, -1], maps.place(paths.reshape(-1, WIDTH)))


@pytest.fixture(scope="module")
def described() -> tuple[Maps, list[PlacedSite], dict]:
    source, target = made_paths(500, 0), made_paths(300, 1, away=0.25)
    split = stays_of(500)["split"].fill_null("").to_numpy()
    train, tuning = (draw_states(source, split == name, seed=0) for name in ("train", "tuning"))
    maps = fit_maps(train, held_out=tuning, seed=5)
    sites = [placed_site(maps, "a", source), placed_site(maps, "b", target)]
    rows = paths_to_check(sites[0].stays, seed=0)
    return maps, sites, describe_maps(maps, sites, source[rows], rows, seed=0)


def test_every_map_has_its_card(described: tuple[Maps, list[PlacedSite], dict]) -> None:
    maps, _, told = described
    json.dumps(told, allow_nan=False)
    for kind in ("pca", "umap"):
        card = told[kind]
        assert card["n_fitted"] == told["n_fitted"] == len(maps.anchors) == 1000
        assert card["seed"] == 5
        assert card["versions"] == {name: version(name) for name in ("umap-learn", "scikit-learn")}
        for name in ("step_fidelity", "trustworthiness", "neighbour_overlap", "site_auc_2d", "site_auc_full"):
            assert 0 <= card["quality"][name] <= 1, name
    assert told["pca"]["explained_variance"] == pytest.approx(maps.projection.variance[:2], abs=1e-4)
    assert told["pca"]["quality"]["variance_share"] == pytest.approx(
        maps.projection.variance[:2].sum(), abs=1e-4
    )
    assert told["pca"]["kept_variance"] > 0.8
    assert told["n_components"] == 50
    assert told["off_map_beyond"]["distance"] == maps.limit
    assert told["umap"]["min_dist"] == 0.1


def test_the_share_off_the_map_is_that_of_the_test_stays_that_are_elsewhere(
    described: tuple[Maps, list[PlacedSite], dict],
) -> None:
    _, sites, told = described
    moved = (sites[1].states.mean(axis=1) > 20)[sites[1].test].mean()
    share = told["umap"]["quality"]["off_map_share"]
    assert share == told["pca"]["quality"]["off_map_share"]
    assert moved > 0.1
    assert share["b"] == pytest.approx(moved, abs=0.05)
    assert share["a"] < 0.05
    off = sites[1].points.off_map.reshape(300, -1)[sites[1].test]
    assert share["b"] == pytest.approx(off.mean(), abs=1e-4)


def test_quality_is_measured_on_test_stays_drawn_at_random(monkeypatch: pytest.MonkeyPatch) -> None:
    stays = stays_of(500)
    rows = paths_to_check(stays, seed=0)
    assert rows.tolist() == list(range(3, 500, 5))
    monkeypatch.setattr("ehrfm_core.dynamics.describe_maps.MOST_PATHS", 20)
    fewer = paths_to_check(stays, seed=0)
    assert len(set(fewer)) == 20
    assert set(fewer) < set(rows)
    assert paths_to_check(stays, seed=0).tolist() == fewer.tolist()


def test_one_stay_and_no_test_split_give_nulls() -> None:
    paths = made_paths(1, 0)
    maps = fit_maps(paths.reshape(-1, WIDTH), held_out=None, seed=0)
    rows = paths_to_check(stays_of(1), seed=0)
    told = describe_maps(maps, [placed_site(maps, "a", paths)], paths[rows], rows, seed=0)
    json.dumps(told, allow_nan=False)
    assert told["umap"]["quality"]["off_map_share"] == {"a": None}
    assert told["umap"]["x_range"] == [-1.0, 1.0]
    assert told["off_map_beyond"]["distance"] is None
    names = ("step_fidelity", "trustworthiness", "site_auc_2d", "site_auc_full")
    assert all(told["pca"]["quality"][name] is None for name in names)


def test_states_that_never_move_give_nulls() -> None:
    paths = np.ones((20, HOURS + 1, WIDTH), np.float32)
    maps = fit_maps(paths.reshape(-1, WIDTH), seed=0)
    rows = paths_to_check(stays_of(20), seed=0)
    told = describe_maps(maps, [placed_site(maps, "a", paths)], paths[rows], rows, seed=0)
    assert told["pca"]["quality"]["variance_share"] is None
    assert told["pca"]["explained_variance"] == []
    assert axis_ranges(np.full((3, 2), np.nan)) == {"x_range": [-1.0, 1.0], "y_range": [-1.0, 1.0]}
