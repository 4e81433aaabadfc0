"""Two maps of the hidden states: PCA and UMAP, fitted on hourly states of the source's training split.

Every other state is placed by a rule that looks at this state alone, so that it lands on the same point
alone or in a batch: PCA projects, UMAP takes the inverse-distance mean of the 15 nearest fitted states
(`UMAP.transform` depends on what else is in the batch).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

MAX_FITTED = 50_000
MAX_SORTED = 200_000  # rows looked through for distinct states: bounds memory
NEIGHBORS = 15
MIN_DIST = 0.1
SMALLEST_UMAP = 30  # distinct states below which a neighbourhood map means nothing


@dataclass(frozen=True)
class Maps:
    """The fitted maps. `anchors` (m × D) are the distinct states UMAP was fitted on, at `placed` (m × 2)."""

    pca: PCA | None
    anchors: np.ndarray
    placed: np.ndarray | None
    index: NearestNeighbors | None
    seed: int

    def pca_points(self, states: np.ndarray) -> np.ndarray:
        """Project states (k × D) to the first two components (k × 2)."""
        if self.pca is None:
            return np.full((len(states), 2), np.nan, dtype=np.float32)
        return self.pca.transform(states).astype(np.float32)

    def umap_points(self, states: np.ndarray) -> np.ndarray:
        """Place states (k × D) on the UMAP (k × 2); not a number where there is no UMAP."""
        if self.index is None or self.placed is None:
            return np.full((len(states), 2), np.nan, dtype=np.float32)
        distances, neighbors = self.index.kneighbors(states)
        weights = 1.0 / np.maximum(distances, 1e-6)
        weights /= weights.sum(axis=1, keepdims=True)
        return np.einsum("kn,knd->kd", weights, self.placed[neighbors]).astype(np.float32)


def fit_maps(states: np.ndarray, *, seed: int, bar: dict[str, Any] | None = None) -> Maps:
    """Fit both maps on hourly states (k × D); repeated states count once, at most 50,000 are used.

    `bar` holds options of the tqdm bar that UMAP draws while it works; without them none is drawn.
    """
    generator = np.random.default_rng(seed)
    if len(states) > MAX_SORTED:
        states = states[np.sort(generator.choice(len(states), MAX_SORTED, replace=False))]
    anchors = np.unique(states, axis=0)
    if len(anchors) > MAX_FITTED:
        anchors = anchors[np.sort(generator.choice(len(anchors), MAX_FITTED, replace=False))]
    pca = PCA(2, svd_solver="full").fit(anchors) if len(anchors) > 2 else None
    if len(anchors) < SMALLEST_UMAP or pca is None:
        return Maps(pca, anchors, None, None, seed)
    placed = _umap(anchors, pca, seed, bar or {"disable": True})
    index = NearestNeighbors(n_neighbors=min(NEIGHBORS, len(anchors))).fit(anchors)
    return Maps(pca, anchors, placed, index, seed)


def _umap(anchors: np.ndarray, pca: PCA, seed: int, bar: dict[str, Any]) -> np.ndarray:
    from umap import UMAP  # imports numba: only when a map is made

    start = pca.transform(anchors)
    start = (start / np.abs(start).max() * 10).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # says that a seed forbids threads
        reducer = UMAP(
            n_neighbors=NEIGHBORS, min_dist=MIN_DIST, random_state=seed, init=start, tqdm_kwds=dict(bar)
        )
        return np.asarray(reducer.fit_transform(anchors), dtype=np.float32)
