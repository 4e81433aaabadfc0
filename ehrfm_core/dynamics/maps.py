"""Two maps of the hidden states, PCA and UMAP, and how a state is placed on them.

Both are fitted on hourly states of the source's training split (`map_fitting.py`). A state is placed by a
rule that looks at this state alone, so that it lands on the same point, bit for bit, alone or in a batch: PCA
projects, UMAP takes the inverse-distance mean of the 15 nearest fitted states (`UMAP.transform` depends on
what else is in the batch). That mean lies within the map however strange the state, so its distance to the
fitted states is kept as well: beyond that of 99 % of the source's own held-out states it is off the map.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import polars as pl
from numba import njit

from ehrfm_core.dynamics.nearest import Blocks, cut_into_blocks, nearest
from ehrfm_core.dynamics.projection import Projection
from ehrfm_core.parallel import in_order

NEIGHBORS = 15
PLACED_AT_ONCE = 1 << 21  # numbers of states a worker holds: 8 MB
CLOSEST = 1e-6  # keeps the weight of a fitted state itself finite


@dataclass(frozen=True, eq=False)
class Points:
    """Where k states lie: `pca` and `umap` (k × 2), `distance` (k) to the fitted states, `off_map` (k).

    `distance` is the mean over the 15 nearest, in the space of the principal components. Not a number where
    there is no map to lie on; such a state is not called off the map.
    """

    pca: np.ndarray
    umap: np.ndarray
    distance: np.ndarray
    off_map: np.ndarray

    def __len__(self) -> int:
        return len(self.distance)

    def to_frame(self) -> pl.DataFrame:
        """Columns umap_x, umap_y, pca_x, pca_y, map_distance and off_map; null where there is no map."""
        columns = {
            f"{name}_{axis}": points[:, k]
            for name, points in (("umap", self.umap), ("pca", self.pca))
            for k, axis in enumerate("xy")
        }
        frame = pl.DataFrame(columns | {"map_distance": self.distance, "off_map": self.off_map})
        known = pl.col("map_distance").is_not_nan()
        return frame.with_columns(pl.when(known).then("off_map").alias("off_map")).with_columns(
            pl.selectors.float().fill_nan(None)
        )


@dataclass(frozen=True, eq=False)
class Maps:
    """The fitted maps.

    `anchors` (m × C, float32) are the distinct states that both were fitted on, in the space of the C
    components; on the UMAP they lie at `placed` (m × 2), None where they were too few. A state is off the
    map beyond `limit`, which was measured on `limit_from`; `versions` are those of the packages that fitted.
    """

    projection: Projection
    anchors: np.ndarray
    placed: np.ndarray | None
    seed: int
    limit: float | None = None
    limit_from: str | None = None
    versions: dict[str, str] = field(default_factory=dict)

    @cached_property
    def blocks(self) -> Blocks:
        """The anchors, ready to be searched."""
        return cut_into_blocks(self.anchors)

    def place(self, states: np.ndarray) -> Points:
        """Place states (k × D, any float) on both maps; a state that repeats the one before is placed once.

        Works piece by piece on a few threads: beside the answer some ten megabytes are held.
        """
        step = max(1, PLACED_AT_ONCE // max(1, states.shape[1]))
        pieces = (states[begin : begin + step] for begin in range(0, max(1, len(states)), step))
        parts = list(in_order(self._place, pieces))
        names = ("pca", "umap", "distance", "off_map")
        return Points(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def _place(self, states: np.ndarray) -> Points:
        states = states.astype(np.float32)
        differs = np.ones(len(states), dtype=bool)
        differs[1:] = (states[1:] != states[:-1]).any(axis=1)
        points = self.projection.points(states[differs])
        pca = np.full((len(points), 2), np.nan, dtype=np.float32)
        pca[:, : self.projection.width] = points[:, :2]
        umap = np.full((len(points), 2), np.nan, dtype=np.float32)
        distance = np.full(len(points), np.nan, dtype=np.float32)
        if self.placed is not None:
            distances, neighbors = nearest(self.blocks, points, NEIGHBORS)
            _weigh(distances, neighbors, self.placed, umap, distance)
        off_map = distance > (np.inf if self.limit is None else self.limit)
        own = np.cumsum(differs) - 1
        return Points(pca[own], umap[own], distance[own], off_map[own])


@njit(nogil=True)
def _weigh(
    distances: np.ndarray, neighbors: np.ndarray, placed: np.ndarray, umap: np.ndarray, mean: np.ndarray
) -> None:
    """Fill the inverse-distance mean of the neighbours' places (k × 2) and their mean distance (k)."""
    for row in range(distances.shape[0]):
        if np.isinf(distances[row, -1]):  # not a number
            continue
        x, y, weights, total = 0.0, 0.0, 0.0, 0.0
        for j in range(distances.shape[1]):
            weight = 1 / max(np.float64(distances[row, j]), CLOSEST)
            x += weight * placed[neighbors[row, j], 0]
            y += weight * placed[neighbors[row, j], 1]
            weights += weight
            total += distances[row, j]
        umap[row, 0], umap[row, 1] = x / weights, y / weights
        mean[row] = total / distances.shape[1]
