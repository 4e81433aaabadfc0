"""Which of two runs ranks the same stays better, tested by DeLong with the stays of a patient together."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from ehrfm_core.evaluation.delong import areas
from ehrfm_core.evaluation.intervals import FEWEST_PATIENTS
from ehrfm_core.evaluation.sites import ID
from ehrfm_core.study.layout import RESULT_FILES

SIDE = ("model", "arm", "adapt_method", "adapt_fraction")
FOUNDATION = ("finetuned", "probe_pooled", "probe")

Key = tuple[str, str, str, float]


def compare(predictions: pl.DataFrame, patients: pl.DataFrame) -> pl.DataFrame:
    """Rows of comparisons.parquet from rows of predictions.parquet, those on none or all local stays.

    Pairs of a site and outcome: each foundation model against each baseline and against the other foundation
    model of the same arm, and every adapted run of a model against the same model unchanged. `patients` maps
    test_site and hospitalization_id to patient_id. P-values are corrected over the outcomes of a site, pair
    by pair (Holm 1979); none is given where fewer than ten patients have the event or lack it.
    """
    joined = predictions.filter(pl.col("repeat") == 0, pl.col("adapt_fraction").is_in([0.0, 1.0])).join(
        patients, on=["test_site", ID], how="left"
    )
    rows: list[dict[str, object]] = []
    for (site, outcome), part in joined.group_by("test_site", "outcome", maintain_order=True):
        runs: dict[Key, pl.DataFrame] = {
            key: run.sort(ID) for key, run in part.group_by(SIDE, maintain_order=True)
        }
        first = next(iter(runs.values()))
        labels, who = first["label"].to_numpy().astype(bool), first["patient_id"].to_numpy()
        if labels.all() or not labels.any() or len(np.unique(who)) < 2:
            continue
        place = {key: i for i, key in enumerate(runs)}
        found = areas(labels, np.stack([run["probability"].to_numpy() for run in runs.values()]), who)
        enough = min(len(np.unique(who[own])) for own in (labels, ~labels)) >= FEWEST_PATIENTS
        for one, other in _pairs(list(runs)):
            difference, low, high, p_value = found.difference(place[one], place[other])
            rows.append(
                {"test_site": site, "outcome": outcome}
                | {f"first_{name}": value for name, value in zip(SIDE, one, strict=True)}
                | {f"second_{name}": value for name, value in zip(SIDE, other, strict=True)}
                | {"difference": difference}
                | {"ci_low": low if enough else None, "ci_high": high if enough else None}
                | {"p_value": p_value if enough else None, "p_holm": None}
                | {"n": len(labels), "n_events": int(labels.sum())}
            )
    return _corrected(pl.DataFrame(rows, schema=RESULT_FILES["comparisons"], orient="row"))


def _pairs(keys: list[Key]) -> Iterator[tuple[Key, Key]]:
    for one in keys:
        for other in keys:
            # fine-tuned, re-fitted and local models are all adapted; recalibration leaves the ranking alone
            same_arm = (one[1], one[3]) == (other[1], other[3]) and "recalibrate" not in one[2] + other[2]
            beside = one[0] in FOUNDATION and other[0].startswith("baseline")
            tuned = one[0] in FOUNDATION and other[0] in FOUNDATION[FOUNDATION.index(one[0]) + 1 :]
            unchanged = one[0] == other[0] and (one[1], other[1]) == ("adapted", "zero_shot")
            if unchanged or (same_arm and (beside or tuned)):
                yield one, other


def _corrected(table: pl.DataFrame) -> pl.DataFrame:
    """Fill in p_holm: every pair of runs over the outcomes for which it was tested at a site."""
    pair = ["test_site", *(f"{side}_{name}" for side in ("first", "second") for name in SIDE)]

    def correct(p_values: pl.Series) -> pl.Series:
        known = p_values.drop_nulls()
        if known.is_empty():
            return p_values
        filled = np.full(len(p_values), np.nan)
        filled[p_values.is_not_null().to_numpy()] = holm(known.to_numpy())
        return pl.Series(filled).fill_nan(None)

    parts = [
        part.with_columns(correct(part["p_value"]).cast(pl.Float64).alias("p_holm"))
        for _, part in table.group_by(pair, maintain_order=True)
    ]
    return pl.concat(parts) if parts else table


def holm(p_values: np.ndarray) -> np.ndarray:
    """P-values times the number of those at least as large, never falling (Holm, Scand J Stat 1979; 6: 65).

    >>> holm(np.array([0.04, 0.01, 0.03])).round(3).tolist()
    [0.06, 0.03, 0.06]
    """
    order = np.argsort(p_values)
    raised = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1))
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(raised, 1.0)
    return corrected
