"""What the outlier detectors say about the outcomes, and how much of it is the amount of charting.

Measures of `outliers.parquet`, each on the test split of one site:

    share_flagged                share of the stays that are flagged; Wilson
    spearman_n_tokens            Spearman's ρ of score and number of tokens; Bonett & Wright, n the patients
    roc_auc                      area under the ROC curve of the score for the outcome; patients resampled
    roc_auc_adjusted             the same among stays of like number of tokens (`stratified`)
    roc_auc_difference           this detector's area less the isolation forest's on the same stays, paired
    roc_auc_adjusted_difference  the same of the adjusted areas
    rate_flagged, rate_others    outcome rate among the stays flagged and the others; Wilson
    odds_ratio_adjusted          Mantel & Haenszel's, flagged against others of like number of tokens
    quantile_0.01 … _0.99        of the score: all stays, and by outcome among those that count for it

The number of tokens stands beside the detectors as a score of its own: what charting alone says, and,
adjusted, how much of it the strata leave (0.5: nothing). `n` and `n_events` are the stays the measure is of;
of an adjusted area, those that were compared with another.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import polars as pl
from scipy.stats import rankdata

from ehrfm_core.dynamics.detector_names import DETECTORS, FOREST
from ehrfm_core.evaluation.intervals import (
    FEWEST_PATIENTS,
    Interval,
    newcombe_interval,
    percentile_interval,
    replicates,
    spearman_interval,
)
from ehrfm_core.evaluation.metrics import Ranking
from ehrfm_core.evaluation.proportions import wilson_interval
from ehrfm_core.evaluation.sites import Stays
from ehrfm_core.evaluation.stratified import StratifiedRanking, mantel_haenszel, strata_of
from ehrfm_core.outcomes import OUTCOMES, Outcome, Outcomes
from ehrfm_core.study.layout import RESULT_FILES

CHARTING = "n_tokens"
QUANTILES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
AREAS = ("roc_auc", "roc_auc_adjusted")

Row = dict[str, object]
Bounds = tuple[float, float] | Interval | None


def describe_outliers(
    tests: Mapping[str, Stays],
    *,
    seed: int,
    n_bootstrap: int = 1000,
    outcomes: Outcomes = OUTCOMES,
    tick: Callable[[], None] | None = None,
) -> tuple[pl.DataFrame, list[str]]:
    """Rows of `outliers.parquet` for the test split of each site, and notes on what is missing.

    Frames carry the columns of `anomaly.parquet`. `tick` is called after each site and outcome. Never raises
    for what the data can not carry: the estimate is then null.
    """
    rows: list[Row] = []
    notes: list[str] = []
    for site, test in tests.items():
        found = [name for name in DETECTORS if f"{name}_score" in test.frame.columns]
        if not found and len(test):
            notes.append(f"{site} has no table of outlier scores (anomaly.parquet); run embed again.")
        for name in found:
            rows += _with(_charting(test, name), site=site, detector=name)
        for outcome in outcomes.values():
            if found:
                key = zlib.crc32(f"{site}\n{outcome.name}\noutliers".encode())
                rng = np.random.default_rng([seed, key])
                rows += _with(_of_outcome(test, outcome, found, rng, n_bootstrap), site=site)
            if tick:
                tick()
    schema = RESULT_FILES["outliers"]
    return pl.DataFrame(rows, schema=schema, orient="row").select(list(schema)), notes


def _with(rows: Iterator[Row], **constant: object) -> Iterator[Row]:
    return (row | constant for row in rows)


def _row(measure: str, estimate: float | None, bounds: Bounds = None, **more: object) -> Row:
    """One row; a figure that is not defined is null."""
    low, high = (bounds.low, bounds.high) if isinstance(bounds, Interval) else bounds or (None, None)
    if estimate is None or not np.isfinite(estimate):
        estimate = low = high = None
    row: Row = dict.fromkeys(RESULT_FILES["outliers"])
    return row | {"measure": measure, "estimate": estimate, "ci_low": low, "ci_high": high} | more


def _share(events: int, n: int) -> tuple[float | None, tuple[float, float] | None]:
    """A share with its interval; nothing where there are no stays."""
    if not n:
        return None, None
    low, high = wilson_interval(events, n)
    return events / n, (float(low), float(high))


def _charting(test: Stays, name: str) -> Iterator[Row]:
    """What needs no outcome: share flagged, correlation with the number of tokens, distribution."""
    frame = test.frame.drop_nulls(f"{name}_score")
    n, flagged = frame.height, int(frame[f"{name}_flag"].sum())
    share = _share(flagged, n)
    yield _row("share_flagged", *share, n=n, n_events=flagged)
    score, tokens = frame[f"{name}_score"].to_numpy(), frame["n_tokens"].to_numpy()
    if n > 2 and np.ptp(score) > 0 and np.ptp(tokens) > 0:
        rho = float(np.corrcoef(rankdata(score), rankdata(tokens))[0, 1])
        yield _row("spearman_n_tokens", rho, spearman_interval(rho, frame["patient_id"].n_unique()), n=n)
    else:
        yield _row("spearman_n_tokens", None, n=n)
    yield from _quantiles(score, n=n)


def _quantiles(score: np.ndarray, **more: object) -> Iterator[Row]:
    values = np.quantile(score.astype(np.float64), QUANTILES) if len(score) else [None] * len(QUANTILES)
    for level, value in zip(QUANTILES, values, strict=True):
        yield _row(f"quantile_{level:g}", None if value is None else float(value)) | more


def _of_outcome(
    test: Stays, outcome: Outcome, found: list[str], rng: np.random.Generator, n_bootstrap: int
) -> Iterator[Row]:
    """What is measured against one outcome, among the stays that count for it."""
    frame = test.counting(outcome).frame
    labels = frame[outcome.name].to_numpy().astype(bool)
    strata = strata_of(frame["n_tokens"].to_numpy())
    scores = {CHARTING: frame["n_tokens"].cast(pl.Float64).to_numpy()}
    for name in found:
        score = frame[f"{name}_score"].cast(pl.Float64).to_numpy()
        if np.isfinite(score).all():
            scores[name] = score
        flags = frame[f"{name}_flag"].fill_null(value=False).to_numpy()
        rows = _by_flag(flags, labels, strata, known=name in scores)
        yield from _with(rows, detector=name, outcome=outcome.name)
        for label in (True, False):
            own = score[(labels == label) & np.isfinite(score)]
            events = {"n": len(own), "n_events": len(own) if label else 0, "label": label}
            yield from _with(_quantiles(own, **events), detector=name, outcome=outcome.name)
    missing: Row = {"outcome": outcome.name, "n": 0, "n_events": 0}
    for name in found:
        if name not in scores:
            yield from (_row(measure, None) | missing | {"detector": name} for measure in AREAS)
    areas = _areas(scores, labels, strata, frame["patient_id"].to_numpy(), rng, n_bootstrap)
    yield from _with(areas, outcome=outcome.name)


def _by_flag(flags: np.ndarray, labels: np.ndarray, strata: np.ndarray, *, known: bool) -> Iterator[Row]:
    """Outcome rates of the stays flagged and the others, and their odds ratio."""
    for measure, group in (("rate_flagged", flags), ("rate_others", ~flags)):
        n, events = (int(group.sum()), int(labels[group].sum())) if known else (0, 0)
        rate = _share(events, n)
        yield _row(measure, *rate, n=n, n_events=events)
    odds = mantel_haenszel(flags, labels, strata) if known else None
    ratio = (None, None) if odds is None else (odds[0], odds[1:])
    size = {"n": len(labels), "n_events": int(labels.sum())} if known else {"n": 0, "n_events": 0}
    yield _row("odds_ratio_adjusted", *ratio) | size


def _areas(
    scores: dict[str, np.ndarray],
    labels: np.ndarray,
    strata: np.ndarray,
    patients: np.ndarray,
    rng: np.random.Generator,
    n_bootstrap: int,
) -> Iterator[Row]:
    """Areas under the ROC curve before and after adjustment, and their differences from the forest's.

    All scores are resampled together, so that their differences are paired.
    """
    within = {name: StratifiedRanking.of(labels, score, strata) for name, score in scores.items()}
    everyone = np.arange(len(labels))
    compared = {"roc_auc": everyone, "roc_auc_adjusted": next(iter(within.values())).compared}
    statistics = [
        statistic
        for name, score in scores.items()
        for statistic in (Ranking.of(labels, score).roc_auc, within[name].roc_auc)
    ]
    shape = (len(scores), len(AREAS), -1)
    if len(labels):
        ones = np.ones((1, len(labels)))
        estimates = np.vstack([statistic(ones) for statistic in statistics]).reshape(shape)[..., 0]
        drawn = replicates(statistics, patients, n_replicates=n_bootstrap, rng=rng).reshape(shape)
    else:
        estimates, drawn = np.full(shape[:2], np.nan), np.full((*shape[:2], 1), np.nan)
    forest = list(scores).index(FOREST) if FOREST in scores else None
    for i, name in enumerate(scores):
        for j, measure in enumerate(AREAS):
            own = compared[measure]
            clusters = [len(np.unique(patients[own][labels[own] == label])) for label in (True, False)]
            size = {"n": len(own), "n_events": int(labels[own].sum()), "detector": name}
            estimate = float(estimates[i, j])
            yield _row(measure, estimate, _area_interval(estimate, drawn[i, j], *clusters), **size)
            if forest is None or name in (FOREST, CHARTING):
                continue
            paired = percentile_interval(drawn[i, j] - drawn[forest, j])
            few = min(clusters) < FEWEST_PATIENTS  # a resampled interval would be too narrow
            difference = estimate - float(estimates[forest, j])
            yield _row(f"{measure}_difference", difference, None if few else paired, **size)


def _area_interval(estimate: float, drawn: np.ndarray, n_events: int, n_others: int) -> Bounds:
    """Percentile interval, or Newcombe's with fewer than 10 patients on a side (see `auc_interval_from`)."""
    interval = percentile_interval(drawn)
    if min(n_events, n_others) == 0 or not np.isfinite(estimate):
        return None
    if interval.method != "none" and min(n_events, n_others) >= FEWEST_PATIENTS:
        return interval
    return newcombe_interval(estimate, n_events=n_events, n_others=n_others)
