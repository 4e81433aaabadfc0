"""Metrics and curves with their intervals, from predictions alone."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl

from ehrfm_core.evaluation.delong import area_intervals
from ehrfm_core.evaluation.intervals import (
    FEWEST_PATIENTS,
    Interval,
    auc_interval_from,
    percentile_interval,
    replicates,
)
from ehrfm_core.evaluation.models import MODEL_LABELS
from ehrfm_core.evaluation.run_measures import CARRIED, METRICS, THRESHOLDS, RunMeasures
from ehrfm_core.evaluation.sites import ID
from ehrfm_core.outcomes import OUTCOMES, Outcomes
from ehrfm_core.study.layout import RESULT_FILES

FEWEST_EVENTS = 10
RUN = ["model", "arm", "train_site", "test_site", "adapt_method", "adapt_fraction", "repeat", "outcome"]
CARRIED_BY = ["model", "train_site", "outcome", "threshold"]
TABLES = ("metrics", "calibration_curves", "decision_curves")
ARM_LABELS = {
    "in_distribution": "",
    "zero_shot": " without local training",
    "adapted": " after local training",
}


@dataclass(frozen=True, eq=False)
class Scores:
    """Rows of metrics.parquet and of the two tables of curves, and notes on what they can not tell."""

    metrics: pl.DataFrame
    calibration_curves: pl.DataFrame
    decision_curves: pl.DataFrame
    notes: list[str]


def score(
    predictions: pl.DataFrame,
    patients: pl.DataFrame,
    *,
    seed: int,
    n_bootstrap: int = 1000,
    thresholds: pl.DataFrame | None = None,
    outcomes: Outcomes = OUTCOMES,
    tick: Callable[[], None] | None = None,
) -> Scores:
    """Measure every run of `predictions` (rows of predictions.parquet).

    `patients` maps test_site and hospitalization_id to patient_id. All runs of a site and outcome are
    resampled together, with random numbers drawn for that site and outcome alone: their replicates are
    paired, and neither the order of rows nor the presence of another site changes a figure. Of runs on a draw
    of the local stays, of which there are many, the AUC alone is measured, with DeLong's interval.
    `thresholds` (rows of thresholds.parquet) are those that unchanged models carry with them. `tick` is
    called after each site and outcome. Raises ValueError where the runs of a site and outcome were tested on
    different stays.
    """
    rows: dict[str, list[dict[str, object]]] = {name: [] for name in TABLES}
    known = (
        {} if thresholds is None else {row[:3]: row[3] for row in thresholds.select(CARRIED_BY).iter_rows()}
    )
    notes: list[str] = []
    joined = predictions.join(patients, on=["test_site", ID], how="left", maintain_order="left")
    for (site, outcome), part in joined.group_by("test_site", "outcome", maintain_order=True):
        rng = np.random.default_rng([seed, zlib.crc32(f"{site}\n{outcome}".encode())])
        label = outcomes[str(outcome)].label if outcome in outcomes else str(outcome)
        where = f"{label} at {site}"
        notes += _score_block(part, rows, known, where=where, rng=rng, n_bootstrap=n_bootstrap)
        if tick:
            tick()
    tables = {
        name: pl.DataFrame(found, schema=RESULT_FILES[name], orient="row") for name, found in rows.items()
    }
    return Scores(**tables, notes=notes)


def _score_block(
    part: pl.DataFrame,
    rows: dict[str, list[dict[str, object]]],
    thresholds: dict[tuple[str, ...], float],
    *,
    where: str,
    rng: np.random.Generator,
    n_bootstrap: int,
) -> list[str]:
    """Every run on the test stays of one site and outcome: its rows are added, its notes returned."""
    runs = [(key, run.sort(ID)) for key, run in part.group_by(RUN, maintain_order=True)]
    keys = [dict(zip(RUN, key, strict=True)) for key, _ in runs]
    first = runs[0][1]
    if any(not run[ID].equals(first[ID]) or not run["label"].equals(first["label"]) for _, run in runs):
        raise ValueError("the models of one test site and outcome must be tested on the same stays")
    labels, patients = first["label"].to_numpy().astype(bool), first["patient_id"].to_numpy()
    drawn_ones = [i for i, key in enumerate(keys) if key["repeat"] or 0 < float(key["adapt_fraction"]) < 1]
    size = {"n": len(labels), "n_events": int(labels.sum())}
    if drawn_ones:
        rows["metrics"] += _areas([keys[i] | size for i in drawn_ones], [runs[i][1] for i in drawn_ones])
        kept = sorted(set(range(len(runs))) - set(drawn_ones))
        keys, runs = [keys[i] for i in kept], [runs[i] for i in kept]
    if not runs:
        return []
    measured = [
        RunMeasures.of(labels, run["probability"].to_numpy(), carried=_carried(key, thresholds))
        for key, (_, run) in zip(keys, runs, strict=True)
    ]
    ones = np.ones((1, len(labels)))
    drawn = replicates([run.values for run in measured], patients, n_replicates=n_bootstrap, rng=rng)
    per_run = np.split(drawn, np.cumsum([run.n_rows for run in measured])[:-1])
    methods: dict[str, set[str]] = {}
    areas = []
    for key, run, replicated in zip(keys, measured, per_run, strict=True):
        found = run.split(run.values(ones)[:, 0])
        spread = run.split(replicated)
        areas.append((found[0][0], spread[0][0]))
        for name, estimate, values in zip(METRICS, found[0], spread[0], strict=True):
            if name in CARRIED and _carried(key, thresholds) is None:
                continue
            if name == "roc_auc":
                interval = auc_interval_from(values, labels, run.scores, patients)
            else:
                interval = percentile_interval(values)
            if np.isnan(estimate):
                interval = Interval(None, None, "none", 0)
            else:
                methods.setdefault(name, set()).add(interval.method)
            rows["metrics"].append(
                key | {"subgroup": "all", "metric": name} | _figures("estimate", estimate, interval) | size
            )
        for at, estimate, values in zip(run.at, found[1], spread[1], strict=True):
            figures = _figures("observed", estimate, percentile_interval(values))
            rows["calibration_curves"].append(key | {"predicted": float(at)} | figures)
        for at, estimate, values, all_ in zip(THRESHOLDS, found[2], spread[2], run.everybody(), strict=True):
            figures = _figures("net_benefit", estimate, percentile_interval(values))
            rows["decision_curves"].append(key | {"threshold": at} | figures | {"everybody": all_})
    notes = _size_notes(where, labels) + _method_notes(where, methods)
    estimates, replicated_areas = (np.array(x) for x in zip(*areas, strict=True))
    return notes + _baseline_notes(where, keys, estimates, replicated_areas, labels)


def _carried(key: dict[str, object], thresholds: dict[tuple[str, ...], float]) -> float | None:
    """The threshold of an unchanged model; None for an adapted one, whose risks are others."""
    if key["arm"] == "adapted":
        return None
    return thresholds.get(tuple(str(key[name]) for name in CARRIED_BY[:3]))


def _areas(keys: list[dict[str, object]], runs: list[pl.DataFrame]) -> list[dict[str, object]]:
    """Rows of the AUC of many runs on the same stays, with DeLong's intervals."""
    labels, patients = runs[0]["label"].to_numpy().astype(bool), runs[0]["patient_id"].to_numpy()
    shared = {"subgroup": "all", "metric": "roc_auc"}
    if labels.all() or not labels.any():
        return [key | shared | {"estimate": None, "ci_low": None, "ci_high": None} for key in keys]
    scores = np.stack([run["probability"].to_numpy() for run in runs])
    return [
        key | shared | {"estimate": estimate, "ci_low": low, "ci_high": high}
        for key, (estimate, low, high) in zip(keys, area_intervals(labels, scores, patients), strict=True)
    ]


