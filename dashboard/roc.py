"""ROC curves with a band that respects patients: vectorised, computed once, cached by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import streamlit as st

from dashboard import data
from ehrfm_core.small_cells import unsafe
from ehrfm_core.study import Study

REPLICATES = 500
GRID = np.linspace(0, 1, 101)
_MAX_VERTICES = 400
_CHUNK = 2_000_000  # weights held at once: bounds memory on large sites
ARM = ("model", "arm", "train_site", "test_site", "adapt_method", "adapt_fraction", "repeat")


@dataclass(frozen=True)
class Roc:
    """One curve and its band: `fpr`, `tpr` (the curve's vertices), `low`, `high` (the band on `GRID`)."""

    fpr: np.ndarray
    tpr: np.ndarray
    low: np.ndarray
    high: np.ndarray
    auc: float
    auc_low: float
    auc_high: float
    n: int
    n_events: int
    n_patients: int

    def area(self, row: Mapping[str, Any]) -> tuple[float, float, float]:
        """AUC and interval: the study's own (a row of `metrics`), or the curve's where that has none."""
        known = (row["estimate"], row["ci_low"], row["ci_high"])
        return (self.auc, self.auc_low, self.auc_high) if None in known else known


def roc(label: np.ndarray, score: np.ndarray, patient: np.ndarray, *, seed: int = 0) -> Roc | None:
    """ROC curve with a pointwise 95 % band from a bootstrap of patients; None where a class is empty or few.

    The curve has a step an event: with 1 to 10 of either class its steps would tell how many.

    Whole patients are drawn with replacement, as all stays of one count together. `label` bool, `score`
    float, `patient` any id, all of length n. Replicates without both classes are left out.
    """
    n, events = len(label), int(label.sum())
    if events in (0, n) or unsafe(events, n):
        return None
    order = np.argsort(-score, kind="stable")
    label, score = label[order].astype(bool), score[order]
    _, cluster = np.unique(patient[order], return_inverse=True)
    ends = np.append(np.flatnonzero(np.diff(score)), n - 1)  # ties count together
    fpr, tpr = _curve(np.ones((1, n)), label, ends)

    rng = np.random.default_rng(seed)
    clusters = int(cluster.max()) + 1
    curves, areas = [], []
    step = max(1, _CHUNK // n)
    for begin in range(0, REPLICATES, step):
        draws = rng.multinomial(clusters, np.full(clusters, 1 / clusters), size=min(step, REPLICATES - begin))
        some_fpr, some_tpr = _curve(draws[:, cluster], label, ends)
        for one_fpr, one_tpr in zip(some_fpr, some_tpr, strict=True):
            if np.isfinite(one_fpr[-1] + one_tpr[-1]):
                curves.append(np.interp(GRID, one_fpr, one_tpr))
                areas.append(np.trapezoid(one_tpr, one_fpr))
    low, high = np.quantile(curves, (0.025, 0.975), axis=0)
    auc_low, auc_high = np.quantile(areas, (0.025, 0.975))
    keep = np.unique(np.linspace(0, fpr.shape[1] - 1, _MAX_VERTICES).astype(int))
    return Roc(
        fpr=fpr[0, keep],
        tpr=tpr[0, keep],
        low=low,
        high=high,
        auc=float(np.trapezoid(tpr[0], fpr[0])),
        auc_low=float(auc_low),
        auc_high=float(auc_high),
        n=n,
        n_events=events,
        n_patients=clusters,
    )


def _curve(weights: np.ndarray, label: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates (replicates × vertices, from 0 to 1) of weighted, sorted stays."""
    true = np.cumsum(weights * label, axis=1)[:, ends].astype(float)
    false = np.cumsum(weights * ~label, axis=1)[:, ends].astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        true, false = true / true[:, -1:], false / false[:, -1:]
    start = np.zeros((len(weights), 1))
    return np.hstack([start, false]), np.hstack([start, true])


@st.cache_resource(max_entries=256, show_spinner="Drawing patients for the interval …")
def _cached(folder: str, digest: str, outcome: str, arm: tuple[str | float | int, ...]) -> Roc | None:
    study = data.open_study(folder)
    rows = data.result(study, "predictions").filter(
        pl.col("outcome") == outcome,
        *(pl.col(column) == value for column, value in zip(ARM, arm, strict=True)),
    )
    key = "hospitalization_id"
    patients = data.stays(study, str(arm[ARM.index("test_site")])).select(key, "patient_id")
    rows = rows.join(patients, on=key, how="inner").drop_nulls(["label", "probability"])
    if rows.is_empty():
        return None
    label, score = rows["label"].to_numpy(), rows["probability"].to_numpy()
    return roc(label, score, rows["patient_id"].to_numpy())


def study_roc(study: Study, outcome: str, arm: tuple[str | float | int, ...]) -> Roc | None:
    """The curve of one arm (values of `ARM`, in order) for one outcome, from the study's predictions."""
    return _cached(str(study.folder), study.digest, outcome, arm)
