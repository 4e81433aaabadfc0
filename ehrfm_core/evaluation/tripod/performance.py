"""Answers from the evaluation's figures: items 21, 23 and 24."""

from __future__ import annotations

import polars as pl

from ehrfm_core import cell_words
from ehrfm_core.cohort import SPLITS
from ehrfm_core.errors import UserError
from ehrfm_core.evaluation.tripod.analysis import METHODS
from ehrfm_core.evaluation.tripod.facts import FOUNDATION, Facts, figure

SHOWN = {
    "roc_auc": "ROC-AUC",
    "calibration_slope": "calibration slope",
    "observed_expected": "observed/expected",
}


def analysed(f: Facts) -> list[str]:
    """Item 21."""
    uses = {
        f.study.source: ("model and probes", "stopping and thresholds", "internal evaluation"),
        **dict.fromkeys(f.targets, ("local updating", "choice of updating", "evaluation elsewhere")),
    }
    return [
        f"{site}, {split} ({use}): {f.event_line(site, split)}."
        for site in f.study.sites
        for split, use in zip(SPLITS, uses[site], strict=True)
    ]


def performance(f: Facts) -> list[str]:
    """Item 23a."""
    lines = _lines(f, _unchanged(f), by=("model", "test_site"))
    if not lines:
        raise UserError("results/metrics.parquet holds no figure of the foundation model.")
    groups = f.metrics.filter(
        pl.col("model") == "probe",
        pl.col("arm") != "adapted",
        pl.col("subgroup") != "all",
        pl.col("metric") == "roc_auc",
    )
    for (site, outcome), part in groups.group_by("test_site", "outcome", maintain_order=True):
        cells = [f"{row['subgroup']} {figure(row)}" for row in part.iter_rows(named=True)]
        label = f.outcomes[str(outcome)].label if outcome in f.outcomes else outcome
        lines.append(f"Probe at {site}, {label}, ROC-AUC by subgroup: {', '.join(cells)}.")
    if groups.is_empty():
        lines.append("No subgroup has a figure of its own: none is large enough, or none was evaluated.")
    return [*lines, "The Transfer page has the plots."]


def heterogeneity(f: Facts) -> list[str]:
    """Item 23b."""
    if not f.targets:
        return ["One hospital: not examined."]
    rows = _unchanged(f).filter(pl.col("metric") == "roc_auc", pl.col("model") == "probe")
    lines = []
    for name, outcome in f.outcomes.items():
        part = rows.filter(pl.col("outcome") == name)
        cells = [f"{row['test_site']} {figure(row)}" for row in part.iter_rows(named=True)]
        if cells:
            lines.append(f"Probe, {outcome.label}, ROC-AUC: {'; '.join(cells)}.")
    if not lines:
        raise UserError("results/metrics.parquet holds no figure of the probe.")
    return lines


def updated(f: Facts) -> list[str]:
    """Item 24."""
    if not f.targets:
        return ["The model was not updated."]
    rows = f.metrics.filter(pl.col("arm") == "adapted", pl.col("subgroup") == "all")
    largest = pl.col("adapt_fraction").max().over("model", "test_site", "adapt_method")
    lines = _lines(
        f, rows.filter(pl.col("adapt_fraction") == largest), by=("model", "test_site", "adapt_method")
    )
    if not lines:
        return ["The model was not updated."]
    return [*lines, "Smaller shares: results/metrics.parquet, and the Transfer page."]


def _unchanged(f: Facts) -> pl.DataFrame:
    return f.metrics.filter(pl.col("arm") != "adapted", pl.col("subgroup") == "all")


def _lines(f: Facts, rows: pl.DataFrame, *, by: tuple[str, ...]) -> list[str]:
    """A line a model, test site and outcome with the measures of `SHOWN`, its stays and its events."""
    lines = []
    for _, run in rows.group_by(*by, "outcome", maintain_order=True):
        first = run.row(0, named=True)
        if first["outcome"] not in f.outcomes:
            continue
        way = f"{FOUNDATION[first['model']]}, {first['train_site']} → {first['test_site']}"
        if first["arm"] == "adapted":
            way += f", {METHODS.get(first['adapt_method'], first['adapt_method'])}"
            way += f" ({100 * first['adapt_fraction']:g} % of the training split)"
        rows_of = {row["metric"]: row for row in run.iter_rows(named=True)}
        told = [f"{label} {figure(rows_of[name])}" for name, label in SHOWN.items() if name in rows_of]
        lines.append(
            f"{way}, {f.outcomes[first['outcome']].label}: {', '.join(told)} ("
            f"{cell_words.events(first['n'], first['n_events'])} in {cell_words.stays(first['n'])})."
        )
    return lines


ANSWERS = {
    "21": ("evaluate", analysed),
    "23a": ("evaluate", performance),
    "23b": ("evaluate", heterogeneity),
    "24": ("evaluate", updated),
}
