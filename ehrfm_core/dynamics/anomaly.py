"""Anomaly score: the paper's isolation forest."""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import IsolationForest

THRESHOLD = 0.5


def fit_forest(states: np.ndarray, *, seed: int) -> IsolationForest:
    """Fit on the 24 h representations (n × D) of the source's training split, as the paper does.

    100 trees on 256 stays each (all where there are fewer), contamination "auto". The forest is not
    kept: the same states and seed give it again.
    """
    forest = IsolationForest(n_estimators=100, max_samples="auto", contamination="auto", random_state=seed)
    return forest.fit(states)


def anomaly_scores(forest: IsolationForest, states: np.ndarray) -> np.ndarray:
    """Score s = 2^(−E[h] / c) in (0, 1] of each state (n); an outlier is above 0.5."""
    return -forest.score_samples(states)
