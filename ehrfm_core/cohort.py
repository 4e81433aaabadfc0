"""Which stays, when they start and end, how they ended, and which split they belong to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ehrfm_core.clif.tables import ID, numeric, scan, text
from ehrfm_core.errors import UserError
from ehrfm_core.outcomes import LONG_STAY_HOURS, WINDOW_HOURS

ADULT_YEARS, OLDEST_YEARS = 18, 130
EDGE_HOURS = 24  # charting this long before admission or after discharge still belongs to the stay
SPLITS = ("train", "tuning", "test")

# CLIF's own spelling of the demographic categories (mCIDE): sites that write them in different case
# speak of the same thing
SPELLING = {
    name.lower().replace(" ", "_"): name
    for name in (
        *("Female", "Male", "Unknown", "Other", "Hispanic", "Non-Hispanic"),
        *("American Indian or Alaska Native", "Asian", "Black or African American", "White"),
        "Native Hawaiian or Other Pacific Islander",
    )
}


@dataclass(frozen=True)
class SplitFractions:
    """Shares of patients in train, tuning and test. Defaults of the paper: source, then target sites."""

    train: float
    tuning: float
    test: float


SOURCE_SPLIT = SplitFractions(0.7, 0.1, 0.2)
TARGET_SPLIT = SplitFractions(0.05, 0.05, 0.9)


def read_stays(folder: Path, tables: list[str]) -> tuple[pl.DataFrame, list[str]]:
    """Adult stays of at least 24 h with their outcomes, sorted by id, and notes on what was left out.

    Columns: hospitalization_id, patient_id, admission, start and end (UTC), age (years), sex, race,
    ethnicity, admission_type, discharge, los_hours, death, long_los, icu, imv, icu_24h, imv_24h.
    Start is the earlier of admission and first vital, end the later of discharge and last vital, as in
    the paper; vitals more than 24 h outside the stay are taken for mistakes. The length of stay is
    discharge − admission.

    Raises UserError on repeated ids and where no stay is left.
    """
    stays = _hospitalizations(folder).join(_patients(folder), on="patient_id", how="left")
    read = stays.height
    if not read:
        raise UserError(f"{folder}/clif_hospitalization.parquet has no row with a hospitalization_id.")
    hours = (pl.col("discharge_time") - pl.col("admission")).dt.total_microseconds() / 3.6e9
    stays = stays.with_columns(hours.alias("los_hours"))
    whole = pl.col("patient_id").is_not_null() & (pl.col("los_hours") >= 0) & pl.col("age").is_finite()
    broken = stays.select((~whole.fill_null(value=False)).sum()).item()
    adult = pl.col("age").is_between(ADULT_YEARS, OLDEST_YEARS)
    stays = stays.filter(whole & (pl.col("los_hours") >= WINDOW_HOURS) & adult)
    if stays.is_empty():
        raise UserError(
            f"{folder}/clif_hospitalization.parquet: none of {read} stays is of an adult and lasts 24 h or "
            "more; check patient_id, admission_dttm, discharge_dttm and age_at_admission."
        )
    notes = [f"{stays.height} of {read} stays are of adults and last 24 h or more; the others are left out."]
    if broken:
        notes.append(
            f"{broken} stays lack a patient, an age, an admission or a discharge, or end before they begin; "
            "they are left out."
        )
    stays = _add_edges(stays, folder, tables)
    return _add_outcomes(stays, folder, tables).sort(ID), notes


def _hospitalizations(folder: Path) -> pl.DataFrame:
    path = folder / "clif_hospitalization.parquet"
    frame = (
        scan(folder, "hospitalization")
        .select(
            pl.col(ID),
            pl.col("patient_id"),
            pl.col("admission_dttm").alias("admission"),
            pl.col("discharge_dttm").alias("discharge_time"),
            numeric(folder, "hospitalization", "age_at_admission").alias("age"),
            text("admission_type_category").alias("admission_type"),
            text("discharge_category").alias("discharge"),
        )
        .unique()
        .drop_nulls(ID)
        .collect()
    )
    repeated = frame.height - frame[ID].n_unique()
    if repeated:
        raise UserError(
            f"{path}: {repeated} hospitalization_id stand on rows that differ; keep one row a stay."
        )
    return frame


def _patients(folder: Path) -> pl.DataFrame:
    frame = (
        scan(folder, "patient")
        .select(
            "patient_id",
            _spelled("sex_category").alias("sex"),
            _spelled("race_category").alias("race"),
            _spelled("ethnicity_category").alias("ethnicity"),
        )
        .unique()
        .drop_nulls("patient_id")
        .collect()
    )
    repeated = frame.height - frame["patient_id"].n_unique()
    if repeated:
        raise UserError(
            f"{folder}/clif_patient.parquet: {repeated} patient_id stand on rows that differ; "
            "keep one row a patient."
        )
    return frame


def _spelled(column: str) -> pl.Expr:
    """A demographic category in CLIF's spelling; other values as they are, empty ones null."""
    cleaned = pl.col(column).cast(pl.String).str.strip_chars()
    known = text(column).replace_strict(SPELLING, default=None, return_dtype=pl.String)
    return pl.when(cleaned != "").then(pl.coalesce(known, cleaned))


