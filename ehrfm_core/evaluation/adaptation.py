"""Local data, a little or all of it: which stays are drawn, and how the source's probe is adapted to them.

What is chosen is chosen by the AUC of the target's tuning split, the highest, and leaving the source's model
as it is stands first among the choices: another must be better by more than one standard error of the
difference, for a small tuning split prefers one or another by chance, and local data that may fail to help
must not harm. Nothing of the target's test split is looked at.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike
from scipy.special import expit, logit
from scipy.stats import norm

from ehrfm_core.evaluation.calibration import fit
from ehrfm_core.evaluation.delong import areas
from ehrfm_core.evaluation.metrics import roc_auc
from ehrfm_core.evaluation.probes import Probe, enough, fit_probe
from ehrfm_core.evaluation.sites import Stays
from ehrfm_core.outcomes import Outcome

FRACTIONS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
REPEATS = 5
PENALTIES = (0.01, 1.0)  # C of a probe fitted on local stays alone
METHODS = ("refit", "local", "recalibrate", "recalibrate_slope")
HOME_STAYS = 2_000  # of the source, at most, that a probe is fitted on together with local ones
FEWEST_PATIENTS = 3  # with an event and without, that a choice may stand on
SLOPES = (0.05, 5.0)  # of a recalibration: beyond them risks would all be alike, or all 0 and 1
STEPS = 256  # a unit of log-odds, of the many predictions of repeated draws: 12 bits each on disk


@dataclass(frozen=True, eq=False)
class Draw:
    """The stays of one draw of the target's training split: `rows` (k) of it, in its order."""

    fraction: float
    repeat: int
    rows: np.ndarray


def entries(training: pl.DataFrame, *, site: str, repeats: int, seed: int) -> pl.DataFrame:
    """From which share of the training split on each patient is drawn: columns patient_id, repeat, enters.

    Patients come in a random order of their own in every repeat; a draw of more is one of fewer and others
    (nested). The order of rows and the other sites change nothing.
    """
    patients = training["patient_id"].unique().sort()
    share = (np.arange(len(patients)) + 1) / max(1, len(patients))
    parts = []
    for repeat in range(repeats):
        rng = np.random.default_rng([seed, repeat, zlib.crc32(site.encode())])
        order = rng.permutation(len(patients))
        parts.append(
            pl.DataFrame({"patient_id": patients.gather(order), "enters": share}).select(
                "patient_id", pl.lit(repeat, dtype=pl.Int32).alias("repeat"), "enters"
            )
        )
    return pl.concat(parts)


def draws(training: pl.DataFrame, drawn: pl.DataFrame) -> Iterator[Draw]:
    """Every share of every repeat that holds a stay and another number of patients than the share before.

    `training` are the stays of the split, `drawn` the table of `entries`. The whole split is drawn once.
    """
    for repeat in drawn["repeat"].unique().sort():
        enters = training.select("patient_id").join(
            drawn.filter(pl.col("repeat") == repeat), on="patient_id", how="left", maintain_order="left"
        )["enters"]
        before = 0
        for fraction in FRACTIONS:
            rows = np.flatnonzero((enters <= fraction + 1e-9).to_numpy())
            if len(rows) > before and (fraction < 1 or repeat == 0):
                yield Draw(fraction, int(repeat), rows)
            before = len(rows)


@dataclass(frozen=True, eq=False)
class Recalibrated:
    """A source's probe whose logit is moved and stretched: logit P = intercept + slope · logit p."""

    probe: Probe
    intercept: float
    slope: float

    def probability(self, states: np.ndarray) -> np.ndarray:
        """Probability of the event for each row of `states` (n × D)."""
        return expit(self.intercept + self.slope * log_odds(self.probe.probability(states)))


def recalibrate(probe: Probe, states: np.ndarray, labels: np.ndarray, *, slope: bool) -> Recalibrated:
    """Fit intercept, or intercept and slope, on local stays; as it was where they carry no fit.

    They carry none where a class is empty, nor a slope where it does not settle, would turn the ranking round
    or would level or split all risks, as on two or three stays.
    """
    moved = log_odds(probe.probability(states))
    ones, n = np.ones((len(moved), 1)), np.ones((1, len(moved)))
    happened = labels.astype(np.float64)[None]
    if slope:
        beta = fit(np.column_stack([ones, moved]), n, happened)[0]
        if np.isfinite(beta).all() and SLOPES[0] < beta[1] < SLOPES[1]:
            return Recalibrated(probe, float(beta[0]), float(beta[1]))
    shift = fit(ones, n, happened, offset=moved)[0, 0]
    return Recalibrated(probe, float(shift) if np.isfinite(shift) else 0.0, 1.0)


