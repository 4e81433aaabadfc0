"""Metrics with their intervals, from predictions alone."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import partial

import numpy as np
import polars as pl

from ehrfm_core.evaluation.intervals import (
    FEWEST_PATIENTS,
    Interval,
    Statistic,
    auc_interval_from,
    percentile_interval,
    replicates,
)
from ehrfm_core.evaluation.metrics import Ranking, brier
from ehrfm_core.evaluation.models import MODEL_LABELS
from ehrfm_core.evaluation.sites import ID
from ehrfm_core.outcomes import OUTCOMES
from ehrfm_core.study.layout import RESULT_FILES

METRICS = ("roc_auc", "average_precision", "brier")
FEWEST_EVENTS = 10
RUN = ["model", "arm", "train_site", "test_site", "adapt_method", "adapt_fraction", "repeat", "outcome"]
ARM_LABELS = {
    "in_distribution": "",
    "zero_shot": " without local training",
    "adapted": " after local training",
}


def score(
    predictions: pl.DataFrame,
    patients: pl.DataFrame,
    *,
    seed: int,
    n_bootstrap: int = 1000,
    tick: Callable[[], None] | None = None,
) -> tuple[pl.DataFrame, list[str]]:
    """Rows of `metrics.parquet` for rows of `predictions.parquet`, and notes on what they can not tell.

    `patients` maps test_site and hospitalization_id to patient_id. All models of a site and outcome are
    resampled together, with random numbers drawn for that site and outcome alone: their replicates are
    paired, and neither the order of rows nor the presence of another site changes a figure. `tick` is
    called after each site and outcome. Raises ValueError where the models of a site and outcome were
    tested on different stays.
    """
    rows: list[dict[str, object]] = []
    notes: list[str] = []
    joined = predictions.join(patients, on=["test_site", ID], how="left", maintain_order="left")
    for (site, outcome), part in joined.group_by("test_site", "outcome", maintain_order=True):
        rng = np.random.default_rng([seed, zlib.crc32(f"{site}\n{outcome}".encode())])
        block_rows, block_notes = _score_block(part, rng=rng, n_bootstrap=n_bootstrap)
        rows += block_rows
        notes += block_notes
        if tick:
            tick()
    schema = RESULT_FILES["metrics"]
    return pl.DataFrame(rows, schema=schema, orient="row").select(list(schema)), notes


def _score_block(
    part: pl.DataFrame, *, rng: np.random.Generator, n_bootstrap: int
) -> tuple[list[dict[str, object]], list[str]]:
    """Every model on the test stays of one site and outcome."""
    runs = [(key, run.sort(ID)) for key, run in part.group_by(RUN, maintain_order=True)]
    first = runs[0][1]
    if any(not run[ID].equals(first[ID]) or not run["label"].equals(first["label"]) for _, run in runs):
        raise ValueError("the models of one test site and outcome must be tested on the same stays")
    labels, patients = first["label"].to_numpy().astype(bool), first["patient_id"].to_numpy()
    scores = [run["probability"].to_numpy() for _, run in runs]
    rankings = [Ranking.of(labels, run_scores) for run_scores in scores]
    statistics: list[Statistic] = []
    for ranking, run_scores in zip(rankings, scores, strict=True):
        statistics += [ranking.both, partial(_brier, labels, run_scores)]
    ones = np.ones((1, len(labels)))
    estimates = np.vstack([statistic(ones) for statistic in statistics]).reshape(len(runs), len(METRICS))
    drawn = replicates(statistics, patients, n_replicates=n_bootstrap, rng=rng)
    drawn = drawn.reshape(len(runs), len(METRICS), -1)

    rows: list[dict[str, object]] = []
    methods: dict[str, set[str]] = {metric: set() for metric in METRICS}
    for i, (key, _) in enumerate(runs):
        for j, metric in enumerate(METRICS):
            estimate = None if np.isnan(estimates[i, j]) else float(estimates[i, j])
            if metric == "roc_auc":
                interval = auc_interval_from(drawn[i, j], labels, scores[i], patients)
            else:
                interval = percentile_interval(drawn[i, j])
            if estimate is None:
                interval = Interval(None, None, "none", 0)
            else:
                methods[metric].add(interval.method)
            rows.append(
                dict(zip(RUN, key, strict=True))
                | {"subgroup": "all", "metric": metric, "estimate": estimate}
                | {"ci_low": interval.low, "ci_high": interval.high}
                | {"n": len(labels), "n_events": int(labels.sum())}
            )
    keys = [dict(zip(RUN, key, strict=True)) for key, _ in runs]
    notes = _size_notes(keys[0], labels) + _method_notes(keys[0], methods)
    return rows, notes + _baseline_notes(keys, estimates[:, 0], drawn[:, 0], labels)


def _brier(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return brier(labels, probabilities, weights)


def _size_notes(key: dict[str, object], labels: np.ndarray) -> list[str]:
    where = f"{_label(key)} at {key['test_site']}"
    events, n = int(labels.sum()), len(labels)
    if events in (0, n):
        return [
            f"{where}: {'none' if events == 0 else 'every one'} of the {n} test stays has the event, so that "
            "there is no AUC and no average precision."
        ]
    fewer = min(events, n - events)
    if fewer < FEWEST_EVENTS:
        verb = (
            ("has" if fewer == 1 else "have") if events <= n - events else ("lacks" if fewer == 1 else "lack")
        )
        return [
            f"{where}: only {fewer} of the {n} test stays {verb} the event, too few for the figures to be "
            "read as performance."
        ]
    return []


def _method_notes(key: dict[str, object], methods: dict[str, set[str]]) -> list[str]:
    where = f"{_label(key)} at {key['test_site']}"
    notes = []
    if "newcombe" in methods["roc_auc"]:
        notes.append(
            f"{where}: too few patients to find the interval of every AUC by resampling them; where they do "
            "not suffice, Newcombe's formula is used."
        )
    without = [
        name
        for metric, name in (("average_precision", "average precision"), ("brier", "the Brier score"))
        if "none" in methods[metric]
    ]
    if without:
        notes.append(
            f"{where}: some figures for {' and '.join(without)} have no interval, since resampling patients "
            "gives none."
        )
    return notes


def _baseline_notes(
    keys: list[dict[str, object]], auc: np.ndarray, drawn: np.ndarray, labels: np.ndarray
) -> list[str]:
    """Where a baseline has the higher AUC than the probe of the same arm, by how much and how surely.

    With fewer than 10 events a resampled interval is too narrow to call either of them the better one.
    """
    notes = []
    n, events = len(labels), int(labels.sum())
    readable = min(events, n - events) >= FEWEST_PATIENTS
    settings = [tuple(key[name] for name in RUN if name != "model") for key in keys]
    probes = {
        setting: i
        for i, (setting, key) in enumerate(zip(settings, keys, strict=True))
        if key["model"] == "probe"
    }
    for i, (setting, key) in enumerate(zip(settings, keys, strict=True)):
        probe = probes.get(setting)
        if probe is None or not str(key["model"]).startswith("baseline") or not auc[i] > auc[probe]:
            continue
        paired = percentile_interval(drawn[i] - drawn[probe])
        span = (
            ""
            if paired.low is None or not readable
            else f" (95 % interval of the difference {paired.low:+.3f} to {paired.high:+.3f})"
        )
        baseline = MODEL_LABELS.get(str(key["model"]), str(key["model"]))
        verdict = (
            f"{baseline} does better than the foundation model"
            if readable and paired.low is not None and paired.low > 0
            else f"the foundation model is not shown to do better than {baseline}"
        )
        notes.append(
            f"{_label(key)} at {key['test_site']}{ARM_LABELS.get(str(key['arm']), '')}: {verdict}; AUC "
            f"{auc[probe]:.3f} against {auc[i]:.3f} of the baseline on the same {n} stays{span}."
        )
    return notes


def _label(key: dict[str, object]) -> str:
    name = str(key["outcome"])
    return OUTCOMES[name].label if name in OUTCOMES else name
