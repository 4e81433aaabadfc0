"""Read tables of a CLIF directory in one form, or say in one sentence why not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from ehrfm_core.clif.columns import id_text, number, time_utc
from ehrfm_core.clif.event_map import EventMap
from ehrfm_core.clif.files import TableFiles, find_tables, readable, scan_part, schema_of
from ehrfm_core.errors import UserError, brief

if TYPE_CHECKING:
    from ehrfm_core.clif.outcome_file import OwnOutcome

ID = "hospitalization_id"
ID_COLUMNS = (ID, "patient_id")

# what the cohort needs: ids, times and categories of the two tables that must be there
NEEDED = {
    "hospitalization": (
        "patient_id",
        ID,
        "admission_dttm",
        "discharge_dttm",
        "age_at_admission",
        "admission_type_category",
        "discharge_category",
    ),
    "patient": ("patient_id", "race_category", "ethnicity_category", "sex_category"),
}
# tables that tell outcomes and edges of a stay, whatever the event map reads
WATCHED = {
    "adt": (ID, "in_dttm", "location_category"),
    "respiratory_support": (ID, "recorded_dttm", "device_category"),
    "vitals": (ID, "recorded_dttm"),
}


@dataclass(frozen=True)
class ClifDirectory:
    """A site's CLIF tables: where they lie and which columns they have."""

    folder: Path
    tables: dict[str, TableFiles]
    schemas: dict[str, dict[str, pl.DataType]]

    def __contains__(self, table: object) -> bool:
        return table in self.tables

    def has(self, table: str, column: str) -> bool:
        """Whether a table is there and has a column with anything in it (a column of type Null has not)."""
        return table in self.tables and self.schemas[table].get(column, pl.Null()) != pl.Null

    def path(self, table: str) -> Path:
        """The path to name to the user."""
        return self.tables[table].path if table in self.tables else self.folder / f"clif_{table}.parquet"

    def scan(
        self,
        table: str,
        *,
        times: Iterable[str] = (),
        numbers: Iterable[str] = (),
        others: Iterable[str] = (),
    ) -> pl.LazyFrame:
        """Columns of one table: times in UTC microseconds, numbers as Float64, others as text; ids as text.

        A column that a part lacks is null there. Raises UserError where a type does not fit.
        """
        times, numbers, others = (tuple(dict.fromkeys(names)) for names in (times, numbers, others))
        parts = []
        for part in self.tables[table].parts:
            frame = scan_part(part)
            schema = frame.collect_schema()
            columns = []
            for column in dict.fromkeys((*times, *numbers, *others)):
                dtype = schema.get(column, pl.Null())
                if dtype.is_nested():
                    raise UserError(f"{part}: column {column!r} is {dtype}, not a single value; convert it.")
                if column not in schema:
                    kind = (
                        TIME_TYPE if column in times else pl.Float64() if column in numbers else pl.String()
                    )
                    columns.append(pl.lit(None, dtype=kind).alias(column))
                elif column in times:
                    columns.append(time_utc(part, column, dtype).alias(column))
                elif column in numbers:
                    columns.append(number(part, column, dtype).alias(column))
                elif column in ID_COLUMNS:
                    columns.append(id_text(part, column, dtype).alias(column))
                elif isinstance(dtype, pl.Duration | pl.Object):
                    raise UserError(f"{part}: column {column!r} is {dtype}, not a category; convert it.")
                else:
                    columns.append(pl.col(column).cast(pl.String))
            parts.append(frame.select(columns))
        return pl.concat(parts)


TIME_TYPE = pl.Datetime("us", "UTC")


