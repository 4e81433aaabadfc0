"""Read the tables of a CLIF 2.x directory, or say in one sentence why not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ehrfm_core.errors import UserError

ID = "hospitalization_id"
ID_COLUMNS = (ID, "patient_id")


@dataclass(frozen=True)
class Table:
    """Which columns of a CLIF table are read: `required` ones, and `times` among them.

    Only hospitalization and patient must be there; without the others a stay simply has fewer events.
    """

    name: str
    required: tuple[str, ...]
    times: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    needed: bool = False

    @property
    def file(self) -> str:
        """File name within a CLIF directory."""
        return f"clif_{self.name}.parquet"


TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        Table(
            "hospitalization",
            (
                "patient_id",
                ID,
                "admission_dttm",
                "discharge_dttm",
                "age_at_admission",
                "admission_type_category",
                "discharge_category",
            ),
            ("admission_dttm", "discharge_dttm"),
            needed=True,
        ),
        Table(
            "patient",
            ("patient_id", "race_category", "ethnicity_category", "sex_category"),
            needed=True,
        ),
        Table("adt", (ID, "in_dttm", "location_category"), ("in_dttm",)),
        # results are known at the result time; where a site has none, see `events.EVENT_SOURCES`
        Table(
            "labs",
            (ID, "lab_category", "lab_value_numeric"),
            ("lab_result_dttm", "lab_collect_dttm", "lab_order_dttm"),
            optional=("lab_result_dttm", "lab_collect_dttm", "lab_order_dttm"),
        ),
        Table("vitals", (ID, "recorded_dttm", "vital_category", "vital_value"), ("recorded_dttm",)),
        Table(
            "medication_admin_continuous",
            (ID, "admin_dttm", "med_category", "med_dose"),
            ("admin_dttm",),
        ),
        Table(
            "patient_assessments",
            (ID, "recorded_dttm", "assessment_category", "numerical_value"),
            ("recorded_dttm",),
            optional=("categorical_value",),
        ),
        Table(
            "respiratory_support",
            (ID, "recorded_dttm", "device_category", "mode_category"),
            ("recorded_dttm",),
        ),
        Table("position", (ID, "recorded_dttm", "position_category"), ("recorded_dttm",)),
    )
}


def check_directory(folder: Path) -> list[str]:
    """Check every table that is read; return the names of those present.

    Raises UserError where the folder or a needed table is missing, a file is not parquet, a column is
    missing, or a time has no zone.
    """
    if not folder.is_dir():
        raise UserError(
            f"{folder} does not exist or is not a folder; give the folder of a site's CLIF tables."
        )
    present = []
    for table in TABLES.values():
        if (folder / table.file).is_file():
            scan(folder, table.name)
            present.append(table.name)
        elif table.needed:
            raise UserError(
                f"{folder} holds no {table.file}: a CLIF directory needs at least "
                f"{' and '.join(t.file for t in TABLES.values() if t.needed)}."
            )
    return present


def scan(folder: Path, name: str) -> pl.LazyFrame:
    """Scan one table: its required and optional columns, ids as text, times in UTC microseconds.

    Raises UserError naming file, column and the way out.
    """
    table = TABLES[name]
    path = folder / table.file
    try:
        schema = pl.read_parquet_schema(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0][:100]
        raise UserError(f"{path} is not readable as parquet ({reason}); export the table again.") from None
    missing = [column for column in table.required if column not in schema]
    if missing:
        raise UserError(
            f"{path}: column {missing[0]!r} is missing ({len(missing)} of {len(table.required)} required "
            f"columns); it has {', '.join(list(schema)[:12])}."
        )
    columns = [*table.required, *(c for c in table.optional if c in schema and c not in table.required)]
    for column in (c for c in columns if c in table.times):
        _check_time(path, column, schema[column])
    frame = pl.scan_parquet(path).select(columns)
    return frame.with_columns(
        *(pl.col(c).cast(pl.String) for c in columns if c in ID_COLUMNS),
        *(pl.col(c).dt.convert_time_zone("UTC").dt.cast_time_unit("us") for c in columns if c in table.times),
    )


def _check_time(path: Path, column: str, dtype: pl.DataType) -> None:
    if not isinstance(dtype, pl.Datetime):
        raise UserError(
            f"{path}: column {column!r} is {dtype}, not a date and time with a time zone; "
            "convert it, in polars for example with str.to_datetime(time_zone='UTC')."
        )
    if dtype.time_zone is None:
        raise UserError(
            f"{path}: times in column {column!r} have no time zone; give them one, in polars for example "
            f"with dt.replace_time_zone('America/Chicago')."
        )


def numeric(folder: Path, name: str, column: str) -> pl.Expr:
    """A numeric column as Float64; UserError where it holds text."""
    dtype = pl.read_parquet_schema(folder / TABLES[name].file)[column]
    if not (dtype.is_numeric() or dtype in (pl.Null, pl.Boolean)):
        raise UserError(
            f"{folder / TABLES[name].file}: column {column!r} is {dtype}, not a number; convert it."
        )
    return pl.col(column).cast(pl.Float64)


def text(column: str) -> pl.Expr:
    """A category as the project writes it: lower case, trimmed, underscores for spaces; empty is null.

    >>> pl.DataFrame({"c": [" Room  Air", ""]}).select(text("c").alias("c"))["c"].to_list()
    ['room_air', None]
    """
    cleaned = pl.col(column).cast(pl.String).str.strip_chars().str.to_lowercase()
    cleaned = cleaned.str.replace_all(r"\s+", "_")
    return pl.when(cleaned != "").then(cleaned)
