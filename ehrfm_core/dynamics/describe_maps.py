"""The content of `results/maps.json`: axis ranges of the two maps and how far each may be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from ehrfm_core.dynamics.map_fitting import MIN_DIST, ON_MAP
from ehrfm_core.dynamics.map_quality import neighborhood, site_auc, step_fidelity
from ehrfm_core.dynamics.maps import NEIGHBORS, Maps, Points

KINDS = ("pca", "umap")
MOST_PATHS = 5_000  # test stays of the source that quality is measured on


@dataclass(frozen=True, eq=False)
class PlacedSite:
    """A site whose hourly states have been placed: `states` (n × D) at the end of the window, all `points`.

    `stays` (n rows) has patient_id and split; `points` are in rows of H + 1 hours, stay after stay.
    """

    name: str
    stays: pl.DataFrame
    states: np.ndarray
    points: Points

    @property
    def test(self) -> np.ndarray:
        """Which stays are of the test split (n)."""
        return (self.stays["split"] == "test").fill_null(value=False).to_numpy()

    def by_stay(self, kind: str) -> np.ndarray:
        """Points on a map (n × H + 1 × 2)."""
        points: np.ndarray = getattr(self.points, kind)
        return points.reshape(len(self.stays), -1, 2)

    def off_map_share(self) -> float | None:
        """Share of the test split's hourly states that are off the map; None without a limit or a state."""
        known = np.isfinite(self.points.distance).reshape(len(self.stays), -1)[self.test]
        off = self.points.off_map.reshape(len(self.stays), -1)[self.test]
        return round(float(off[known].mean()), 4) if known.any() else None


def paths_to_check(stays: pl.DataFrame, *, seed: int) -> np.ndarray:
    """Rows of at most 5,000 test stays, drawn at random: quality is measured on their paths."""
    rows = np.flatnonzero((stays["split"] == "test").fill_null(value=False).to_numpy())
    if len(rows) > MOST_PATHS:
        rows = np.sort(np.random.default_rng(seed).choice(rows, MOST_PATHS, replace=False))
    return rows


def describe_maps(
    maps: Maps, sites: list[PlacedSite], paths: np.ndarray, rows: np.ndarray, *, seed: int
) -> dict[str, Any]:
    """Describe both maps; the source is the first of the sites.

    `paths` (r × H + 1 × D) are hourly states of the source's stays in `rows` (see `paths_to_check`). Quality
    is measured on test splits, never on what the maps were fitted on.
    """
    source = sites[0]
    states, is_source, patients = _ends(sites)
    separable = site_auc(states, is_source, patients, seed=seed)
    off_map = {site.name: site.off_map_share() if maps.limit is not None else None for site in sites}
    described: dict[str, Any] = {
        "fitted_on": f"hourly states of the training split of {source.name}",
        "n_fitted": len(maps.anchors),
        "hidden_size": source.states.shape[1],
        "n_components": maps.projection.width,
        "off_map_beyond": {"distance": maps.limit, "quantile": ON_MAP, "measured_on": maps.limit_from},
    }
    for kind in KINDS:
        flat = source.by_stay(kind)[rows]
        ends = np.concatenate([site.by_stay(kind)[site.test, -1] for site in sites])
        quality: dict[str, Any] = {"step_fidelity": step_fidelity(paths, flat)}
        quality |= neighborhood(paths.reshape(-1, paths.shape[2]), flat.reshape(-1, 2), seed=seed)
        quality |= {"site_auc_2d": site_auc(ends, is_source, patients, seed=seed), "site_auc_full": separable}
        quality |= {"off_map_share": off_map}
        described[kind] = {
            **axis_ranges(np.concatenate([getattr(site.points, kind) for site in sites])),
            "quality": quality,
            "n_fitted": len(maps.anchors),
            "seed": maps.seed,
            "versions": maps.versions,
        }
    shares = [round(float(share), 4) for share in maps.projection.variance]
    described["pca"] |= {"explained_variance": shares[:2], "kept_variance": round(sum(shares), 4)}
    described["pca"]["quality"] |= {"variance_share": round(sum(shares[:2]), 4) if shares else None}
    described["umap"] |= {"n_neighbors": NEIGHBORS, "min_dist": MIN_DIST}
    return described


def _ends(sites: list[PlacedSite]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """States (k × D) at the end of the window, which are the source's (k), and whose (k): test splits."""
    states = np.concatenate([site.states[site.test] for site in sites])
    is_source = np.concatenate([np.full(site.test.sum(), site is sites[0]) for site in sites])
    patients = [(site.name + "/" + site.stays["patient_id"]).to_numpy()[site.test] for site in sites]
    return states, is_source, np.concatenate(patients)


def axis_ranges(points: np.ndarray) -> dict[str, list[float]]:
    """Axis ranges that hold every finite point (k × 2), with a margin of 4 %.

    >>> axis_ranges(np.array([[0.0, 10.0], [100.0, 20.0], [np.nan, 0.0]]))
    {'x_range': [-4.0, 104.0], 'y_range': [9.6, 20.4]}
    """
    finite = points[np.isfinite(points).all(axis=1)]
    if not len(finite):
        return {"x_range": [-1.0, 1.0], "y_range": [-1.0, 1.0]}
    low, high = finite.min(axis=0), finite.max(axis=0)
    margin = np.maximum((high - low) * 0.04, 1e-3)
    return {
        f"{axis}_range": [round(float(low[k] - margin[k]), 4), round(float(high[k] + margin[k]), 4)]
        for k, axis in enumerate("xy")
    }
