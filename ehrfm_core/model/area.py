"""The area under the ROC curve where nothing but NumPy is installed."""

from __future__ import annotations

import numpy as np


def area(labels: np.ndarray, scores: np.ndarray) -> float:
    """Share of pairs (event, no event) in which the event scores higher, ties one half; NaN without a pair.

    >>> area(np.array([False, True, False, True]), np.array([0.1, 0.4, 0.4, 0.8]))
    0.875
    """
    labels = np.asarray(labels, dtype=bool)
    _, level, counts = np.unique(scores, return_inverse=True, return_counts=True)
    rank = np.cumsum(counts) - (counts - 1) / 2  # mean rank of equal scores
    n_events, n_others = int(labels.sum()), int((~labels).sum())
    if not n_events or not n_others:
        return float("nan")
    wins = rank[level][labels].sum() - n_events * (n_events + 1) / 2
    return float(wins / (n_events * n_others))
