"""The oracle: the true risk of every stay as a score, on the very stays the models are tested on.

Only synthetic hospitals have it. The true risk is r = P(event | latent state at 24 h), known up to Monte
Carlo error. Events are drawn from it, so that on average no score made of the first 24 h ranks stays better.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from ehrfm_core.errors import UserError
from ehrfm_core.evaluation.intervals import (
    FEWEST_PATIENTS,
    LEVEL,
    Interval,
    Statistic,
    percentile_interval,
    replicates,
)
from ehrfm_core.evaluation.metrics import Ranking, brier
from ehrfm_core.evaluation.sites import ID
from ehrfm_core.outcomes import OUTCOMES
from ehrfm_core.study.layout import Schema

ORACLE = "oracle"
BLOCK = ["test_site", "outcome"]


class Run(NamedTuple):
    """Columns of `predictions.parquet` that, with test site and outcome, name one set of predictions."""

    model: str
    arm: str
    train_site: str
    adapt_method: str
    adapt_fraction: float
    repeat: int


@dataclass(frozen=True, eq=False)
class Replicated:
    """An estimate and its bootstrap replicates (R). Sums and differences are taken replicate by replicate.

    Replicates of the same resamples are paired; of resamples drawn apart they are independent.
    """

    estimate: float
    drawn: np.ndarray

    def __add__(self, other: Replicated) -> Replicated:
        return Replicated(self.estimate + other.estimate, self.drawn + other.drawn)

    def __sub__(self, other: Replicated) -> Replicated:
        return Replicated(self.estimate - other.estimate, self.drawn - other.drawn)

    def interval(self, *, few: bool = False, level: float = LEVEL) -> Interval:
        """Percentile interval; none where `few` patients stand behind it or there is no estimate."""
        if few or not np.isfinite(self.estimate):
            return Interval(None, None, "none", 0)
        return percentile_interval(self.drawn, level=level)


@dataclass(frozen=True, eq=False)
class Comparison:
    """Every run and the oracle on the n test stays of one site and outcome, sorted by hospitalization_id.

    `risk` is the true risk, `error` its Monte Carlo standard error; `scores` (n each) and `auc` are those of
    every run, the oracle last. `auc`, `ratio` (observed to expected events) and `brier` (both of the true
    risk) are on the same resamples of patients.
    """

    site: str
    outcome: str
    labels: np.ndarray
    patients: np.ndarray
    risk: np.ndarray
    error: np.ndarray
    scores: dict[Run, np.ndarray]
    auc: dict[Run, Replicated]
    ratio: Replicated
    brier: Replicated

    @property
    def oracle(self) -> Run:
        """The oracle's own run."""
        return oracle_of(self.site)

    @property
    def few(self) -> bool:
        """Fewer than 10 patients have the event, or lack it: resampling carries no difference."""
        sides = (len(np.unique(self.patients[self.labels == side])) for side in (True, False))
        return min(sides) < FEWEST_PATIENTS

    def same_model(self, run: Run, arm: str) -> Run | None:
        """The run of another arm with the same model of the same training site."""
        names = (run.model, arm, run.train_site)
        return next((other for other in self.scores if other[:3] == names), None)


def oracle_of(site: str) -> Run:
    """How the oracle of a test site is named among the runs."""
    return Run(ORACLE, ORACLE, site, "none", 0.0, 0)


