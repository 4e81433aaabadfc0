"""The reference for real hospitals: gradient boosting on values as they were charted, not binned."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.ensemble import HistGradientBoostingClassifier as Model
from sklearn.metrics import roc_auc_score

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


def fit_raw(study: Study, site: str, raw: RawValues, outcome: Outcome, *, seed: int) -> Model:
    """Fit on a site's training split with those of `SETTINGS` that have the highest AUC on its tuning split.

    Stays that do not count for the outcome are left out; without both classes in tuning the first are taken.
    """
    stays = study.site_table(site, "stays").filter(outcome.counts())
    train, tuning = (_labelled(stays.filter(split=name), raw, outcome) for name in ("train", "tuning"))
    models = [Model(early_stopping=False, random_state=seed, **setting).fit(*train) for setting in SETTINGS]
    if tuning[1].all() or not tuning[1].any():
        return models[0]
    return max(models, key=lambda model: roc_auc_score(tuning[1], model.predict_proba(tuning[0])[:, 1]))


def _labelled(stays: pl.DataFrame, raw: RawValues, outcome: Outcome) -> tuple[np.ndarray, np.ndarray]:
    return raw.of(stays[ID], raw.columns), stays[outcome.name].to_numpy().astype(bool)
