"""Gradient boosting on values: the strongest model that needs no foundation model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits


@dataclass(frozen=True, eq=False)
class Boosting:
    """A fitted ensemble of trees, read as a probe is; `columns` are the features that it looks at."""

    trees: HistGradientBoostingClassifier
    columns: np.ndarray

    def probability(self, features: np.ndarray) -> np.ndarray:
        """Probability of the event for each row of `features` (n × features)."""
        if not len(features):
            return np.empty(0)
        with threadpool_limits(limits=1):
            return np.asarray(self.trees.predict_proba(features[:, self.columns])[:, 1], dtype=np.float64)


def fit_boosting(
    features: np.ndarray, labels: np.ndarray, *, seed: int, settings: Mapping[str, Any] | None = None
) -> Boosting:
    """Scikit-learn's histogram boosting with its defaults, or other `settings`, without early stopping.

    On one thread, so that any number of cores gives the same trees. Features that nobody has in training, or
    all have alike, are left out.
    """
    with np.errstate(invalid="ignore"):
        varies = np.fmax.reduce(features, axis=0) > np.fmin.reduce(features, axis=0)
    columns = np.flatnonzero(varies | (np.isnan(features).any(axis=0) & ~np.isnan(features).all(axis=0)))
    if not len(columns):
        columns = np.array([0])  # trees of nothing: everybody's risk is the same
        features = np.zeros_like(features)

    trees = HistGradientBoostingClassifier(early_stopping=False, random_state=seed, **(settings or {}))
    with threadpool_limits(limits=1):
        trees.fit(features[:, columns], labels)
    return Boosting(trees, columns)
