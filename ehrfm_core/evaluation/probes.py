"""A linear probe: what a straight line can read from a representation."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import polars as pl
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from ehrfm_core.dynamics.readouts import LinearReadouts
from ehrfm_core.evaluation.metrics import roc_auc
from ehrfm_core.outcomes import OUTCOMES, Outcome, Outcomes

MAX_ITERATIONS = 5000
FEWEST_EVENTS_TO_FIT = 2
PENALTY = 1.0  # C, the paper's
PENALTIES = (PENALTY, 0.1, 0.01, 0.001, 10.0)  # to choose from on the tuning split; the first of equal ones
FEWEST_TO_CHOOSE = 3  # stays with and without the event that a choice may stand on
Labelled = tuple[np.ndarray, np.ndarray]  # features (n × features) and boolean labels (n)


@dataclass(frozen=True, eq=False)
class Probe:
    """Standardisation and logistic regression as four arrays of float64.

    `center`, `scale` and `coefficient` have one entry a feature, `intercept` is a scalar array. A feature
    that does not vary in training has scale 1 and does not weigh in.
    """

    center: np.ndarray
    scale: np.ndarray
    coefficient: np.ndarray
    intercept: np.ndarray

    def probability(self, states: np.ndarray) -> np.ndarray:
        """Probability of the event for each row of `states` (… × features), in float64.

        Raises ValueError where the number of features differs from training.

        >>> probe = Probe(np.zeros(2), np.ones(2), np.array([0.0, 1.0]), np.array(0.0))
        >>> probe.probability(np.array([[5.0, 0.0]])).tolist()
        [0.5]
        """
        states = np.asarray(states, dtype=np.float64)
        if states.shape[-1] != len(self.coefficient):
            raise ValueError(f"the probe reads {len(self.coefficient)} features, not {states.shape[-1]}")
        logit = (states - self.center) / self.scale @ self.coefficient + self.intercept
        return np.exp(-np.logaddexp(0.0, -logit))

    def folded(self) -> tuple[np.ndarray, float]:
        """Weights (features) and bias of the same logit read from states that are not standardised."""
        weight = self.coefficient / self.scale
        return weight, float(self.intercept - self.center @ weight)

    def to_json(self) -> dict[str, Any]:
        """A JSON value that gives back the very same numbers."""
        return {field.name: getattr(self, field.name).tolist() for field in fields(self)}

    @classmethod
    def from_json(cls, parts: Any) -> Probe:
        """Read what `to_json` wrote. Raises ValueError where a part is missing or the lengths differ."""
        names = [field.name for field in fields(cls)]
        if not isinstance(parts, dict) or sorted(parts) != sorted(names):
            raise ValueError(f"a probe is an object with {', '.join(names)}")
        arrays = {name: np.asarray(parts[name], dtype=np.float64) for name in names}
        if not arrays["center"].shape == arrays["scale"].shape == arrays["coefficient"].shape:
            raise ValueError("center, scale and coefficient of a probe must be of one length")
        return cls(**arrays)


def fit_probe(
    features: np.ndarray, labels: np.ndarray, *, penalty: float = PENALTY, weights: np.ndarray | None = None
) -> tuple[Probe, bool]:
    """Fit on `features` (n × features) and boolean `labels` (n); the second value tells whether it converged.

    StandardScaler and LogisticRegression with C = 1, as in the paper (arXiv 2504.10422, section
    "Representation-based prediction"); `penalty` is another C, `weights` (n) those of the stays.
    Deterministic for a given order of rows. Raises ValueError where a feature is not finite or the labels are
    of one class.
    """
    features = np.array(features, dtype=np.float64)
    labels = np.asarray(labels, dtype=bool)
    if labels.all() or not labels.any():
        raise ValueError("a probe needs stays with and without the event")
    scaler = StandardScaler(copy=False).fit(features, sample_weight=weights)
    model = LogisticRegression(C=penalty, max_iter=MAX_ITERATIONS)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(scaler.transform(features), labels, sample_weight=weights)
    converged = not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)
    probe = Probe(
        center=np.array(scaler.mean_),
        scale=np.array(scaler.scale_),
        coefficient=model.coef_[0].copy(),
        intercept=np.array(model.intercept_[0]),
    )
    return probe, converged


def enough(labels: np.ndarray) -> bool:
    """Whether a probe can be fitted on boolean labels: two stays with the event and two without."""
    return min(int(labels.sum()), int((~labels).sum())) >= FEWEST_EVENTS_TO_FIT


def fit_chosen(training: Labelled, tuning: Labelled | None) -> tuple[Probe, bool, float]:
    """Fit with the C of `PENALTIES` that has the highest AUC on a tuning split; probe, converged, C.

    C = 1 without a tuning split, or where fewer than three of its stays have or lack the event.
    """
    features, labels = training
    if tuning is None or min(int(tuning[1].sum()), int((~tuning[1]).sum())) < FEWEST_TO_CHOOSE:
        return *fit_probe(features, labels), PENALTY
    fitted = [fit_probe(features, labels, penalty=c) for c in PENALTIES]
    areas = [float(roc_auc(tuning[1], probe.probability(tuning[0]))[0]) for probe, _ in fitted]
    best = int(np.argmax(areas))
    return *fitted[best], PENALTIES[best]


def fit_source_probes(
    stays: pl.DataFrame,
    states: np.ndarray,
    outcomes: Outcomes = OUTCOMES,
    *,
    tuning: tuple[pl.DataFrame, np.ndarray] | None = None,
) -> tuple[dict[str, Probe], dict[str, float]]:
    """One probe an outcome, fitted on the stays that count for it, and its C; none with too few events.

    Row i of `stays` and of `states` (n × D) is the same stay, all of the source's training split; so in
    `tuning`, where it is given to choose C, of the tuning split.
    """
    probes, penalties = {}, {}
    with threadpool_limits(limits=1, user_api="blas"):
        for name, outcome in outcomes.items():
            training = _counted(stays, states, outcome)
            if enough(training[1]):
                held_out = _counted(*tuning, outcome) if tuning else None
                probes[name], _, penalties[name] = fit_chosen(training, held_out)
    return probes, penalties


def _counted(stays: pl.DataFrame, states: np.ndarray, outcome: Outcome) -> Labelled:
    """States and labels of the stays that count."""
    counted = stays.select(outcome.counts()).to_series().to_numpy() & np.isfinite(states).all(axis=1)
    return states[counted], stays[outcome.name].fill_null(value=False).to_numpy()[counted]


def readouts(probes: Mapping[str, Probe]) -> LinearReadouts | None:
    """Probes in the form in which the pass over tokens reads them; None where there are none."""
    if not probes:
        return None
    folded = [probe.folded() for probe in probes.values()]
    weight, bias = np.stack([w for w, _ in folded], axis=1), np.array([b for _, b in folded])
    return LinearReadouts(tuple(probes), weight, bias)
