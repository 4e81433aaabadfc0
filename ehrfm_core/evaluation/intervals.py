"""Intervals that respect repeated stays of one patient, and one that stays honest with few events."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from ehrfm_core.evaluation.metrics import Ranking

LEVEL = 0.95
FEWEST_REPLICATES = 100
FEWEST_PATIENTS = 10
CELLS = 2_000_000  # weights held at once: 16 MB of float64

Statistic = Callable[[np.ndarray], np.ndarray]
"""Weights (R × n, float64) in; one value a row out (R), or k of them (k × R); NaN where not defined."""


@dataclass(frozen=True)
class Interval:
    """Bounds of an estimate, and where they come from.

    `method` is "bootstrap", "newcombe" or "none", where the bounds are None; `n_valid` counts the
    replicates that could be used.
    """

    low: float | None
    high: float | None
    method: str
    n_valid: int


def cluster_weights(
    patients: np.ndarray, *, n_replicates: int, rng: np.random.Generator, cells: int = CELLS
) -> Iterator[np.ndarray]:
    """How often each stay is drawn, in blocks of replicates (R × n, whole numbers).

    Patients are drawn with replacement, as many as there are, and every stay of a drawn patient comes
    along (Field & Welsh 2007, cluster bootstrap). `patients` has one value a stay. A block holds at
    most `cells` weights, at least one replicate; the draws do not depend on the size of the blocks.
    """
    if n_replicates < 1:
        raise ValueError(f"{n_replicates} replicates: at least one is needed")
    names, codes = np.unique(patients, return_inverse=True)
    n_patients = len(names)
    block = max(1, cells // max(1, len(patients)))
    for first in range(0, n_replicates, block):
        count = min(block, n_replicates - first)
        drawn = rng.integers(0, n_patients, size=(count, n_patients))
        drawn += np.arange(count)[:, None] * n_patients
        times = np.bincount(drawn.ravel(), minlength=count * n_patients).reshape(count, n_patients)
        yield (
            times.astype(np.float64).T[codes].T
        )  # stays run down contiguous columns, as `Ranking` reads them


def replicates(
    statistics: Sequence[Statistic], patients: np.ndarray, *, n_replicates: int, rng: np.random.Generator
) -> np.ndarray:
    """Each statistic on the same resamples of patients (values × replicates): columns are paired."""
    blocks = [
        np.vstack([statistic(weights) for statistic in statistics])
        for weights in cluster_weights(patients, n_replicates=n_replicates, rng=rng)
    ]
    return np.concatenate(blocks, axis=1)


def percentile_interval(values: np.ndarray, *, level: float = LEVEL) -> Interval:
    """Percentile interval of the replicates that are defined (Efron & Tibshirani 1993, chapter 13).

    None where fewer than 100 are, or where all are the same: resampling then says nothing about
    how uncertain the estimate is, and an interval of width 0 would mislead.
    """
    valid = values[np.isfinite(values)]
    if len(valid) < FEWEST_REPLICATES or np.ptp(valid) <= 1e-12:
        return Interval(None, None, "none", len(valid))
    low, high = np.quantile(valid, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), "bootstrap", len(valid))


def newcombe_interval(
    auc: float, *, n_events: int, n_others: int, level: float = LEVEL
) -> tuple[float, float]:
    """Score-type interval of an area under the ROC curve that keeps its width at 0 and 1.

    All θ with (θ − AUC)² ≤ z² V(θ), where V is the variance of Hanley & McNeil (1982) with both class sizes
    replaced by N* = (m + n)/2 − 1 in the numerator: θ(1−θ)[1 + N*(1−θ)/(2−θ) + N*θ/(1+θ)]/(mn).
    Method 5 of Newcombe, Statistics in Medicine 2006; 25: 559–573. Needs one stay of either class.

    >>> low, high = newcombe_interval(1.0, n_events=3, n_others=50)
    >>> round(low, 2), high
    (0.69, 1.0)
    """
    if n_events < 1 or n_others < 1:
        raise ValueError(f"an AUC needs both classes, not {n_events} events and {n_others} other stays")
    z = float(norm.ppf((1 + level) / 2))
    size = (n_events + n_others) / 2 - 1

    def variance(theta: float) -> float:
        spread = 1 + size * (1 - theta) / (2 - theta) + size * theta / (1 + theta)
        return theta * (1 - theta) * spread / (n_events * n_others)

    def lower(estimate: float) -> float:
        if estimate < 1e-12:
            return 0.0
        ceiling = min(estimate, 1 - 1e-9)  # at 1 itself the variance vanishes
        return float(brentq(lambda theta: estimate - theta - z * variance(theta) ** 0.5, 0.0, ceiling))

    return lower(auc), 1 - lower(1 - auc)  # V(θ) = V(1 − θ)


def spearman_interval(rho: float, n: int, *, level: float = LEVEL) -> tuple[float, float] | None:
    """Interval of Spearman's ρ: atanh ρ ± z √((1 + ρ²/2)/(n − 3)) (Bonett & Wright 2000, Psychometrika 65).

    None for fewer than 4.

    >>> low, high = spearman_interval(0.5, 100)
    >>> round(low, 3), round(high, 3)
    (0.326, 0.641)
    """
    if n < 4:
        return None
    z = float(norm.ppf((1 + level) / 2))
    middle, half = np.arctanh(np.clip(rho, -1 + 1e-12, 1 - 1e-12)), z * np.sqrt((1 + rho**2 / 2) / (n - 3))
    return float(np.tanh(middle - half)), float(np.tanh(middle + half))


def auc_interval(
    labels: np.ndarray,
    scores: np.ndarray,
    patients: np.ndarray,
    *,
    n_replicates: int,
    rng: np.random.Generator,
    level: float = LEVEL,
) -> Interval:
    """Interval of the area under the ROC curve of `n` stays, resampling patients.

    See `auc_interval_from` for what happens where the resamples do not carry it.
    """
    drawn = replicates([Ranking.of(labels, scores).roc_auc], patients, n_replicates=n_replicates, rng=rng)
    return auc_interval_from(drawn[0], labels, scores, patients, level=level)


def auc_interval_from(
    values: np.ndarray,
    labels: np.ndarray,
    scores: np.ndarray,
    patients: np.ndarray,
    *,
    level: float = LEVEL,
) -> Interval:
    """Percentile interval of replicated AUCs, or Newcombe's where they do not carry one.

    They do not where fewer than 100 replicates have both classes, where all are the same, or where fewer
    than 10 patients have the event or lack it (with 3 events, a nominal 95 % percentile interval holds
    the truth in about 70 % of samples, Newcombe's in 94 %). Newcombe's formula is given the number of
    patients, not of stays, on either side, so that repeated stays do not pass for independent ones.
    "none" where a class is empty.
    """
    interval = percentile_interval(values, level=level)
    labels = np.asarray(labels, dtype=bool)
    if labels.all() or not labels.any():
        return Interval(None, None, "none", interval.n_valid)
    n_events, n_others = len(np.unique(patients[labels])), len(np.unique(patients[~labels]))
    if interval.method != "none" and min(n_events, n_others) >= FEWEST_PATIENTS:
        return interval
    auc = float(Ranking.of(labels, scores).roc_auc(np.ones((1, len(labels))))[0])
    low, high = newcombe_interval(auc, n_events=n_events, n_others=n_others, level=level)
    return Interval(low, high, "newcombe", interval.n_valid)
