"""How far a 2-D map may be trusted, measured on states that it was not fitted on."""

from __future__ import annotations

import numpy as np
from scipy.stats import spearmanr
from sklearn.manifold import trustworthiness
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

SAMPLE = 2_000
NEIGHBORS = 15


def step_fidelity(full: np.ndarray, flat: np.ndarray) -> float | None:
    """Spearman correlation of hourly step lengths in the full space and on the map.

    `full` (n × H × D) and `flat` (n × H × 2) are the same paths. Hours without a step are left out; None
    for fewer than 10 steps.
    """
    long = np.linalg.norm(np.diff(full, axis=1), axis=2).ravel()
    short = np.linalg.norm(np.diff(flat, axis=1), axis=2).ravel()
    moved = (long > 0) & np.isfinite(short)
    if moved.sum() < 10:
        return None
    return _number(spearmanr(long[moved], short[moved]).statistic)


def neighborhood(full: np.ndarray, flat: np.ndarray, *, seed: int) -> dict[str, float | None]:
    """Trustworthiness and mean overlap of the 15 nearest neighbours of states (k × D) and points (k × 2).

    At most 2,000 distinct states, drawn at random, are looked at; None for fewer than 50.
    """
    _, first = np.unique(full, axis=0, return_index=True)
    first = first[np.isfinite(flat[first]).all(axis=1)]
    if len(first) < 50:
        return {"trustworthiness": None, "neighbour_overlap": None}
    if len(first) > SAMPLE:
        first = np.random.default_rng(seed).choice(first, SAMPLE, replace=False)
    full, flat = full[np.sort(first)], flat[np.sort(first)]
    near_full, near_flat = (
        NearestNeighbors(n_neighbors=NEIGHBORS).fit(space).kneighbors(return_distance=False)
        for space in (full, flat)
    )
    shared = [len(set(a) & set(b)) / NEIGHBORS for a, b in zip(near_full, near_flat, strict=True)]
    trust = trustworthiness(full, flat, n_neighbors=NEIGHBORS)
    return {"trustworthiness": _number(trust), "neighbour_overlap": _number(float(np.mean(shared)))}


def site_auc(space: np.ndarray, is_source: np.ndarray, patients: np.ndarray, *, seed: int) -> float | None:
    """Cross-validated AUC of telling the source from the other sites in a space (k × any).

    A 25-nearest-neighbour vote, five folds by patient, at most 2,000 states a side; None where one side
    has fewer than 50 states.
    """
    generator = np.random.default_rng(seed)
    finite = np.isfinite(space).all(axis=1)
    sides = [np.flatnonzero(finite & (is_source == side)) for side in (True, False)]
    if min(len(side) for side in sides) < 50:
        return None
    chosen = np.concatenate([generator.permutation(side)[:SAMPLE] for side in sides])
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
    votes = cross_val_predict(
        KNeighborsClassifier(25),
        space[chosen],
        is_source[chosen],
        groups=patients[chosen],
        cv=folds,
        method="predict_proba",
    )
    return _number(roc_auc_score(is_source[chosen], votes[:, 1]))


def _number(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None
