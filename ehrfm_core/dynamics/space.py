"""The principal components of the source's training states, in which distances to them are taken."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits

FEWEST_STATES = 30
MAX_FITTED = 20_000  # states, drawn at random: bounds time and memory
VARIANCE_KEPT = 0.95
MOST_COMPONENTS = 32
STATES_A_COMPONENT = 10
PROJECTED_AT_ONCE = 1 << 24  # numbers, 128 MB


@dataclass(frozen=True, eq=False)
class Space:
    """Principal components (K) of hidden states (D) in units of each dimension's SD.

    `mean` and `scale` (D) standardise a state, `axes` (D × K) project it, `spread` (K) is the SD of the
    training states along each component, `explained` (K) its share of their variance, largest first.
    """

    mean: np.ndarray
    scale: np.ndarray
    axes: np.ndarray
    spread: np.ndarray
    explained: np.ndarray

    def coordinates(self, states: np.ndarray) -> np.ndarray:
        """Place states (n × D) on the components (n × K, float32).

        Worked out in double precision and then rounded, so that a state has the same coordinates alone as
        in a batch, where products are summed in another order.
        """
        parts = np.array_split(states, max(1, -(-states.size // PROJECTED_AT_ONCE)))
        placed = [((part - self.mean) / self.scale) @ self.axes for part in parts]
        return np.concatenate(placed).astype(np.float32)


def fit_space(states: np.ndarray, *, seed: int) -> Space | None:
    """Fit on the 24 h representations (n × D) of the source's training split, at most 20,000 of them.

    As many components are kept as hold 95 % of the variance, at most 32, and one for every ten states: with
    more of them a distance would follow the noise. A dimension that never varies has no part in it. None
    where fewer than 30 states are given, or none differs from another.
    """
    if len(states) < FEWEST_STATES:
        return None
    states = drawn(states, seed=seed).astype(np.float64)
    mean, scale = states.mean(axis=0), states.std(axis=0)
    varies = scale > 1e-9 * np.maximum(1.0, np.abs(mean))
    if not varies.any():
        return None
    scale = np.where(varies, scale, np.inf)
    most = min(MOST_COMPONENTS, len(states) // STATES_A_COMPONENT, states.shape[1])
    with threadpool_limits(limits=1, user_api="blas"):  # the order of sums would change the last digits
        pca = PCA(most, svd_solver="covariance_eigh").fit((states - mean) / scale)
    explained = pca.explained_variance_ratio_
    kept = min(most, 1 + int(np.searchsorted(np.cumsum(explained), VARIANCE_KEPT)))
    kept = min(kept, int((explained > 1e-9).sum()))
    return Space(
        mean=mean,
        scale=scale,
        axes=pca.components_[:kept].T,
        spread=np.sqrt(pca.explained_variance_[:kept]),
        explained=explained[:kept],
    )


def drawn(states: np.ndarray, *, seed: int) -> np.ndarray:
    """At most 20,000 of the states, in their order, the same ones for the same seed."""
    if len(states) <= MAX_FITTED:
        return states
    return states[np.sort(np.random.default_rng(seed).choice(len(states), MAX_FITTED, replace=False))]