def refit(source: Probe, home: Stays, local: Stays, tuning: Stays, outcome: Outcome) -> Probe:
    """The probe with the highest AUC on the target's tuning split, where it is clearly higher.

    The choices are the source's as it is; one fitted on the local stays alone, for each of `PENALTIES`; one
    fitted on stays of the source (`home`) and the local ones, all alike, or both hospitals with the same
    weight. All stays given must count for the outcome. The source's where the tuning split gives no AUC.
    """
    choices = [source]
    labels = local.labels(outcome)
    if len(local):
        if enough(labels):
            choices += [fit_probe(local.states, labels, penalty=c)[0] for c in PENALTIES]
        states = np.concatenate([home.states, local.states])
        pooled = np.concatenate([home.labels(outcome), labels])
        if enough(pooled):
            even = np.concatenate([np.ones(len(home)), np.full(len(local), len(home) / len(local))])
            choices += [fit_probe(states, pooled, weights=w)[0] for w in (None, even)]
    predicted = [choice.probability(tuning.states) for choice in choices]
    return choices[best_of(tuning.labels(outcome), predicted, tuning.frame["patient_id"].to_numpy())]


def best_of(labels: np.ndarray, predicted: Sequence[np.ndarray], patients: np.ndarray) -> int:
    """Which of several predictions for the same stays has the highest AUC; the first, unless clearly.

    `labels` (n, boolean) and each of `predicted` (n) are of the stays of `patients` (n).
    """
    if labels.all() or not labels.any():
        return 0
    found = np.concatenate([roc_auc(labels, row) for row in predicted])
    best = int(np.argmax(found))  # the first of equal ones
    sure = best > 0 and clearly_better(
        [labels], [predicted[best]], [predicted[0]], [patients], choices=len(predicted) - 1
    )
    return best if sure else 0


def clearly_better(
    labels: Sequence[np.ndarray],
    scores: Sequence[np.ndarray],
    others: Sequence[np.ndarray],
    patients: Sequence[np.ndarray],
    *,
    choices: int = 1,
) -> bool:
    """Whether the mean AUC over outcomes is higher for `scores` than for `others` by a standard error.

    One entry an outcome, each of the stays that count for it; outcomes that fewer than three patients have or
    lack are passed over, for their error is not known. Where `scores` are the best of several `choices`, more
    is asked: chance alone is then as rare as with one. The outcomes' errors are taken as independent. False
    where nothing can be compared.
    """
    differences, variances = [], []
    for label, score, other, who in zip(labels, scores, others, patients, strict=True):
        label = np.asarray(label, dtype=bool)
        if min(len(np.unique(who[own])) for own in (label, ~label)) < FEWEST_PATIENTS:
            continue
        found = areas(label, np.stack([score, other]), who)
        differences.append(found.auc[0] - found.auc[1])
        variances.append(max(0.0, float(np.array([1, -1]) @ found.covariance @ np.array([1, -1]))))
    if not differences:
        return False
    margin = norm.isf(norm.sf(1.0) / max(1, choices))  # standard errors
    return float(np.sum(differences)) > float(margin * np.sqrt(np.sum(variances)))


def adapted(
    source: Probe, home: Stays, local: Stays, tuning: Stays, outcome: Outcome
) -> dict[str, Probe | Recalibrated]:
    """The source's probe adapted in every way of `METHODS`; all stays given count for the outcome.

    `local` forgets the source and is fitted on the local stays alone; missing where they are too few.
    """
    labels = local.labels(outcome)
    alone = {"local": fit_probe(local.states, labels)[0]} if enough(labels) else {}
    return {
        "refit": refit(source, home, local, tuning, outcome),
        **alone,
        "recalibrate": recalibrate(source, local.states, labels, slope=False),
        "recalibrate_slope": recalibrate(source, local.states, labels, slope=True),
    }


def some_of(home: Stays, *, seed: int) -> Stays:
    """At most `HOME_STAYS` of the source's stays, drawn at random."""
    if len(home) <= HOME_STAYS:
        return home
    return home.take(np.sort(np.random.default_rng(seed).choice(len(home), HOME_STAYS, replace=False)))


def coarse(probability: np.ndarray) -> np.ndarray:
    """Probabilities to 1/256 of log-odds."""
    return expit(np.rint(log_odds(probability) * STEPS) / STEPS)


def log_odds(p: ArrayLike) -> np.ndarray:
    """Log-odds of n probabilities, finite at 0 and 1 as well."""
    return logit(np.clip(p, 1e-9, 1 - 1e-9))
