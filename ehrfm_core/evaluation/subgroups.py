"""Does a model work as well for some patients as for others: AUC and calibration within subgroups.

A subgroup of which fewer than eleven stays are there, have the event or lack it, is left out: so few are a
person, not a figure.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import polars as pl
from scipy.stats import norm

from ehrfm_core.evaluation.delong import area_intervals
from ehrfm_core.evaluation.intervals import LEVEL
from ehrfm_core.evaluation.scores import RUN
from ehrfm_core.evaluation.sites import ID
from ehrfm_core.study.layout import RESULT_FILES

FEWEST = 11
AGE_BANDS = (40, 65, 80)
MODELS = ("probe", "probe_pooled", "finetuned")
NAMED = {"sex": "sex", "race": "race", "ethnicity": "ethnicity"}


def groups_of(stays: pl.DataFrame) -> pl.DataFrame:
    """One row a (stay, subgroup): hospitalization_id and subgroup, e.g. `sex=Female` or `age=65–79`.

    `stays` has the columns of stays.parquet and, where states were read, `outlier`.
    """
    between = [f"{low}–{high - 1}" for low, high in pairwise(AGE_BANDS)]
    labels = [f"under {AGE_BANDS[0]}", *between, f"{AGE_BANDS[-1]} and over"]
    age = pl.col("age").bin_intervals(list(AGE_BANDS), labels=labels).cast(pl.String)
    columns = {
        **{name: pl.col(column) for name, column in NAMED.items()},
        "age": age,
        "icu_24h": pl.when("icu_24h").then(pl.lit("yes")).when(~pl.col("icu_24h")).then(pl.lit("no")),
    }
    if "outlier" in stays.columns:
        columns["outlier"] = (
            pl.when("outlier").then(pl.lit("yes")).when(~pl.col("outlier")).then(pl.lit("no"))
        )
    parts = [
        stays.select(ID, pl.format("{}={}", pl.lit(name), value).alias("subgroup")).drop_nulls()
        for name, value in columns.items()
    ]
    return pl.concat(parts)


def by_subgroup(predictions: pl.DataFrame, patients: pl.DataFrame, groups: pl.DataFrame) -> pl.DataFrame:
    """Rows of metrics.parquet: roc_auc and observed_expected of the foundation models by subgroup.

    `groups` has test_site, hospitalization_id and subgroup; `patients` as in `scores.score`. Intervals by
    DeLong and by the variance of a ratio of sums (Cochran), stays of a patient together; Newcombe's for an
    AUC with fewer than ten patients of either class.
    """
    chosen = predictions.filter(
        pl.col("repeat") == 0, pl.col("adapt_fraction").is_in([0.0, 1.0]), pl.col("model").is_in(MODELS)
    )
    joined = chosen.join(patients, on=["test_site", ID], how="left").join(groups, on=["test_site", ID])
    rows: list[dict[str, object]] = []
    for key, part in joined.sort(*RUN, "subgroup", ID).group_by(*RUN, "subgroup", maintain_order=True):
        labels = part["label"].to_numpy().astype(bool)
        events = int(labels.sum())
        if min(events, len(labels) - events) < FEWEST:
            continue
        p, who = part["probability"].to_numpy(), part["patient_id"].to_numpy()
        shared = dict(zip([*RUN, "subgroup"], key, strict=True)) | {"n": len(labels), "n_events": events}
        for metric, (estimate, low, high) in {
            "roc_auc": area_intervals(labels, p[None], who)[0],
            "observed_expected": _ratio(labels, p, who),
        }.items():
            rows.append(shared | {"metric": metric, "estimate": estimate, "ci_low": low, "ci_high": high})
    schema = RESULT_FILES["metrics"]
    return pl.DataFrame(rows, schema=schema, orient="row").select(list(schema))


def _ratio(labels: np.ndarray, p: np.ndarray, patients: np.ndarray) -> tuple[float, float, float]:
    """Observed over expected; on the log scale its variance is Σ (O_c − R E_c)² / O² over patients c."""
    _, cluster = np.unique(patients, return_inverse=True)
    observed, expected = (np.bincount(cluster, weights=x) for x in (labels.astype(np.float64), p))
    ratio = observed.sum() / expected.sum()
    k = len(observed)
    spread = np.sqrt(((observed - ratio * expected) ** 2).sum() * k / (k - 1)) / observed.sum()
    half = float(norm.ppf((1 + LEVEL) / 2)) * spread
    return float(ratio), float(ratio * np.exp(-half)), float(ratio * np.exp(half))
