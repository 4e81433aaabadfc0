"""What follows from acting on a prediction: net benefit, and how a threshold sorts the stays.

Symbols: n stays, t a threshold (a stay at or above it raises an alert), R weightings, T thresholds.

    sensitivity, specificity    share of events at or above t, of the others below it
    ppv                         share of events among alerts
    alerts_per_100              alerts among 100 stays
    net benefit                 TP/n − FP/n · t/(1 − t) (Vickers & Elkin, Med Decis Making 2006; 26: 565)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

SORTING = ("sensitivity", "specificity", "ppv", "alerts_per_100")


@dataclass(frozen=True, eq=False)
class Thresholded:
    """Stays sorted into the T + 1 bins that ascending `thresholds` (T) cut."""

    thresholds: np.ndarray
    event_sums: csr_array
    other_sums: csr_array

    @classmethod
    def of(cls, labels: np.ndarray, scores: np.ndarray, thresholds: np.ndarray) -> Thresholded:
        """Sort `n` stays with boolean labels by a score."""
        labels, scores = np.asarray(labels, dtype=bool), np.asarray(scores, dtype=np.float64)
        cuts = np.asarray(thresholds, dtype=np.float64)
        bins = np.searchsorted(cuts, scores, side="right")
        event, other = (_sums(np.flatnonzero(own), bins, len(cuts) + 1) for own in (labels, ~labels))
        return cls(cuts, event, other)

    def counts(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """True and false alerts (R × T), and all events and others (R × 1), by row of `weights` (R × n)."""
        columns = np.asarray(weights, dtype=np.float64).T
        event, other = ((sums @ columns).T for sums in (self.event_sums, self.other_sums))
        # alerts are in the bins above a threshold
        above = [np.cumsum(x[:, :0:-1], axis=1)[:, ::-1] for x in (event, other)]
        return above[0], above[1], event.sum(axis=1, keepdims=True), other.sum(axis=1, keepdims=True)

    def net_benefit(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Net benefit (R × T) of acting on alerts, and of acting on everybody.

        >>> four = Thresholded.of(np.array([1, 1, 0, 0]) > 0, np.array([0.9, 0.2, 0.6, 0.1]), np.array([0.5]))
        >>> [x.tolist() for x in four.net_benefit(np.ones((1, 4)))]
        [[[0.0]], [[0.0]]]
        """
        true, false, events, others = self.counts(weights)
        odds = self.thresholds / (1 - self.thresholds)
        n = events + others
        return (true - false * odds) / n, (events - others * odds) / n

    def sorting(self, weights: np.ndarray) -> np.ndarray:
        """The four of `SORTING` (4 × R × T); NaN where there is nobody to divide by."""
        true, false, events, others = self.counts(weights)
        alerts = true + false
        return np.stack(
            [
                _over(true, events),
                _over(others - false, others),
                _over(true, alerts),
                100 * _over(alerts, events + others),
            ]
        )


@dataclass(frozen=True, eq=False)
class Levels:
    """Stays in order of falling score; row l of the sums adds up the weights of the l-th distinct score."""

    scores: np.ndarray
    event_sums: csr_array
    other_sums: csr_array

    @classmethod
    def of(cls, labels: np.ndarray, scores: np.ndarray) -> Levels:
        """Sort `n` stays with boolean labels by a score."""
        labels = np.asarray(labels, dtype=bool)
        levels, level = np.unique(-np.asarray(scores, dtype=np.float64), return_inverse=True)
        event, other = (_sums(np.flatnonzero(own), level, len(levels)) for own in (labels, ~labels))
        return cls(-levels, event, other)

    def sensitivity(self, weights: np.ndarray, *, specificity: float) -> np.ndarray:
        """The highest sensitivity (R) that a threshold of at least this specificity has; NaN without a class.

        >>> labels, scores = np.arange(10) > 6, np.arange(10) % 8
        >>> Levels.of(labels, scores).sensitivity(np.ones((1, 10)), specificity=0.8).round(3).tolist()
        [0.333]
        """
        columns = np.asarray(weights, dtype=np.float64).T
        event, other = (np.cumsum(sums @ columns, axis=0) for sums in (self.event_sums, self.other_sums))
        allowed = other <= (1 - specificity) * other[-1] * (1 + 1e-12)
        found = np.where(allowed, event, 0.0).max(axis=0)
        return np.where(other[-1] > 0, _over(found, event[-1]), np.nan)

    def threshold(self, *, specificity: float) -> float:
        """The lowest score at which an alert has at least this specificity; infinite where none has."""
        other = np.cumsum(np.asarray(self.other_sums.sum(axis=1)).ravel())
        allowed = np.flatnonzero(other <= (1 - specificity) * other[-1] * (1 + 1e-12))
        return float(self.scores[allowed[-1]]) if len(allowed) else float("inf")


def _sums(stays: np.ndarray, group: np.ndarray, size: int) -> csr_array:
    return csr_array((np.ones(len(stays)), (group[stays], stays)), shape=(size, len(group)))


def _over(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    above, below = np.broadcast_arrays(above, below)
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)
