"""How likely a stay is one of another hospital's, from what is known of it, and the weights that follow.

Symbols: n stays of two hospitals, home before away, with k features; R replicates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from ehrfm_core.evaluation.baselines import n_tokens, token_counts
from ehrfm_core.evaluation.metrics import roc_auc
from ehrfm_core.evaluation.probes import fit_probe
from ehrfm_core.evaluation.sites import Stays

CHARACTERISTICS = {
    "population": "age, sex, race and ethnicity",
    "charting": "age, sex, race, ethnicity and what was charted",
}
FOLDS = 5
TRIMMED_AT = 0.99  # quantile of the odds
FEWEST_OF_A_LEVEL = 20  # stays of both hospitals; rarer levels are pooled
TOKENS = 50


def characteristics(home: Stays, away: Stays, *, vocabulary_size: int) -> dict[str, np.ndarray]:
    """Features (n × k) of the stays of both hospitals, by the name of the set.

    "population": age, its square (normal ages of two means and variances have a log-odds quadratic in age),
    and a column a level of sex, race and ethnicity; not known is a level of its own, and levels of fewer than
    20 stays are one. "charting": these, the logarithm of the number of tokens, and log(1 + count) of the 50
    tokens commonest in a mean window, either hospital counting one half. Nothing here looks at an outcome.
    """
    frame = pl.concat(
        stays.frame.select(
            pl.col("age").cast(pl.Float64).fill_nan(None),
            pl.col("sex", "race", "ethnicity").cast(pl.String).fill_null("not known"),
        )
        for stays in (home, away)
    )
    population = np.column_stack([*_age(frame["age"]), *_levels(frame.drop("age"))]).astype(np.float64)
    counts = [token_counts(stays, vocabulary_size=vocabulary_size) for stays in (home, away)]
    typical = sum(np.expm1(side).mean(axis=0) for side in counts)
    commonest = np.argsort(-np.asarray(typical), kind="stable")[:TOKENS]
    amount = np.concatenate([n_tokens(home), n_tokens(away)])
    charting = np.hstack([population, amount, np.concatenate([side[:, commonest] for side in counts])])
    return {"population": population, "charting": charting}


def _age(ages: pl.Series) -> Iterator[np.ndarray]:
    """Age, its square, and whether it is known; the mean where not."""
    known = ages.drop_nulls()
    mean, sd = (float(x) if isinstance(x, float) else 0.0 for x in (known.mean(), known.std()))
    scaled = (ages.fill_null(mean).to_numpy() - mean) / (sd or 1.0)
    yield from (scaled, scaled**2, ages.is_not_null().to_numpy())


def _levels(frame: pl.DataFrame) -> Iterator[np.ndarray]:
    for column in frame.iter_columns():
        values, level = np.unique(column.to_numpy().astype(str), return_inverse=True)
        rare = np.bincount(level, minlength=len(values)) < FEWEST_OF_A_LEVEL
        yield from (level == i for i in np.flatnonzero(~rare))
        if rare.any():
            yield rare[level]


def effective(weights: np.ndarray) -> float:
    """How many equally weighted stays tell as much: (Σw)² / Σw² (Kish, Survey Sampling 1965).

    >>> effective(np.array([2.0, 2.0, 0.0])), effective(np.zeros(3))
    (2.0, 0.0)
    """
    total = float(np.sum(weights))
    return total**2 / float(np.sum(weights**2)) if total else 0.0


@dataclass(frozen=True, eq=False)
class _Fold:
    """A fit on four fifths of the patients, and how it answers where the stays weigh otherwise."""

    left_out: np.ndarray  # rows of home that it was not fitted on
    fitted: np.ndarray  # n × 2: the stays of either side that it was
    score: np.ndarray  # n × k: each stay's derivative of the log-likelihood, 0 where it was not fitted on
    reach: np.ndarray  # k × left out: the logit's change for a change of the summed derivatives


@dataclass(frozen=True, eq=False)
class Propensity:
    """Log-odds of belonging to the away hospital, for each stay at home (n_home), trimmed at `limit`.

    Fitted by ridge-penalised logistic regression (`fit_probe`) and cross-fitted: the odds of a stay come from
    the fit on other patients. `auc` tells how well they tell the hospitals apart, 0.5 where both are one.
    """

    log_odds: np.ndarray
    limit: float
    auc: float
    folds: tuple[_Fold, ...]

    @classmethod
    def fit(
        cls, features: np.ndarray, home: np.ndarray, away: np.ndarray, *, rng: np.random.Generator
    ) -> Propensity:
        """Fit on `features` (n × k); `home` and `away` say whose patient each stay is.

        Raises ValueError with fewer than five patients on a side.
        """
        is_away = np.repeat([False, True], [len(home), len(away)])
        fold = np.concatenate([_folds(side, rng) for side in (home, away)])
        log_odds, folds = np.empty(len(is_away)), []
        for k in range(FOLDS):
            within = fold != k
            probe, _ = fit_probe(features[within], is_away[within])
            design = np.column_stack([(features - probe.center) / probe.scale, np.ones(len(is_away))])
            logit = design @ np.append(probe.coefficient, probe.intercept)
            p = 1 / (1 + np.exp(-logit))
            score = np.where(within, is_away - p, 0.0)[:, None] * design
            curvature = (design * np.where(within, p * (1 - p), 0.0)[:, None]).T @ design
            curvature += np.diag(np.append(np.ones(features.shape[1]), 1e-9))  # of the penalty
            fitted = np.column_stack([within & ~is_away, within & is_away]).astype(np.float64)
            left_out = np.flatnonzero(~within & ~is_away)
            folds.append(_Fold(left_out, fitted, score, np.linalg.solve(curvature, design[left_out].T)))
            # the odds at equal numbers of either, so that those of all fits are of one scale
            log_odds[~within] = logit[~within] + np.log(np.divide(*fitted.sum(axis=0)))
        own = log_odds[: len(home)]
        return cls(
            own, float(np.quantile(own, TRIMMED_AT)), float(roc_auc(is_away, log_odds)[0]), tuple(folds)
        )

    def odds(self) -> np.ndarray:
        """The trimmed odds (n_home): weights that make home look like away."""
        return np.exp(np.minimum(self.log_odds, self.limit))

    def refitted(self, home: np.ndarray, away: np.ndarray) -> np.ndarray:
        """Odds (R × n_home) where the stays of home (R × n_home) and away (R × n_away) weigh otherwise.

        Of each replicate the first Newton step of the refit, from the fit on all stays with its curvature
        (the one-step bootstrap of Moulton & Zeger 1991, Computational Statistics & Data Analysis 11), trimmed
        at the same odds. With odds held as they are, what is drawn of the target's patients would not count:
        of 250 samples of 80 to 2,000 stays a side, where the characteristics explain all of the gap, 95 %
        intervals of the part explained held the truth in 89 to 94 %, those of fixed odds in 88 to 92 %.
        """
        weights = np.hstack([home, away])
        found = np.tile(self.log_odds, (len(weights), 1))
        for fold in self.folds:
            sides = weights @ fold.fitted
            prior = np.log(sides[:, 0] / sides[:, 1]) - np.log(np.divide(*fold.fitted.sum(axis=0)))
            found[:, fold.left_out] += (weights - 1) @ fold.score @ fold.reach + prior[:, None]
        return np.exp(np.minimum(found, self.limit))


def _folds(patients: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Fold of each stay; patients are divided evenly."""
    names, patient = np.unique(patients, return_inverse=True)
    if len(names) < FOLDS:
        raise ValueError(f"{len(names)} patients cannot be divided into {FOLDS} folds")
    return (rng.permutation(len(names)) % FOLDS)[patient]
