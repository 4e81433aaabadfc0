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
        path = folder / table.file
        if path.is_dir():
            raise UserError(f"{path} is a folder of parts; write the table as one parquet file of this name.")
        if path.is_file():
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
    for column in columns:
        if schema[column].is_nested():
            raise UserError(f"{path}: column {column!r} is {schema[column]}, not a single value; convert it.")
    times = [column for column in columns if column in table.times]
    for column in times:
        _check_time(path, column, schema[column])
    frame = pl.scan_parquet(path).select(columns)
    return frame.with_columns(
        *(_id_text(path, column, schema[column]) for column in columns if column in ID_COLUMNS),
        *(_utc(column, schema[column]) for column in times),
    )


def _id_text(path: Path, column: str, dtype: pl.DataType) -> pl.Expr:
    """An id as text. Whole numbers held as floats, as pandas writes integers beside a null, lose their .0."""
    if dtype.is_float():
        whole = pl.col(column).is_null() | (pl.col(column) % 1 == 0)
        broken = int(pl.scan_parquet(path).select((~whole).sum()).collect().item())
        if broken:
            raise UserError(f"{path}: {broken} values of {column!r} are not whole numbers; give ids as text.")
        return pl.col(column).cast(pl.Int64).cast(pl.String)
    if not (dtype.is_integer() or dtype in (pl.String, pl.Categorical, pl.Enum, pl.Binary, pl.Null)):
        raise UserError(f"{path}: column {column!r} is {dtype}, not an id; give ids as text or integers.")
    return pl.col(column).cast(pl.String)


def _utc(column: str, dtype: pl.DataType) -> pl.Expr:
    if dtype == pl.Null:
        return pl.col(column).cast(pl.Datetime("us", "UTC"))
    return pl.col(column).dt.convert_time_zone("UTC").dt.cast_time_unit("us")


def _check_time(path: Path, column: str, dtype: pl.DataType) -> None:
    if dtype == pl.Null:
        return  # nothing in it: as good as not there
    if not isinstance(dtype, pl.Datetime):
        how = " in polars for example with str.to_datetime(time_zone='UTC')" if dtype == pl.String else ""
        raise UserError(
            f"{path}: column {column!r} is {dtype}, not a date and time with a time zone; convert it{how}."
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


def check_ids(folder: Path, tables: list[str]) -> list[str]:
    """Check that the tables speak of the same stays and patients; return notes on those that hardly do.

    Raises UserError where no row of a table belongs to any stay of clif_hospitalization (or no patient of
    clif_hospitalization is in clif_patient): ids written in two ways would otherwise lose a whole table.
    """
    known = scan(folder, "hospitalization").select(ID, "patient_id").collect()
    notes = []
    for name in tables:
        if name == "hospitalization":
            continue
        column = ID if ID in TABLES[name].required else "patient_id"
        ids = scan(folder, name).select(column).drop_nulls()
        present = ids.select(pl.len(), pl.col(column).is_in(known[column].implode()).sum().alias("own"))
        rows, own = present.collect().row(0)
        if rows and not own and known.height:
            theirs, ours = ids.head(1).collect().item(), known[column].drop_nulls().first()
            raise UserError(
                f"{folder / TABLES[name].file}: none of {rows} values of {column!r} is in "
                f"{TABLES['hospitalization'].file} ({theirs!r} here, {ours!r} there); use one form."
            )
        if own < 0.9 * rows and column == ID:
            notes.append(f"clif_{name}: {own:,} of {rows:,} rows belong to a stay of clif_hospitalization.")
    return notes