def _add_edges(stays: pl.DataFrame, folder: Path, tables: list[str]) -> pl.DataFrame:
    if "vitals" not in tables:
        return stays.with_columns(pl.col("admission").alias("start"), pl.col("discharge_time").alias("end"))
    edge = pl.duration(hours=EDGE_HOURS)
    vitals = (
        scan(folder, "vitals")
        .select(ID, pl.col("recorded_dttm").alias("time"))
        .join(stays.lazy().select(ID, "admission", "discharge_time"), on=ID)
        .filter(pl.col("time").is_between(pl.col("admission") - edge, pl.col("discharge_time") + edge))
        .group_by(ID)
        .agg(pl.col("time").min().alias("first"), pl.col("time").max().alias("last"))
        .collect()
    )
    return (
        stays.join(vitals, on=ID, how="left")
        .with_columns(
            pl.min_horizontal("admission", "first").alias("start"),
            pl.max_horizontal("discharge_time", "last").alias("end"),
        )
        .drop("first", "last")
    )


def _add_outcomes(stays: pl.DataFrame, folder: Path, tables: list[str]) -> pl.DataFrame:
    stays = stays.with_columns(
        (pl.col("discharge") == "expired").alias("death"),
        (pl.col("los_hours") > LONG_STAY_HOURS).alias("long_los"),
    )
    stays = _add_first(stays, folder, tables, "adt", "in_dttm", "location_category", "icu")
    return _add_first(stays, folder, tables, "respiratory_support", "recorded_dttm", "device_category", "imv")


def _add_first(
    stays: pl.DataFrame, folder: Path, tables: list[str], table: str, time: str, code: str, name: str
) -> pl.DataFrame:
    """Whether `code` equals `name` ever in the stay, and already within the window.

    Null for all stays where the site has no such table or no row of it belongs to these stays. A stay without
    any row in adt is null as well, since every stay is somewhere; one without respiratory support is taken
    as not ventilated.
    """
    if table not in tables:
        unknown = pl.lit(None, dtype=pl.Boolean)
        return stays.with_columns(unknown.alias(name), unknown.alias(f"{name}_24h"))
    rows = (
        scan(folder, table)
        .select(ID, pl.col(time).alias("time"), (text(code) == name).alias("hit"))
        .join(stays.lazy().select(ID, "start", "end"), on=ID)
        .filter(pl.col("time").is_between(pl.col("start") - pl.duration(hours=EDGE_HOURS), pl.col("end")))
        .with_columns((pl.col("time") <= pl.col("start") + pl.duration(hours=WINDOW_HOURS)).alias("early"))
        .group_by(ID)
        .agg(
            pl.col("hit").fill_null(value=False).any().alias(name),
            (pl.col("hit") & pl.col("early")).fill_null(value=False).any().alias(f"{name}_24h"),
        )
        .collect()
    )
    stays = stays.join(rows, on=ID, how="left")
    if table == "adt" or rows.is_empty():
        return stays
    return stays.with_columns(pl.col(name, f"{name}_24h").fill_null(value=False))


def add_split(stays: pl.DataFrame, fractions: SplitFractions) -> pl.DataFrame:
    """Add `split` by patient, in order of the patient's first admission (ties by patient_id).

    Every stay of a patient falls into that patient's split.

    >>> frame = pl.DataFrame({"patient_id": ["a", "b", "a", "c"], "admission": [1, 2, 9, 3]})
    >>> add_split(frame, SplitFractions(0.4, 0.2, 0.4))["split"].to_list()
    ['train', 'tuning', 'train', 'test']
    """
    patients = stays.group_by("patient_id").agg(pl.col("admission").min()).sort("admission", "patient_id")
    place = (pl.int_range(pl.len()) + 0.5) / pl.len()
    patients = patients.select(
        "patient_id",
        pl.when(place < fractions.train)
        .then(pl.lit("train"))
        .when(place < fractions.train + fractions.tuning)
        .then(pl.lit("tuning"))
        .otherwise(pl.lit("test"))
        .alias("split"),
    )
    return stays.join(patients, on="patient_id", how="left", maintain_order="left")
