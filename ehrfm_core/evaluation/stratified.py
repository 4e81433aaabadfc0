"""Comparisons of stays within strata of a covariate, here the number of tokens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from ehrfm_core.evaluation.intervals import LEVEL
from ehrfm_core.evaluation.metrics import Ranking

STAYS_A_STRATUM = 25
MOST_STRATA = 100


def strata_of(covariate: np.ndarray) -> np.ndarray:
    """Stratum of each stay (n, from 0): quantiles of the covariate, 25 stays or more in each, at most 100.

    Narrow strata leave little of the covariate to differ within them; equal values are never parted.

    >>> strata_of(np.arange(60)).tolist() == [0] * 30 + [1] * 30
    True
    """
    covariate = np.asarray(covariate, dtype=np.float64)
    n_strata = min(MOST_STRATA, len(covariate) // STAYS_A_STRATUM)
    if n_strata < 2:
        return np.zeros(len(covariate), dtype=np.int64)
    cuts = np.unique(np.quantile(covariate, np.arange(1, n_strata) / n_strata))
    return np.unique(np.searchsorted(cuts, covariate, side="left"), return_inverse=True)[1]


@dataclass(frozen=True, eq=False)
class StratifiedRanking:
    """Rankings of the strata in which some stay has the event and some other lacks it."""

    rows: list[np.ndarray]  # the stays of each stratum
    rankings: list[Ranking]
    labels: list[np.ndarray]

    @classmethod
    def of(cls, labels: np.ndarray, scores: np.ndarray, strata: np.ndarray) -> StratifiedRanking:
        """Sort `n` stays with boolean labels by a score, stratum by stratum."""
        rows = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
        rows = [own for own in rows if 0 < labels[own].sum() < len(own)]
        rankings = [Ranking.of(labels[own], scores[own]) for own in rows]
        return cls(rows, rankings, [labels[own] for own in rows])

    @property
    def compared(self) -> np.ndarray:
        """Indices of the stays that are compared with another."""
        return np.concatenate(self.rows) if self.rows else np.zeros(0, dtype=np.int64)

    def roc_auc(self, weights: np.ndarray) -> np.ndarray:
        """Covariate-adjusted area under the ROC curve for each row of `weights` (R × n); NaN without pairs.

        The chance that a stay with the event scores higher than one without it of the same stratum: the
        strata's areas, weighted by their events, Σ_s n_s AUC_s / Σ_s n_s over the strata that have both
        (Janes & Pepe 2009, Biometrika 96: 371–382).
        """
        above, events = np.zeros(len(weights)), np.zeros(len(weights))
        for own, ranking, labels in zip(self.rows, self.rankings, self.labels, strict=True):
            drawn = weights[:, own]
            area, n_events = ranking.roc_auc(drawn), drawn @ labels.astype(np.float64)
            both = np.isfinite(area)
            above[both] += (area * n_events)[both]
            events[both] += n_events[both]
        return np.divide(above, events, out=np.full(len(weights), np.nan), where=events > 0)


def mantel_haenszel(
    flagged: np.ndarray, labels: np.ndarray, strata: np.ndarray, *, level: float = LEVEL
) -> tuple[float, float, float] | None:
    """Odds ratio of the event, flagged stays against others of the same stratum, with its interval.

    Σ_s a_s d_s / N_s over Σ_s b_s c_s / N_s, with the variance of its logarithm by Robins, Breslow &
    Greenland (1986), which holds for few large strata and for many small ones; stays count as independent.
    None where it is 0, infinite or not defined.

    >>> one = np.zeros(10, dtype=int)
    >>> labels, flagged = np.arange(10) % 2 == 0, np.array([1, 1, 1, 0, 1, 0, 0, 0, 1, 0]) == 1
    >>> round(mantel_haenszel(flagged, labels, one)[0], 2)  # 4 × 4 / (1 × 1)
    16.0
    """
    flagged, labels = np.asarray(flagged, dtype=bool), np.asarray(labels, dtype=bool)
    size = int(strata.max(initial=0)) + 1

    def count(mask: np.ndarray) -> np.ndarray:
        return np.bincount(strata[mask], minlength=size).astype(np.float64)

    a, b = count(flagged & labels), count(flagged & ~labels)
    c, d = count(~flagged & labels), count(~flagged & ~labels)
    n = np.maximum(a + b + c + d, 1.0)
    r, s, p, q = a * d / n, b * c / n, (a + d) / n, (b + c) / n
    if r.sum() == 0 or s.sum() == 0:
        return None
    variance = (
        (p * r).sum() / (2 * r.sum() ** 2)
        + (p * s + q * r).sum() / (2 * r.sum() * s.sum())
        + (q * s).sum() / (2 * s.sum() ** 2)
    )
    ratio = r.sum() / s.sum()
    half = float(norm.ppf((1 + level) / 2)) * np.sqrt(variance)
    return float(ratio), float(ratio * np.exp(-half)), float(ratio * np.exp(half))
