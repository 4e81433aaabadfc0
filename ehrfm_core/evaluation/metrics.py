"""Discrimination and calibration of a score, for one weighting of the stays or for many at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array


@dataclass(frozen=True, eq=False)
class Ranking:
    """Stays in order of their score, sorted once so that many weightings cost little each.

    The K distinct scores of stays with the event cut the others into 2K + 1 groups: below the first,
    tied with it, between it and the second, and so on. Row k of `event_sums` (K × n, ones and zeros) adds up
    the stays with the event at level k, row g of `other_sums` (2K + 1 × n) those without it in group g. Both
    metrics follow from these sums, with ties handled exactly.
    """

    event_sums: csr_array
    other_sums: csr_array

    @classmethod
    def of(cls, labels: np.ndarray, scores: np.ndarray) -> Ranking:
        """Sort `n` stays with boolean labels by a score that is higher where the event is likelier.

        Raises ValueError where the two differ in length or a score is not a finite number.
        """
        labels, scores = _checked(labels, scores)
        levels, level = np.unique(scores[labels], return_inverse=True)
        others = scores[~labels]
        group = np.searchsorted(levels, others, side="left") + np.searchsorted(levels, others, side="right")
        return cls(
            event_sums=_sums(np.flatnonzero(labels), level, (len(levels), len(labels))),
            other_sums=_sums(np.flatnonzero(~labels), group, (2 * len(levels) + 1, len(labels))),
        )

    def both(self, weights: np.ndarray) -> np.ndarray:
        """Weighted area under the ROC curve and average precision (2 × R) for each row of `weights` (R × n).

        The area is the weighted share of pairs (event, no event) in which the event scores higher, ties
        counting one half (Bamber 1975). Average precision is the mean, over the events, of the share of
        events among all stays that score at least as high: the step-wise area under the precision–recall
        curve, not interpolated. Both are NaN where the weights leave one class empty.
        """
        columns = np.asarray(weights, dtype=np.float64).T
        event, other = self.event_sums @ columns, self.other_sums @ columns
        n_events, n_others = event.sum(axis=0), other.sum(axis=0)
        pairs = n_events * n_others

        below = np.cumsum(other, axis=0)
        wins = (event * (below[:-1:2] + below[1::2])).sum(axis=0) / 2

        hits = n_events - np.cumsum(event, axis=0) + event
        marked = hits + n_others - below[:-1:2]
        precision = np.divide(hits, marked, out=np.zeros_like(hits), where=marked > 0)
        precise = (event * precision).sum(axis=0)
        return np.stack([_ratio(wins, pairs), _ratio(precise, np.where(pairs > 0, n_events, 0.0))])

    def roc_auc(self, weights: np.ndarray) -> np.ndarray:
        """The first row of `both`."""
        return self.both(weights)[0]


def roc_auc(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Area under the ROC curve for each row of `weights` (R × n), or one value (1) without weights.

    >>> roc_auc(np.array([False, True, False, True]), np.array([0.1, 0.4, 0.4, 0.8])).tolist()
    [0.875]
    """
    return Ranking.of(labels, scores).roc_auc(_weights(weights, len(labels)))


def average_precision(
    labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """Average precision for each row of `weights` (R × n), or one value (1) without weights.

    >>> average_precision(np.array([True, False, True]), np.array([0.4, 0.6, 0.8])).round(3).tolist()
    [0.833]
    """
    return Ranking.of(labels, scores).both(_weights(weights, len(labels)))[1]


def brier(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Mean squared distance of probability and label (Brier 1950), a value for each row of `weights` (R × n).

    >>> brier(np.array([False, True]), np.array([0.5, 1.0])).tolist()
    [0.125]
    """
    labels, probabilities = _checked(labels, probabilities)
    every = np.asarray(_weights(weights, len(labels)), dtype=np.float64)
    return _ratio(every @ (probabilities - labels) ** 2, every.sum(axis=1))


def _checked(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    labels, scores = np.asarray(labels, dtype=bool), np.asarray(scores, dtype=np.float64)
    if labels.shape != scores.shape or labels.ndim != 1:
        raise ValueError(f"labels {labels.shape} and scores {scores.shape} must be of one length")
    if not np.isfinite(scores).all():
        raise ValueError(f"{int((~np.isfinite(scores)).sum())} scores are not finite numbers")
    return labels, scores


def _weights(weights: np.ndarray | None, n: int) -> np.ndarray:
    return np.ones((1, n)) if weights is None else np.asarray(weights)


def _sums(stays: np.ndarray, group: np.ndarray, shape: tuple[int, int]) -> csr_array:
    """Matrix that adds up the weights of `stays` by group."""
    return csr_array((np.ones(len(stays)), (group, stays)), shape=shape)


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0)
