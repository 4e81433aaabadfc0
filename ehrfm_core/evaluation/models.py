"""A probe or baseline fitted on the stays of one training split."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import partial

import numpy as np

from ehrfm_core.evaluation.adaptation import Recalibrated
from ehrfm_core.evaluation.baselines import POOLED, Encoder, encoders
from ehrfm_core.evaluation.boosting import Boosting, fit_boosting
from ehrfm_core.evaluation.probes import FEWEST_EVENTS_TO_FIT, Probe, fit_chosen, fit_probe
from ehrfm_core.evaluation.sites import Stays
from ehrfm_core.evaluation.value_features import Codes, value_features
from ehrfm_core.outcomes import Outcome

SHUFFLED = "baseline_shuffled"  # the probe, fitted on labels that were exchanged between stays at random

MODEL_LABELS = {
    "probe": "the foundation model",
    POOLED: "the foundation model over the window's hours",
    "baseline_token_counts": "a count of each token",
    "baseline_boosting": "gradient boosting on the values of each code",
    "baseline_n_tokens": "the number of tokens alone",
    "baseline_age_sex": "age and sex alone",
    SHUFFLED: "a probe of shuffled labels",
}


@dataclass(frozen=True, eq=False)
class Model:
    """A fitted model: how it turns stays into features, and what reads these."""

    name: str
    encode: Encoder
    probe: Probe | Boosting | Recalibrated

    def probability(self, stays: Stays) -> np.ndarray:
        """Probability of the event, one a stay."""
        return self.probe.probability(self.encode(stays))


def fit_models(
    training: Stays,
    outcome: Outcome,
    *,
    vocabulary_size: int,
    codes: Codes | None = None,
    probe: Probe | None = None,
    tuning: Stays | None = None,
    seed: int = 0,
) -> tuple[dict[str, Model], list[str]]:
    """Fit the probe and every baseline on the same stays, those of `training` that count.

    A `probe` that is given was fitted on these stays before, when their states were read. With `tuning` the
    C of every regression is chosen there. Without `codes` there is no boosting.
    Empty, with one note, where fewer than two of these stays have the event, or fewer than two do not.
    """
    counting = training.counting(outcome)
    labels = counting.labels(outcome)
    events, others = int(labels.sum()), int((~labels).sum())
    if min(events, others) < FEWEST_EVENTS_TO_FIT:
        return {}, [_no_fit(counting, outcome, events)]
    models, notes = {}, []
    held_out = tuning.counting(outcome) if tuning is not None else None
    for name, encode in encoders(counting, vocabulary_size=vocabulary_size).items():
        if name == "probe" and probe is not None:
            models[name] = Model(name, encode, probe)
            continue
        choice = (encode(held_out), held_out.labels(outcome)) if held_out is not None else None
        fitted, converged, _ = fit_chosen((encode(counting), labels), choice)
        models[name] = Model(name, encode, fitted)
        if not converged:
            notes.append(
                f"For {outcome.label} at {training.site}, the fit of {MODEL_LABELS[name]} stopped before it "
                "settled; read its figures with care."
            )
    if codes is not None:
        values = partial(value_features, codes=codes)
        boosted = fit_boosting(values(counting), labels, seed=seed)
        models["baseline_boosting"] = Model("baseline_boosting", values, boosted)
    rng = np.random.default_rng([seed, zlib.crc32(f"{training.site}\n{outcome.name}".encode())])
    exchanged, _ = fit_probe(counting.states, rng.permutation(labels))
    models[SHUFFLED] = Model(SHUFFLED, models["probe"].encode, exchanged)
    return models, notes


def _no_fit(counting: Stays, outcome: Outcome, events: int) -> str:
    if not len(counting):
        return (
            f"No model could be fitted for {outcome.label} on the training split of {counting.site}: "
            "none of its stays counts for this outcome."
        )
    return (
        f"No model could be fitted for {outcome.label} on the training split of {counting.site}: "
        f"{events} of its {len(counting)} stays have the event, and at least {FEWEST_EVENTS_TO_FIT} stays "
        "with and without it are needed."
    )