def open_directory(folder: Path, event_map: EventMap, own: Sequence[OwnOutcome] = ()) -> ClifDirectory:
    """Find and check every table that is read; only hospitalization and patient must be there.

    `own` are outcomes of the user's own, whose tables are read too.

    Raises UserError where the folder or a needed table is missing, a file is not readable, a needed column
    is missing, an id is no id, or a time has no zone.
    """
    found = find_tables(folder)
    for table in NEEDED:
        if table not in found:
            raise UserError(
                f"{folder} holds no clif_{table}.parquet (or .csv, .csv.gz, or folder of parts): a CLIF "
                f"directory needs at least {' and '.join(f'clif_{name}' for name in NEEDED)}."
            )
    outcomes = {outcome.table: outcome.times for outcome in own if outcome.table}
    read = dict.fromkeys((*NEEDED, *WATCHED, *event_map.tables, *outcomes))
    tables = {name: found[name] for name in read if name in found}
    directory = ClifDirectory(folder, tables, {name: schema_of(table) for name, table in tables.items()})
    for table, columns in NEEDED.items():
        _need(directory, table, columns)
    for table in tables:
        check_table(directory, table, times=(*_times(event_map, table), *outcomes.get(table, ())))
    for table, columns in WATCHED.items():
        if table in directory:
            _need(directory, table, columns)
    for source in event_map.sources:
        if source.table in directory and source.name is None:
            _need(directory, source.table, source.required)
    static = [(item.table, item.column) for item in (*event_map.prefix, *event_map.suffix)]
    for table, column in static:
        _need(directory, table, (column,))
    return directory


def check_table(directory: ClifDirectory, table: str, *, times: Sequence[str]) -> None:
    """Raise UserError where a time of a table has no zone, or an id is none."""
    with readable(directory.path(table)):
        _check_times(directory, table, list(dict.fromkeys(times)))
        _check_ids(directory, table)


def _times(event_map: EventMap, table: str) -> list[str]:
    mapped = [time for source in event_map.sources if source.table == table for time in source.times]
    fixed = [c for c in (*NEEDED.get(table, ()), *WATCHED.get(table, ())) if c.endswith("_dttm")]
    return list(dict.fromkeys((*mapped, *fixed)))


def _need(directory: ClifDirectory, table: str, columns: Sequence[str]) -> None:
    schema = directory.schemas[table]
    missing = [column for column in columns if column not in schema]
    if missing:
        raise UserError(
            f"{directory.path(table)}: column {missing[0]!r} is missing ({len(missing)} of {len(columns)} "
            f"required columns); it has {brief(', '.join(list(schema)[:12]), 300)}."
        )


def _check_times(directory: ClifDirectory, table: str, times: Sequence[str]) -> None:
    """Types of the times; text that never gives a time, which most often lacks its offset."""
    text = []
    for part in directory.tables[table].parts:
        schema = scan_part(part).collect_schema()
        for column in times:
            dtype = schema.get(column, pl.Null())
            if not dtype.is_nested():
                time_utc(part, column, dtype)
            if dtype == pl.String and column not in text:
                text.append(column)
    if not text:
        return
    parsed = directory.scan(table, times=text).select(pl.col(text).count().name.suffix("_time"))
    raw = directory.scan(table, others=text).select(pl.col(text).count())
    counts = pl.collect_all([parsed, raw])
    for column in text:
        filled, times_read = counts[1][column].item(), counts[0][f"{column}_time"].item()
        if filled and not times_read:
            raise UserError(
                f"{directory.path(table)}: none of {filled} texts in column {column!r} is a time with its "
                "zone, such as 2024-01-31T08:00:00-06:00; write times with their offset."
            )


def _check_ids(directory: ClifDirectory, table: str) -> None:
    for column in ID_COLUMNS:
        for part in directory.tables[table].parts:
            dtype = scan_part(part).collect_schema().get(column)
            if dtype is None:
                continue
            if dtype.is_nested():
                raise UserError(f"{part}: column {column!r} is {dtype}, not a single value; convert it.")
            text = id_text(part, column, dtype)
            if dtype.is_float():
                frame = scan_part(part).select(
                    (pl.col(column).fill_nan(None).is_not_null() & text.is_null()).sum()
                )
                broken = int(frame.collect().item())
                if broken:
                    raise UserError(
                        f"{part}: {broken} values of {column!r} are not whole numbers; give ids as text."
                    )
