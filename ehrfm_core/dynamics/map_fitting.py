"""Fit the two maps on hourly states of the source, and say from where on a state is off them."""

from __future__ import annotations

import warnings
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import numpy as np

from ehrfm_core.dynamics.maps import NEIGHBORS, Maps
from ehrfm_core.dynamics.nearest import nearest
from ehrfm_core.dynamics.projection import fit_projection

MAX_FITTED = 50_000
MAX_SORTED = 200_000  # states looked through for distinct ones: bounds memory
MIN_DIST = 0.1
SMALLEST_UMAP = 30  # distinct states below which a neighbourhood map means nothing
ON_MAP = 0.99  # share of the source's own held-out states that the map must hold
PACKAGES = ("umap-learn", "scikit-learn")


def draw_states(hourly: np.ndarray, stays: np.ndarray, *, seed: int, most: int = MAX_SORTED) -> np.ndarray:
    """At most so many hourly states (k × D, float32) of the chosen stays, in their order.

    `hourly` is n × H + 1 × D, `stays` (n) says which count. Only what is drawn is copied.

    >>> draw_states(np.arange(6.0).reshape(3, 2, 1), np.array([True, False, True]), seed=0)[:, 0].tolist()
    [0.0, 1.0, 4.0, 5.0]
    """
    hours = hourly.shape[1]
    rows = np.flatnonzero(stays)
    chosen = np.arange(len(rows) * hours)
    if len(chosen) > most:
        chosen = np.sort(np.random.default_rng(seed).choice(len(chosen), most, replace=False))
    return hourly[rows[chosen // hours], chosen % hours].astype(np.float32)


def fit_maps(
    states: np.ndarray,
    *,
    seed: int,
    held_out: np.ndarray | None = None,
    bar: dict[str, Any] | None = None,
) -> Maps:
    """Fit both maps on hourly states (k × D); repeated states count once, at most 50,000 are used.

    The limit of the map is the 99th percentile of the distance of `held_out` (any × D), hourly states of the
    source's tuning split; without any, that of the fitted states themselves, each against the others.
    `bar` holds options of the tqdm bar that UMAP draws while it works; without them none is drawn.
    """
    anchors = np.unique(states[np.isfinite(states).all(axis=1)], axis=0)
    if len(anchors) > MAX_FITTED:
        chosen = np.random.default_rng(seed).choice(len(anchors), MAX_FITTED, replace=False)
        anchors = anchors[np.sort(chosen)]
    projection = fit_projection(anchors)
    versions = {name: version(name) for name in PACKAGES}
    maps = Maps(projection, projection.points(anchors), None, seed, versions=versions)
    if len(anchors) < SMALLEST_UMAP or projection.width < 2:
        return maps
    maps = replace(maps, placed=_umap(maps.anchors, seed, bar or {"disable": True}))
    distances = np.empty(0) if held_out is None else maps.place(held_out).distance
    distances = distances[np.isfinite(distances)]
    limit_from = "tuning split"
    if not len(distances):
        limit_from = "fitted states, each without itself"
        distances = nearest(maps.blocks, maps.anchors, NEIGHBORS + 1)[0][:, 1:].mean(axis=1)
    return replace(maps, limit=float(np.quantile(distances, ON_MAP)), limit_from=limit_from)


def _umap(anchors: np.ndarray, seed: int, bar: dict[str, Any]) -> np.ndarray:
    from umap import UMAP  # seconds to import: only when a map is made

    start = anchors[:, :2] / np.abs(anchors[:, :2]).max() * 10
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # says that a seed forbids threads
        reducer = UMAP(
            n_neighbors=NEIGHBORS, min_dist=MIN_DIST, random_state=seed, init=start, tqdm_kwds=dict(bar)
        )
        return np.asarray(reducer.fit_transform(anchors), dtype=np.float32)