def _figures(name: str, estimate: float, interval: Interval) -> dict[str, float | None]:
    known = not np.isnan(estimate)
    return {
        name: float(estimate) if known else None,
        "ci_low": interval.low if known else None,
        "ci_high": interval.high if known else None,
    }


def _size_notes(where: str, labels: np.ndarray) -> list[str]:
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


def _method_notes(where: str, methods: dict[str, set[str]]) -> list[str]:
    notes = []
    if "newcombe" in methods.get("roc_auc", ()):
        notes.append(
            f"{where}: too few patients to find the interval of every AUC by resampling them; where they do "
            "not suffice, Newcombe's formula is used."
        )
    without = [
        name
        for metric, name in (("average_precision", "average precision"), ("brier", "the Brier score"))
        if "none" in methods.get(metric, ())
    ]
    if without:
        notes.append(
            f"{where}: some figures for {' and '.join(without)} have no interval, since resampling patients "
            "gives none."
        )
    return notes


def _baseline_notes(
    where: str, keys: list[dict[str, object]], auc: np.ndarray, drawn: np.ndarray, labels: np.ndarray
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
            f"{where}{ARM_LABELS.get(str(key['arm']), '')}: {verdict}; AUC "
            f"{auc[probe]:.3f} against {auc[i]:.3f} of the baseline on the same {n} stays{span}."
        )
    return notes
