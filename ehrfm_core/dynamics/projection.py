"""Principal components: a straight projection that treats every state by itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from scipy.linalg import eigh

MOST_COMPONENTS = 50
ROWS_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class Projection:
    """Projects states of D numbers to C components, widest first.

    `mean` (D) and `components` (C × D, orthonormal) are float32; `variance` (C) holds each component's share
    of the whole variance. C is 0 where there was too little to fit.
    """

    mean: np.ndarray
    components: np.ndarray
    variance: np.ndarray

    @property
    def width(self) -> int:
        """How many components there are, C."""
        return len(self.components)

    def points(self, states: np.ndarray) -> np.ndarray:
        """Project states (k × D) to points (k × C, float32).

        A matrix product rounds by the shape of the batch; here each state's sums run in an order of their
        own, so that a state has the same point, bit for bit, alone or among others.
        """
        points = np.empty((len(states), self.width), dtype=np.float32)
        weights = np.ascontiguousarray(self.components.T, dtype=np.float64)
        _project(np.ascontiguousarray(states, dtype=np.float32), self.mean, weights, points)
        return points


def fit_projection(states: np.ndarray, *, most: int = MOST_COMPONENTS) -> Projection:
    """Fit principal components to states (m × D): all D of them where D ≤ `most`, a mere rotation.

    Else the first `most`, or m − 1 where that is less; none for fewer than three states or states that are
    all the same. Each component's largest weight is positive, which fixes its sign.
    """
    m, width = states.shape
    mean = states.mean(axis=0, dtype=np.float64).astype(np.float32) if m else np.zeros(width, np.float32)
    covariance = np.zeros((width, width))
    for part in np.array_split(states, max(1, m // ROWS_AT_ONCE)):
        centred = part.astype(np.float64) - mean
        covariance += centred.T @ centred
    total = float(np.trace(covariance))
    wanted = width if width <= most else min(most, m - 1)
    if m < 3 or total <= 0:
        return Projection(mean, np.empty((0, width), np.float32), np.empty(0))
    values, vectors = eigh(covariance, subset_by_index=[width - wanted, width - 1])
    components = vectors.T[::-1]
    largest = np.abs(components).argmax(axis=1)
    components = components * np.sign(components[np.arange(wanted), largest])[:, None]
    return Projection(mean, components.astype(np.float32), np.maximum(values[::-1], 0) / total)


@njit(nogil=True)
def _project(states: np.ndarray, mean: np.ndarray, weights: np.ndarray, points: np.ndarray) -> None:
    """Write into `points` (k × C); `weights` is D × C, so that the inner loop runs along memory."""
    total = np.empty(weights.shape[1])
    for row in range(states.shape[0]):
        total[:] = 0
        for d in range(states.shape[1]):
            x = np.float64(states[row, d]) - np.float64(mean[d])
            for c in range(total.size):
                total[c] += x * weights[d, c]
        for c in range(total.size):
            points[row, c] = total[c]
