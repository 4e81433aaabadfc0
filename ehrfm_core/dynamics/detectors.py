"""How strange a 24 h representation is by five detectors, all fitted on the source's training states.

With z the coordinates of a state on the principal components of `space.Space`, higher is always stranger:

    isolation_forest  2^(−E[h]/c) in the full space, the paper's (`anomaly.py`)
    knn               mean distance to the 10 nearest training states, the state itself left out
                      (Ramaswamy et al. 2000; Angiulli & Pizzuti 2002)
    mahalanobis       √ Σ_k (z_k / SD_k)² (Mahalanobis 1936)
    gaussian_mixture  −ln p(z / SD) in nats, full covariances, 1 to 8 components by BIC (Schwarz 1978)
    ecod              Σ_k −ln min(F̂_k(z_k), 1 − F̂_k(z_k⁻)): the smaller tail of each component's empirical
                      distribution (Li et al. 2022, IEEE TKDE, doi 10.1109/TKDE.2022.3159580). The larger tail
                      is taken component by component, as its authors' own program does; the paper takes it
                      over the sums, which would depend on the arbitrary sign of a component.

A state's score looks at that state alone, so it is the same alone and in a batch. Nothing is kept on disk:
the same states and seed give the same detectors again.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from ehrfm_core.dynamics.anomaly import THRESHOLD, anomaly_scores, fit_forest
from ehrfm_core.dynamics.detector_names import DETECTORS, FOREST
from ehrfm_core.dynamics.space import Space, drawn, fit_space

NEIGHBORS = 10
MOST_MIXED = 8
SCORED_AT_ONCE = 20_000

Score = Callable[[np.ndarray], np.ndarray]
"""Coordinates (n × K) in, one score a state out (n, float64)."""


def fit_neighbours(fitted: np.ndarray, space: Space, *, seed: int) -> Score:
    """Mean Euclidean distance to the 10 nearest of the fitted coordinates (m × K).

    A fitted state at distance 0 is taken for the state itself and passed over once, so that the scores of
    training states are comparable with those of others.
    """
    index = NearestNeighbors(n_neighbors=NEIGHBORS + 1, algorithm="brute").fit(fitted)

    def scores(places: np.ndarray) -> np.ndarray:
        near = index.kneighbors(places, return_distance=False)
        # once more by differences: the search's own distances are rounded and never quite 0
        away = fitted[near].astype(np.float64) - places[:, None]
        distances = np.sort(np.sqrt((away**2).sum(axis=2)), axis=1)
        first = (distances[:, 0] == 0).astype(np.int64)
        return np.take_along_axis(distances, first[:, None] + np.arange(NEIGHBORS), axis=1).mean(axis=1)

    return scores


def fit_mahalanobis(fitted: np.ndarray, space: Space, *, seed: int) -> Score:
    """Distance to the mean of the training states in units of their spread."""
    return lambda places: np.sqrt(((places / space.spread) ** 2).sum(axis=1))


def fit_mixture(fitted: np.ndarray, space: Space, *, seed: int) -> Score:
    """Negative log density of the Gaussian mixture with the lowest BIC among 1 to 8 components."""
    z = fitted / space.spread
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # BIC then judges it as it stands
        mixtures = [
            GaussianMixture(size, reg_covar=1e-3, max_iter=200, random_state=seed).fit(z)
            for size in range(1, 1 + min(MOST_MIXED, len(np.unique(z, axis=0))))
        ]
    best = min(mixtures, key=lambda mixture: mixture.bic(z))
    return lambda places: -best.score_samples(places / space.spread)


def fit_ecod(fitted: np.ndarray, space: Space, *, seed: int) -> Score:
    """Sum of −ln of the smaller tail; a place beyond every fitted one counts as the last of them."""
    ordered, n = np.sort(fitted, axis=0), len(fitted)

    def scores(places: np.ndarray) -> np.ndarray:
        total = np.zeros(len(places))
        for k in range(ordered.shape[1]):
            column, place = ordered[:, k], places[:, k]
            up_to = np.searchsorted(column, place, side="right")
            from_here = n - np.searchsorted(column, place, side="left")
            total -= np.log(np.maximum(np.minimum(up_to, from_here), 1) / n)
        return total

    return scores


FITS: dict[str, Callable[..., Score]] = {
    "knn": fit_neighbours,
    "mahalanobis": fit_mahalanobis,
    "gaussian_mixture": fit_mixture,
    "ecod": fit_ecod,
}


@dataclass(frozen=True, eq=False)
class Detectors:
    """The fitted detectors. Without a `space` (too few training states) only the forest scores."""

    forest: IsolationForest
    space: Space | None
    fitted: dict[str, Score]
    thresholds: dict[str, float]  # a score above it is flagged

    @property
    def notes(self) -> list[str]:
        """Sentences for the reader on what is missing."""
        if self.space is not None:
            return []
        return [
            "The source's training split has too few or too similar states for any outlier detector but the "
            "isolation forest."
        ]

    def scores(self, states: np.ndarray) -> dict[str, np.ndarray]:
        """Score of each state (n × D) by each detector fitted (n, float64)."""
        found = {FOREST: anomaly_scores(self.forest, states)}
        if self.space is None:
            return found
        places = self.space.coordinates(states)
        parts = np.array_split(places, max(1, -(-len(places) // SCORED_AT_ONCE)))
        return found | {
            name: np.concatenate([np.asarray(score(part), dtype=np.float64) for part in parts])
            for name, score in self.fitted.items()
        }

    def table(self, ids: pl.Series, states: np.ndarray) -> pl.DataFrame:
        """Rows of `anomaly.parquet` for states (n × D): score and flag of each detector, null without it."""
        scores, columns = self.scores(states), []
        for name in DETECTORS:
            known = scores.get(name)
            flags = [None] * len(ids) if known is None else known > self.thresholds[name]
            columns.append(pl.Series(f"{name}_score", [None] * len(ids) if known is None else known))
            columns.append(pl.Series(f"{name}_flag", flags, dtype=pl.Boolean))
        return pl.DataFrame([ids.alias("hospitalization_id"), *columns])


def fit_detectors(states: np.ndarray, *, seed: int, forest: IsolationForest | None = None) -> Detectors:
    """Fit every detector on the 24 h representations (n × D, float32) of the source's training split.

    The `forest` is taken where it has been fitted on the same states and seed before, and flags above 0.5 as
    in the paper. The other scores have no natural threshold: each flags as many training states as the
    forest does, so that shares at other sites can be compared. All but the forest are fitted on at most
    20,000 states.
    """
    forest = fit_forest(states, seed=seed) if forest is None else forest
    thresholds, space = {FOREST: THRESHOLD}, fit_space(states, seed=seed)
    if space is None:
        return Detectors(forest, None, {}, thresholds)
    places = space.coordinates(drawn(states, seed=seed))
    with threadpool_limits(limits=1):  # the order of sums would change the last digits
        fitted = {name: fit(places, space, seed=seed) for name, fit in FITS.items()}
    scores = Detectors(forest, space, fitted, thresholds).scores(states)
    flagged = int((scores[FOREST] > THRESHOLD).sum())
    thresholds |= {name: matching_threshold(scores[name], flagged) for name in fitted}
    return Detectors(forest, space, fitted, thresholds)


def matching_threshold(scores: np.ndarray, flagged: int) -> float:
    """The threshold above which `flagged` of the scores lie, fewer only where scores are tied across it.

    It is the quantile halfway between the last score flagged and the first that is not; where none is to be
    flagged, the highest score.

    >>> matching_threshold(np.array([1.0, 4.0, 2.0, 3.0]), 1)
    3.5
    """
    ordered = np.sort(scores)[::-1]
    if flagged <= 0:
        return float(ordered[0])
    if flagged >= len(ordered):
        return float(np.nextafter(ordered[-1], -np.inf))
    return float((ordered[flagged - 1] + ordered[flagged]) / 2)
