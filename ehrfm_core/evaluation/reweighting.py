"""How much of what a model loses on the way to another hospital comes of who its patients are.

The stays of home are given the odds of belonging to the target (`propensity`), so that home looks like the
target in given characteristics. With A the area under the ROC curve of the source's probe:

    gap = A(home) − A(target, zero-shot)
    explained = A(home) − A(home re-weighted)               by these characteristics
    remaining = A(home re-weighted) − A(target, zero-shot)  by nothing in them

After Cai, Namkoong & Yadlowsky, "Diagnosing model performance under distribution shift" (arXiv 2303.02011),
who divide a loss into that of shifted characteristics and that of shifted outcomes given these. Explained
does not mean caused: characteristics that were not weighed may go along with those that were.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import polars as pl

from ehrfm_core.evaluation.intervals import (
    CELLS,
    FEWEST_PATIENTS,
    Interval,
    auc_interval_from,
    cluster_weights,
)
from ehrfm_core.evaluation.metrics import Ranking
from ehrfm_core.evaluation.oracle import Replicated, generator
from ehrfm_core.evaluation.propensity import CHARACTERISTICS, Propensity, characteristics, effective
from ehrfm_core.evaluation.site_classifier import FEWEST_A_SIDE
from ehrfm_core.evaluation.sites import ID, Stays
from ehrfm_core.outcomes import Outcome
from ehrfm_core.study.layout import RESULT_FILES

FEWEST_EFFECTIVE = 50  # stays
APART = 0.95  # AUC from which on the hospitals share too few stays
MODEL = "probe"

Row = dict[str, object]


def reweight(
    tests: Mapping[str, Stays],
    predictions: pl.DataFrame,
    outcomes: Mapping[str, Outcome],
    *,
    source: str,
    vocabulary_size: int,
    seed: int,
    n_bootstrap: int = 1000,
) -> tuple[pl.DataFrame, list[str]]:
    """Rows of reweighting.parquet for each target and outcome, and notes on what cannot be told.

    `tests` holds the test split of each site, `predictions` rows of predictions.parquet, joined by id; there
    are rows where the source's probe was tested at both hospitals. Intervals resample the patients of either
    hospital apart, with the resamples of `scores.score`; the propensity follows each resample by one Newton
    step. Of differences there is no interval where fewer than 10 patients of a hospital have the event or
    lack it. Null is what stands on the weights where these leave fewer than 50 effective stays, or fewer than
    10 effective patients with the event or without it; where the characteristics tell the hospitals apart
    with an AUC of 0.95 or more, since the effective size does not show that all odds at home are alike and
    tiny; and where a hospital has fewer than 25 patients.
    """
    mine = predictions.filter(model=MODEL, train_site=source, adapt_method="none")
    rows: list[Row] = []
    notes: list[str] = []
    for site in tests:
        for outcome in outcomes.values() if site != source else ():
            home, away = (
                _Side.of(tests[name], mine.filter(test_site=name, outcome=outcome.name))
                for name in (source, site)
            )
            if not len(home.labels) or not len(away.labels):
                continue
            weighings = {}
            told = _fewest_patients(home, away)
            if told is None:
                rng = generator(seed, site, outcome.name, "reweighting")
                sets = characteristics(home.stays, away.stays, vocabulary_size=vocabulary_size)
                weighings = {
                    name: Propensity.fit(sets[name], home.patients, away.patients, rng=rng)
                    for name in CHARACTERISTICS
                }
            else:
                notes.append(f"{outcome.label}: {told}")
            fits = {}
            for name, found in weighings.items():
                if why := _too_little(home, found):
                    way = f"re-weighted by {CHARACTERISTICS[name]} to look like {site}"
                    notes.append(f"{outcome.label}: {source} {way} has no figure, since {why}.")
                else:
                    fits[name] = found
            areas = _areas(home, away, fits, outcome.name, seed=seed, n_bootstrap=n_bootstrap)
            for name in CHARACTERISTICS:
                weighing = weighings.get(name)
                shared: Row = {"site": site, "outcome": outcome.name, "characteristics": name}
                shared |= {
                    "effective_n": effective(weighing.odds()) if weighing else None,
                    "propensity_auc": weighing.auc if weighing else None,
                }
                rows += [shared | row for row in _rows(home, away, areas, name)]
    schema = RESULT_FILES["reweighting"]
    return pl.DataFrame(rows, schema=schema, orient="row"), notes


@dataclass(frozen=True, eq=False)
class _Side:
    """The stays of one hospital that were predicted, in order of hospitalization_id (n each)."""

    stays: Stays
    labels: np.ndarray
    scores: np.ndarray
    patients: np.ndarray

    @classmethod
    def of(cls, test: Stays, predictions: pl.DataFrame) -> _Side:
        places = test.frame.select(ID, "patient_id").with_row_index("row")
        known = places.join(predictions.select(ID, "label", "probability"), on=ID).sort(ID)
        return cls(
            test.take(known["row"].to_numpy()),
            known["label"].to_numpy().astype(bool),
            known["probability"].to_numpy(),
            known["patient_id"].to_numpy(),
        )

    @property
    def size(self) -> Row:
        return {"n": len(self.labels), "n_events": int(self.labels.sum())}

    @property
    def few(self) -> bool:
        """Resampling carries no difference."""
        return self.fewest(np.ones(len(self.labels))) < FEWEST_PATIENTS

    def fewest(self, weights: np.ndarray) -> float:
        """Effective number of patients with the event or without it, whichever are fewer."""
        _, patient = np.unique(self.patients, return_inverse=True)
        return min(
            effective(np.bincount(patient[self.labels == own], weights[self.labels == own]))
            for own in (False, True)
        )

    def interval(self, area: Replicated) -> Interval:
        return auc_interval_from(area.drawn, self.labels, self.scores, self.patients)


def _areas(
    home: _Side, away: _Side, fits: Mapping[str, Propensity], outcome: str, *, seed: int, n_bootstrap: int
) -> dict[str, Replicated]:
    """A(home), A(target) and A(home re-weighted) by name of the characteristics, on the same resamples."""
    here, there = (Ranking.of(side.labels, side.scores).roc_auc for side in (home, away))
    ones = [np.ones((1, len(side.labels))) for side in (home, away)]
    whole = [here(ones[0]), there(ones[1]), *(here(fit.odds()[None]) for fit in fits.values())]
    block = max(1, CELLS // (len(home.labels) + len(away.labels)))  # both sides in blocks of as many
    draws = (
        cluster_weights(
            side.patients,
            n_replicates=n_bootstrap,
            rng=generator(seed, side.stays.site, outcome),
            cells=block * len(side.labels),
        )
        for side in (home, away)
    )
    drawn = [
        np.stack([here(a), there(b), *(here(a * fit.refitted(a, b)) for fit in fits.values())])
        for a, b in zip(*draws, strict=True)
    ]
    names = ("home", "zero_shot", *fits)
    return {
        name: Replicated(float(estimate[0]), values)
        for name, estimate, values in zip(names, whole, np.concatenate(drawn, axis=1), strict=True)
    }


def _rows(home: _Side, away: _Side, areas: Mapping[str, Replicated], name: str) -> Iterator[Row]:
    here, there, weighed = areas["home"], areas["zero_shot"], areas.get(name)
    difference = partial(Replicated.interval, few=home.few or away.few)
    found: dict[str, tuple[Replicated, Interval] | None] = {
        "home": (here, home.interval(here)),
        "home_reweighted": (weighed, weighed.interval()) if weighed else None,
        "zero_shot": (there, away.interval(there)),
        "gap": (here - there, difference(here - there)),
        "explained": (here - weighed, (here - weighed).interval()) if weighed else None,
        "remaining": (weighed - there, difference(weighed - there)) if weighed else None,
    }
    for quantity, pair in found.items():
        row: Row = {"quantity": quantity, "estimate": None, "ci_low": None, "ci_high": None}
        if pair is not None and np.isfinite(pair[0].estimate):
            row |= {"estimate": pair[0].estimate, "ci_low": pair[1].low, "ci_high": pair[1].high}
        yield row | (away if quantity == "zero_shot" else home).size


def _fewest_patients(home: _Side, away: _Side) -> str | None:
    for side in (home, away):
        if (n := len(np.unique(side.patients))) < FEWEST_A_SIDE:
            return (
                f"{home.stays.site} is not re-weighted to look like {away.stays.site}, since only {n} "
                f"patients are in the test split of {side.stays.site} and {FEWEST_A_SIDE} are needed."
            )
    return None


def _too_little(home: _Side, found: Propensity) -> str | None:
    """Why the weights do not carry a figure, if they do not."""
    if found.auc >= APART:
        return f"these tell the hospitals apart with an AUC of {found.auc:.2f} and hardly any stays are alike"
    odds, n = found.odds(), len(home.labels)
    if (size := effective(odds)) < FEWEST_EFFECTIVE:
        return f"its {n} test stays then tell as much as {size:.0f}, and {FEWEST_EFFECTIVE} are needed"
    if (fewest := home.fewest(odds)) < FEWEST_PATIENTS:
        return (
            f"its {n} test stays then tell as much as {fewest:.1f} patients with the event, or without it, "
            f"and {FEWEST_PATIENTS} of either are needed"
        )
    return None
