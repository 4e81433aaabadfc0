"""Maps that were written and read again place a state exactly where they did."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ehrfm_core.dynamics.map_file import load_maps, save_maps
from ehrfm_core.dynamics.map_fitting import fit_maps
from ehrfm_core.errors import UserError
from ehrfm_core.study.layout import FITTED_MAPS
from tests.dynamics.test_maps import cloud, same


@pytest.mark.parametrize("width", [16, 70])
def test_loaded_maps_place_where_the_fitted_ones_do(tmp_path: Path, width: int) -> None:
    maps = fit_maps(cloud(150, width=width), held_out=cloud(60, 1, width=width), seed=3)
    save_maps(tmp_path, maps)
    loaded = load_maps(tmp_path)
    states = cloud(500, seed=2, width=width)
    assert same(loaded.place(states), maps.place(states))
    assert same(loaded.place(states[:1]), maps.place(states[:1]))
    for name in ("seed", "limit", "limit_from", "versions"):
        assert getattr(loaded, name) == getattr(maps, name)
    first = (tmp_path / FITTED_MAPS).read_bytes()
    save_maps(tmp_path, loaded)
    assert (tmp_path / FITTED_MAPS).read_bytes() == first


def test_maps_without_a_umap_stay_without(tmp_path: Path) -> None:
    for states in (cloud(10), cloud(1)):
        maps = fit_maps(states, seed=0)
        save_maps(tmp_path, maps)
        loaded = load_maps(tmp_path)
        assert loaded.placed is None
        assert loaded.limit is None
        assert np.array_equal(loaded.place(cloud(3)).pca, maps.place(cloud(3)).pca, equal_nan=True)


def test_a_study_without_the_file_or_with_a_broken_one_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"maps\.safetensors is missing.*train embed"):
        load_maps(tmp_path)
    save_maps(tmp_path, fit_maps(cloud(40), seed=0))
    whole = (tmp_path / FITTED_MAPS).read_bytes()
    for broken in (whole[:100], b"", whole.replace(b"anchors", b"buchors")):
        (tmp_path / FITTED_MAPS).write_bytes(broken)
        with pytest.raises(UserError, match="does not hold the maps"):
            load_maps(tmp_path)
