"""Variance of areas under the ROC curve and of their differences, without resampling.

DeLong, DeLong & Clarke-Pearson (Biometrics 1988; 44: 837–845), with the midranks of Sun & Xu (IEEE Signal
Processing Letters 2014; 21: 1389–1393): a few sorts in place of all pairs. Stays of one patient are not
independent; their components are summed by patient first (Obuchowski, Biometrics 1997; 53: 567–578), which
with one stay a patient is DeLong's own estimate. Symbols: n stays, M models on the same stays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, rankdata

from ehrfm_core.evaluation.intervals import FEWEST_PATIENTS, LEVEL, newcombe_interval


@dataclass(frozen=True, eq=False)
class Areas:
    """`auc` (M) and the covariance (M × M) of the estimates."""

    auc: np.ndarray
    covariance: np.ndarray

    def interval(self, model: int = 0, *, level: float = LEVEL) -> tuple[float, float]:
        """Interval of one area on the logit scale, which keeps it within 0 and 1.

        Of an area of 0 or 1 the variance is 0 and the interval a point: use Newcombe's there.
        """
        area, spread = float(self.auc[model]), float(np.sqrt(self.covariance[model, model]))
        if not 0 < area < 1 or spread == 0:
            return area, area
        z = float(norm.ppf((1 + level) / 2)) * spread / (area * (1 - area))
        middle = np.log(area / (1 - area))
        low, high = (1 / (1 + np.exp(-(middle + sign * z))) for sign in (-1, 1))
        return float(low), float(high)

    def difference(
        self, first: int, second: int, *, level: float = LEVEL
    ) -> tuple[float, float, float, float]:
        """AUC of `first` − AUC of `second`, its interval, and the two-sided p-value that they are equal.

        Where both rank every pair alike the variance is 0 and the p-value 1.
        """
        contrast = np.zeros(len(self.auc))
        contrast[first] += 1
        contrast[second] -= 1
        found = float(contrast @ self.auc)
        spread = float(np.sqrt(max(0.0, contrast @ self.covariance @ contrast)))
        half = float(norm.ppf((1 + level) / 2)) * spread
        p_value = float(2 * norm.sf(abs(found) / spread)) if spread > 1e-12 else 1.0
        return found, found - half, found + half, p_value


def areas(labels: np.ndarray, scores: np.ndarray, patients: np.ndarray | None = None) -> Areas:
    """Areas of M models (`scores` M × n, or n for one) on the same stays, with their covariance.

    `labels` (n) are boolean, `patients` (n) say which stays belong together (None: each is its own patient).
    Raises ValueError where one class is empty or there are fewer than two patients.

    >>> labels = np.array([False, False, True, True])
    >>> found = areas(labels, np.array([0.1, 0.4, 0.35, 0.8]))
    >>> found.auc.tolist(), found.covariance.round(3).tolist()
    ([0.75], [[0.125]])
    """
    labels, scores = np.asarray(labels, dtype=bool), np.atleast_2d(np.asarray(scores, dtype=np.float64))
    n_events, n_others = int(labels.sum()), int((~labels).sum())
    if not n_events or not n_others:
        raise ValueError(f"an AUC needs both classes, not {n_events} events and {n_others} other stays")
    among_all = rankdata(scores, axis=1)
    event, other = scores[:, labels], scores[:, ~labels]
    # share of the other class that each stay outranks: V10 and 1 − V01 of DeLong
    above = (among_all[:, labels] - rankdata(event, axis=1)) / n_others
    below = 1 - (among_all[:, ~labels] - rankdata(other, axis=1)) / n_events
    auc = above.mean(axis=1)
    if patients is None:
        cluster, n_clusters = np.arange(len(labels)), len(labels)
    else:
        names, cluster = np.unique(patients, return_inverse=True)
        n_clusters = len(names)
    if n_clusters < 2:
        raise ValueError("a variance needs two patients or more")
    event_sums = _sums(above - auc[:, None], cluster[labels], n_clusters)
    other_sums = _sums(below - auc[:, None], cluster[~labels], n_clusters)
    with_events, with_others = (len(np.unique(cluster[own])) for own in (labels, ~labels))
    covariance = (
        event_sums @ event_sums.T * _small(with_events) / n_events**2
        + other_sums @ other_sums.T * _small(with_others) / n_others**2
    )
    cross = event_sums @ other_sums.T * _small(n_clusters) / (n_events * n_others)
    return Areas(auc, covariance + (cross + cross.T if patients is not None else 0.0))


def area_intervals(
    labels: np.ndarray, scores: np.ndarray, patients: np.ndarray
) -> list[tuple[float, float, float]]:
    """Area of each of M models (`scores` M × n) with its interval: DeLong's, or Newcombe's with few patients.

    Newcombe's where fewer than ten patients have the event or lack it, or all pairs are ranked one way.
    """
    if len(np.unique(patients)) < 2:  # no variance among patients
        patients = np.arange(len(labels))
    found = areas(labels, scores, patients)
    n_events, n_others = (len(np.unique(patients[own])) for own in (labels, ~labels))
    rows = []
    for model, area in enumerate(found.auc.tolist()):
        low, high = found.interval(model)
        if min(n_events, n_others) < FEWEST_PATIENTS or low == high:
            low, high = newcombe_interval(area, n_events=n_events, n_others=n_others)
        rows.append((area, low, high))
    return rows


def _sums(values: np.ndarray, cluster: np.ndarray, n_clusters: int) -> np.ndarray:
    """Sums of the columns of `values` (M × k) by cluster (M × clusters)."""
    return np.stack([np.bincount(cluster, weights=row, minlength=n_clusters) for row in values])


def _small(n: int) -> float:
    """Correction for n clusters of which the mean was taken."""
    return n / (n - 1) if n > 1 else 0.0