def true_risks(predictions: pl.DataFrame, truths: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """True risk of every stay in `predictions`: test_site, outcome, hospitalization_id, risk, risk_se.

    `truths` holds for each site one row a stay: hospitalization_id, and risk_death, risk_death_se and so on
    for every outcome, null where the stay does not count. Joined by id. Raises UserError, once for all,
    where a stay that was predicted has no true risk, and where a truth lacks a column or repeats a stay.
    """
    known = [_long(site, truth) for site, truth in truths.items()] or [_long("", pl.DataFrame(schema=TRUTH))]
    asked = predictions.select(*BLOCK, ID).unique(maintain_order=True)
    found = asked.join(pl.concat(known), on=[*BLOCK, ID], how="left", maintain_order="left")
    lost = found.filter(pl.any_horizontal(pl.col("risk", "risk_se").is_null()))
    if lost.height:
        counts = lost.group_by(BLOCK, maintain_order=True).len().rows()
        named = ", ".join(f"{outcome} at {site}: {count:,}" for site, outcome, count in counts)
        raise UserError(
            f"{lost.height:,} of {found.height:,} outcomes of test stays have no true risk ({named}; the "
            f"first is of stay {lost[ID][0]!r}); give the truth that was written with the study's tables."
        )
    return found


def against_truth(
    predictions: pl.DataFrame,
    patients: pl.DataFrame,
    truths: Mapping[str, pl.DataFrame],
    *,
    seed: int,
    n_bootstrap: int = 1000,
    tick: Callable[[], None] | None = None,
) -> list[Comparison]:
    """Test every run of `predictions` beside the oracle, with replicates, for each test site and outcome.

    `predictions` are rows of predictions.parquet, `patients` maps test_site and hospitalization_id to
    patient_id, `truths` as in `true_risks`. Resamples are those of `scores.score` with the same seed: paired
    within a site and outcome, drawn apart between sites. The order of rows changes nothing. Raises UserError
    as `true_risks` does, and ValueError where the runs of a site and outcome are of different stays.
    """
    risks = true_risks(predictions, truths)
    joined = predictions.join(patients, on=["test_site", ID], how="left")
    blocks = joined.partition_by(BLOCK, as_dict=True)
    tested = []
    with threadpool_limits(limits=1, user_api="blas"):
        for (site, outcome), truth in risks.group_by(BLOCK, maintain_order=True):
            rng = generator(seed, str(site), str(outcome))
            tested.append(_test(str(site), str(outcome), blocks[site, outcome], truth, rng, n_bootstrap))
            if tick:
                tick()
    return tested


def generator(seed: int, *names: str) -> np.random.Generator:
    """Random numbers for what `names` name alone, as in `scores.score`."""
    return np.random.default_rng([seed, zlib.crc32("\n".join(names).encode())])


def _test(
    site: str,
    outcome: str,
    own: pl.DataFrame,
    truth: pl.DataFrame,
    rng: np.random.Generator,
    n_bootstrap: int,
) -> Comparison:
    truth = truth.sort(ID)
    groups = own.sort(*Run._fields, ID).group_by(*Run._fields, maintain_order=True)
    runs = {Run._make(key): rows for key, rows in groups}
    first = next(iter(runs.values()))
    for rows in runs.values():
        if not rows[ID].equals(truth[ID]) or not rows["label"].equals(first["label"]):
            raise ValueError("the models of one test site and outcome must be tested on the same stays")
    labels, patients = first["label"].to_numpy().astype(bool), first["patient_id"].to_numpy()
    risk = truth["risk"].to_numpy()
    scores = {run: rows["probability"].to_numpy() for run, rows in runs.items()} | {oracle_of(site): risk}
    statistics: list[Statistic] = [Ranking.of(labels, score).roc_auc for score in scores.values()]
    statistics += [partial(_observed_to_expected, labels, risk), partial(_brier, labels, risk)]
    whole = [float(statistic(np.ones((1, len(labels))))[0]) for statistic in statistics]
    drawn = replicates(statistics, patients, n_replicates=n_bootstrap, rng=rng)
    *aucs, ratio, squares = (Replicated(*pair) for pair in zip(whole, drawn, strict=True))
    return Comparison(
        site=site,
        outcome=outcome,
        labels=labels,
        patients=patients,
        risk=risk,
        error=truth["risk_se"].to_numpy(),
        scores=scores,
        auc=dict(zip(scores, aucs, strict=True)),
        ratio=ratio,
        brier=squares,
    )


def _observed_to_expected(labels: np.ndarray, risk: np.ndarray, weights: np.ndarray) -> np.ndarray:
    expected = weights @ risk
    return np.divide(weights @ labels, expected, out=np.full(len(weights), np.nan), where=expected > 0)


def _brier(labels: np.ndarray, risk: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return brier(labels, risk, weights)


_RISKS: Schema = {f"risk_{name}{end}": pl.Float64() for name in OUTCOMES for end in ("", "_se")}
TRUTH: Schema = {ID: pl.String(), **_RISKS}
"""The columns that are read of a truth."""


def _long(site: str, truth: pl.DataFrame) -> pl.DataFrame:
    """A site's truth with one row a stay and outcome."""
    if missing := [column for column in TRUTH if column not in truth.columns]:
        raise UserError(f"The truth of {site} has no column {missing[0]!r}; synthesize the hospitals again.")
    if repeated := truth.height - truth[ID].n_unique():
        raise UserError(f"The truth of {site} has {repeated} rows that repeat a stay; keep one row a stay.")
    return pl.concat(
        truth.select(
            pl.lit(site).alias("test_site"),
            pl.lit(name).alias("outcome"),
            pl.col(ID).cast(pl.String),
            pl.col(f"risk_{name}").cast(pl.Float64).fill_nan(None).alias("risk"),
            pl.col(f"risk_{name}_se").cast(pl.Float64).fill_nan(None).alias("risk_se"),
        )
        for name in OUTCOMES
    )
