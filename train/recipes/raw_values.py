"""The reference for real hospitals: gradient boosting on values as they were charted, not binned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

from ehrfm_core.evaluation.boosting import Boosting, fit_boosting
from ehrfm_core.evaluation.sites import ID
from ehrfm_core.outcomes import Outcome
from ehrfm_core.study.reader import Study

CHARTED = {  # table, category, value, time
    "vitals": ("vital_category", "vital_value", "recorded_dttm"),
    "labs": ("lab_category", "lab_value_numeric", "lab_result_dttm"),
    "patient_assessments": ("assessment_category", "numerical_value", "recorded_dttm"),
    "respiratory_support": (None, "fio2_set", "recorded_dttm"),
}
PLACES = {"adt": ("location_type", "in_dttm"), "respiratory_support": ("device_category", "recorded_dttm")}
SETTINGS: tuple[dict[str, float], ...] = (  # scikit-learn's own, and two of slow, small trees
    {},
    {"learning_rate": 0.03, "max_iter": 200, "max_leaf_nodes": 8, "max_features": 0.3},
    {"learning_rate": 0.03, "max_iter": 400, "max_leaf_nodes": 8, "max_features": 0.3},
)
FOLDS, FEWEST_TO_CHOOSE = 5, 10
STATISTICS = ("last", "min", "max", "mean", "count")


@dataclass(frozen=True, eq=False)
class RawValues:
    """Of a site's stays: `ids` (n), `features` (n × columns, not a number where nothing was charted)."""

    ids: pl.Series
    features: np.ndarray
    columns: tuple[str, ...]

    def of(self, ids: pl.Series, columns: tuple[str, ...]) -> np.ndarray:
        """Rows of the stays `ids`, with the columns of another site (none of ours: not a number)."""
        place = {name: i for i, name in enumerate(self.columns)}
        rows = pl.DataFrame({ID: ids}).join(
            self.ids.to_frame(ID).with_row_index(), on=ID, maintain_order="left", how="left"
        )["index"]
        if rows.null_count():
            raise ValueError(f"{rows.null_count()} of {len(ids)} stays are not in the tables")
        found = np.full((len(ids), len(columns)), np.nan, dtype=np.float32)
        for j, name in enumerate(columns):
            if name in place:
                found[:, j] = self.features[rows.to_numpy(), place[name]]
        return found


def raw_values(clif: Path, *, window_hours: float = 24) -> RawValues:
    """Last, lowest, highest and mean value and the number of values of each category in the window, age, sex.

    `clif` is a folder of CLIF tables; the window begins at admission.
    """
    stays = pl.read_parquet(clif / "clif_hospitalization.parquet").select(
        ID, "patient_id", "admission_dttm", pl.col("age_at_admission").cast(pl.Float32).alias("age")
    )
    patients = pl.read_parquet(clif / "clif_patient.parquet").select(
        "patient_id", (pl.col("sex_category") == "Male").cast(pl.Float32).alias("male")
    )
    wide = stays.join(patients, on="patient_id", how="left").select(ID, "age", "male")
    begins, length = stays.lazy().select(ID, "admission_dttm"), timedelta(hours=window_hours)
    for table, (category, value, time) in CHARTED.items():
        code = pl.lit(value) if category is None else pl.col(category)
        rows = _rows(clif, table, [code.alias("code"), pl.col(value).cast(pl.Float32).alias("value")], time)
        if rows is None:
            continue
        long = (
            rows.join(begins, on=ID)
            .filter((pl.col("time") - pl.col("admission_dttm")).is_between(timedelta(0), length))
            .group_by(ID, "code")
            .agg(
                pl.col("value").sort_by("time").last().alias("last"),
                *(getattr(pl.col("value"), name)().alias(name) for name in STATISTICS[1:]),
            )
            .collect()
        )
        part = long.pivot(on="code", index=ID, values=list(STATISTICS), separator=f"_{table}_")
        wide = wide.join(part, on=ID, how="left", maintain_order="left")
    for table, (category, time) in PLACES.items():
        rows = _rows(clif, table, [pl.col(category).alias("code")], time)
        if rows is None:
            continue
        seen = (
            rows.join(begins, on=ID)
            .filter(pl.col("time") <= pl.col("admission_dttm") + length)
            .select(ID, "code", pl.lit(1.0).alias("seen"))
            .unique()
            .collect()
        )
        part = seen.pivot(on="code", index=ID, values="seen")
        renamed = part.rename({name: f"{table}_{name}" for name in part.columns if name != ID})
        wide = wide.join(renamed, on=ID, how="left", maintain_order="left")
    columns = tuple(sorted(wide.columns[1:]))
    features = wide.select(pl.col(columns).cast(pl.Float32)).to_numpy()
    return RawValues(wide[ID], np.where(np.isfinite(features), features, np.nan), columns)


def _rows(clif: Path, table: str, columns: list[pl.Expr], time: str) -> pl.LazyFrame | None:
    """Whole rows of a table: hospitalization_id, `columns` and time; None where the table is not there."""
    file = clif / f"clif_{table}.parquet"
    if not file.is_file():
        return None
    return pl.scan_parquet(file).select(ID, *columns, pl.col(time).alias("time")).drop_nulls()


def fit_raw(study: Study, site: str, raw: RawValues, outcome: Outcome, *, seed: int) -> Boosting:
    """`fit_on` a site's training split."""
    training = study.site_table(site, "stays").filter(pl.col("split") == "train")
    return fit_on(training, raw, outcome, seed=seed)


def fit_on(training: pl.DataFrame, raw: RawValues, outcome: Outcome, *, seed: int) -> Boosting:
    """Fit on rows of stays.parquet, with those of `SETTINGS` that are best in five-fold cross-validation.

    Stays that do not count for the outcome are left out; with fewer than ten events or other stays the first
    settings are taken.
    """
    stays = training.filter(outcome.counts())
    features, labels = raw.of(stays[ID], raw.columns), stays[outcome.name].to_numpy().astype(bool)
    best: Mapping[str, float] = SETTINGS[0]
    if min(int(labels.sum()), int((~labels).sum())) >= FEWEST_TO_CHOOSE:
        best = max(SETTINGS, key=lambda setting: _cross_validated(features, labels, setting, seed=seed))
    return fit_boosting(features, labels, seed=seed, settings=best)


def _cross_validated(
    features: np.ndarray, labels: np.ndarray, settings: Mapping[str, float], *, seed: int
) -> float:
    """ROC-AUC over all stays, each ranked by the trees of the four folds that it is not in."""
    risk = np.empty(len(labels))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    for fit, rest in folds.split(features, labels):
        trees = fit_boosting(features[fit], labels[fit], seed=seed, settings=settings)
        risk[rest] = trees.probability(features[rest])
    return float(roc_auc_score(labels, risk))
