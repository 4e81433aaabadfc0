"""CLIF 2.1 tables of records that have no calendar: invented admissions, UTC times, and writing them.

A record's admission is taken from a hash of its id: a minute of the five years from 2100. It is the same
whatever else is imported with it, and since a study splits patients by their first admission, the split is
like a random one. Nothing of the record goes into it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from ehrfm_core.errors import UserError
from ehrfm_core.sources.clif_variables import BOUNDS, ORDER_OF, Counts
from ehrfm_core.study.files import replacing

ID = "hospitalization_id"
TIME = pl.Datetime("us", "UTC")
BEGIN = datetime(2100, 1, 1, tzinfo=UTC)
MINUTES = 5 * 365 * 24 * 60
NAMES = (
    *("patient", "hospitalization", "adt"),
    *("vitals", "labs", "patient_assessments", "respiratory_support"),
)
SETTINGS = (  # of respiratory_support, none of which the collections have
    *("lpm_set", "tidal_volume_set", "resp_rate_set", "pressure_control_set", "pressure_support_set"),
    *("flow_rate_set", "peak_inspiratory_pressure_set", "inspiratory_time_set", "peep_set"),
    *("tidal_volume_obs", "resp_rate_obs", "plateau_pressure_obs", "peak_inspiratory_pressure_obs"),
    *("peep_obs", "minute_vent_obs", "mean_airway_pressure_obs"),
)
INVENTED = (
    "Dates are invented: each record's admission, the start of its ICU stay, is a minute of 2100 to 2104 "
    "that follows from its id alone (UTC)."
)


@dataclass
class Imported:
    """What an import did: rows by file (below OUT), values by variable, and notes for the user."""

    rows: dict[str, int] = field(default_factory=dict)
    counts: Counts = field(default_factory=Counts)
    notes: list[str] = field(default_factory=list)


def admission_of(record: str) -> datetime:
    """The invented admission of a record.

    >>> admission_of("132539") == admission_of("132539") != admission_of("132540")
    True
    """
    digest = hashlib.blake2b(record.encode(), digest_size=8).digest()
    return datetime.fromtimestamp(BEGIN.timestamp() + 60 * (int.from_bytes(digest, "big") % MINUTES), UTC)


def with_admission(records: pl.DataFrame) -> pl.DataFrame:
    """Records (with hospitalization_id) and their admission_dttm, in order of id."""
    times = pl.Series("admission_dttm", [admission_of(record) for record in records[ID]], dtype=TIME)
    return records.with_columns(times).sort(ID)


def static_tables(records: pl.DataFrame, *, hospital: str) -> dict[str, pl.DataFrame]:
    """patient, hospitalization and adt of records, one patient and one ICU stay each.

    `records` has hospitalization_id, admission_dttm, discharge_dttm, discharge_category, age (years), sex,
    unit (location_type or null) and unit_name.
    """
    text, time = pl.lit(None, dtype=pl.String), pl.lit(None, dtype=TIME)
    patient = records.select(
        pl.col(ID).alias("patient_id"),
        pl.lit(None, dtype=pl.Date).alias("birth_date"),
        time.alias("death_dttm"),
        pl.lit("Unknown").alias("race_category"),
        pl.lit("Unknown").alias("ethnicity_category"),
        pl.col("sex").alias("sex_category"),
        pl.lit("Unknown or NA").alias("language_category"),
    )
    hospitalization = records.select(
        pl.col(ID).alias("patient_id"),
        ID,
        "admission_dttm",
        "discharge_dttm",
        pl.col("age").floor().cast(pl.Int32).alias("age_at_admission"),
        text.alias("admission_type_category"),
        "discharge_category",
    )
    adt = records.select(
        ID,
        pl.lit(hospital).alias("hospital_id"),
        pl.lit("academic").alias("hospital_type"),
        pl.col("admission_dttm").alias("in_dttm"),
        time.alias("out_dttm"),  # not told; the end of the record would tell how long it is
        pl.col("unit_name").alias("location_name"),
        pl.lit("icu").alias("location_category"),
        pl.col("unit").alias("location_type"),
    )
    return {"patient": patient, "hospitalization": hospitalization, "adt": adt}


def event_tables(charted: Mapping[str, pl.DataFrame], records: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """vitals, labs, patient_assessments and respiratory_support of what was charted.

    `charted` is by table (`clif_variables.by_table`); `records` has record, hospitalization_id and
    admission_dttm. A table of which nothing was charted is not there.
    """
    makers: dict[str, Callable[[pl.DataFrame], pl.DataFrame]] = {
        "vitals": _vitals,
        "labs": _labs,
        "patient_assessments": _assessments,
        "respiratory_support": _respiratory,
    }
    found = {}
    keys = records.select("record", ID, "admission_dttm")
    for table, make in makers.items():
        if table in charted and charted[table].height:
            at = pl.col("admission_dttm") + pl.duration(minutes="minute")
            rows = charted[table].join(keys, on="record").with_columns(at.alias("time"))
            rows = make(rows.sort(ID, "time", "category", "name", "value"))
            found[table] = rows.with_columns(pl.col(pl.Categorical, pl.Enum).cast(pl.String))
    return found


def _vitals(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select(
        ID,
        pl.col("time").alias("recorded_dttm"),
        pl.col("name").alias("vital_name"),
        pl.col("category").alias("vital_category"),
        pl.col("value").alias("vital_value"),
        pl.col("where").alias("meas_site_name"),
    )


def _labs(rows: pl.DataFrame) -> pl.DataFrame:
    units = {category: unit for category, (_, unit, _, _) in BOUNDS.items()}
    time, category = pl.lit(None, dtype=TIME), pl.col("category").cast(pl.String)
    return rows.select(
        ID,
        time.alias("lab_order_dttm"),
        time.alias("lab_collect_dttm"),
        pl.col("time").alias("lab_result_dttm"),
        category.replace_strict(ORDER_OF, return_dtype=pl.String).alias("lab_order_category"),
        pl.col("name").alias("lab_name"),
        pl.col("category").alias("lab_category"),
        pl.col("value").cast(pl.String).alias("lab_value"),
        pl.col("value").alias("lab_value_numeric"),
        category.replace_strict(units, return_dtype=pl.String).alias("reference_unit"),
        pl.lit("blood/plasma/serum").alias("lab_specimen_category"),
    )


def _assessments(rows: pl.DataFrame) -> pl.DataFrame:
    text = pl.lit(None, dtype=pl.String)
    return rows.select(
        ID,
        pl.col("time").alias("recorded_dttm"),
        pl.col("name").alias("assessment_name"),
        pl.col("category").alias("assessment_category"),
        pl.lit("Neurological").alias("assessment_group"),
        pl.col("value").alias("numerical_value"),
        text.alias("categorical_value"),
        text.alias("text_value"),
    )


def _respiratory(rows: pl.DataFrame) -> pl.DataFrame:
    """One row a stay and time: the ventilator, where it is charted, and the oxygen it is set to."""
    ventilated = (pl.col("category") == "imv").any()
    oxygen = pl.col("value").filter(pl.col("category") == "fio2_set")
    merged = rows.group_by(ID, "time", maintain_order=True).agg(
        pl.when(ventilated).then(pl.lit("IMV")).alias("device_category"), oxygen.last().alias("fio2_set")
    )
    number = pl.lit(None, dtype=pl.Float64)
    return merged.select(
        ID,
        pl.col("time").alias("recorded_dttm"),
        "device_category",
        pl.lit(None, dtype=pl.String).alias("mode_category"),
        pl.lit(None, dtype=pl.Int32).alias("tracheostomy"),
        "fio2_set",
        *(number.alias(name) for name in SETTINGS),
    )


def refuse_foreign(out: Path, names: set[str]) -> None:
    """Raise UserError where OUT is no folder, or holds anything but files and folders of these names."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; give a new or empty folder.")
    for path in sorted(out.iterdir()) if out.exists() else []:
        if path.name not in names and not path.name.endswith(".partial"):
            raise UserError(f"{out} holds {path.name}, which is not from this import; give an empty folder.")


def write_all(out: Path, content: Mapping[str, pl.DataFrame | str]) -> dict[str, int]:
    """Write tables and texts to their paths below OUT; return the rows of each table.

    What lies there already must be the same. Raises UserError, before anything is written, where it is not.
    """
    folders = {out / Path(name).parent for name in content} | {out}
    for folder in sorted(folders):
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            ours = path.relative_to(out).as_posix()
            if path in folders or path.name.endswith(".partial"):
                continue
            if ours not in content or not _holds(path, content[ours]):
                raise UserError(
                    f"{folder} holds {path.name}, which is not from this import of these files; give an "
                    "empty folder."
                )
    for name, value in content.items():
        with replacing(out / name) as temporary:
            if isinstance(value, str):
                temporary.write_text(value, encoding="utf-8")
            else:
                value.write_parquet(temporary, compression="zstd")
    return {name: value.height for name, value in content.items() if isinstance(value, pl.DataFrame)}


def _holds(path: Path, value: pl.DataFrame | str) -> bool:
    try:
        if isinstance(value, str):
            return path.read_text(encoding="utf-8") == value
        return pl.read_parquet(path).equals(value)
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError):
        return False
