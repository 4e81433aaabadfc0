"""From CLIF tables to one long table of events."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ehrfm_core.clif.tables import ID, numeric, scan, text


@dataclass(frozen=True)
class EventSource:
    """How one column of a CLIF table becomes events.

    `times` are tried in order, the first that the table has is used. `value` is a numeric column,
    `answer` a categorical one used where the value is null. `only` keeps some codes. In a `sparse` source
    many rows have no code, which is nothing to tell the reader.
    """

    table: str
    family: str
    code: str
    times: tuple[str, ...]
    value: str | None = None
    answer: str | None = None
    only: tuple[str, ...] = ()
    sparse: bool = False


# The order of this tuple is the order of events that share a time.
EVENT_SOURCES: tuple[EventSource, ...] = (
    EventSource("adt", "location", "location_category", ("in_dttm",)),
    EventSource(
        "labs",
        "lab",
        "lab_category",
        ("lab_result_dttm", "lab_collect_dttm", "lab_order_dttm"),
        value="lab_value_numeric",
    ),
    EventSource("vitals", "vital", "vital_category", ("recorded_dttm",), value="vital_value"),
    EventSource(
        "medication_admin_continuous", "medication", "med_category", ("admin_dttm",), value="med_dose"
    ),
    EventSource(
        "patient_assessments",
        "assessment",
        "assessment_category",
        ("recorded_dttm",),
        value="numerical_value",
        answer="categorical_value",
    ),
    EventSource("respiratory_support", "respiratory", "mode_category", ("recorded_dttm",), sparse=True),
    EventSource("respiratory_support", "respiratory", "device_category", ("recorded_dttm",), sparse=True),
    EventSource("position", "position", "position_category", ("recorded_dttm",), only=("prone",)),
)

EVENT_SCHEMA: dict[str, type[pl.DataType] | pl.DataType] = {
    ID: pl.String,
    "time": pl.Datetime("us", "UTC"),
    "rank": pl.UInt8,  # place of the source in EVENT_SOURCES
    "code": pl.String,  # family/name
    "value": pl.Float64,  # null where there is none or it is not finite
    "answer": pl.String,  # answer/name, null where there is none
}


def scan_events(folder: Path, tables: list[str]) -> tuple[pl.LazyFrame, list[str]]:
    """All events of a CLIF directory, unordered, and notes on what the site lacks.

    Columns as in EVENT_SCHEMA; times in UTC. Rows without id, time or code are left out.
    """
    parts: list[pl.LazyFrame] = []
    notes: list[str] = []
    for rank, source in enumerate(EVENT_SOURCES):
        if source.table not in tables:
            if all(source.table not in note for note in notes):
                notes.append(f"No table clif_{source.table}: its events are missing.")
            continue
        frame = scan(folder, source.table)
        columns = frame.collect_schema().names()
        time, found = _choose_time(frame, source, columns)
        notes += [note for note in found if note not in notes]
        if time is not None:
            parts.append(_select(frame, folder, source, rank, time, columns))
    if not parts:
        return pl.LazyFrame(schema=pl.Schema(EVENT_SCHEMA)), notes
    return pl.concat(parts), notes


def _choose_time(
    frame: pl.LazyFrame, source: EventSource, columns: list[str]
) -> tuple[str | None, list[str]]:
    """The first of the source's times that is filled at all, and notes on rows that are left out."""
    counted = (
        frame.select(
            pl.len().alias("rows"),
            *(pl.col(column).count().alias(column) for column in source.times if column in columns),
            text(source.code).count().alias("coded"),
        )
        .collect()
        .row(0, named=True)
    )
    table, rows = f"clif_{source.table}", counted["rows"]
    if not rows:
        return None, [f"{table} has no rows."]
    time = next((column for column in source.times if counted.get(column)), None)
    if time is None:
        return None, [f"{table} has no {' or '.join(source.times)}: its events are missing."]
    notes = []
    if time != source.times[0]:
        notes.append(
            f"{table} has no {source.times[0]}; {time} stands in, so values can enter the window some time "
            "before they were known."
        )
    if counted[time] < rows:
        notes.append(f"{table}: {rows - counted[time]:,} of {rows:,} rows have no {time}; they are left out.")
    if counted["coded"] < rows and not source.sparse:
        missing = rows - counted["coded"]
        notes.append(f"{table}: {missing:,} of {rows:,} rows have no {source.code}; they are left out.")
    return time, notes


def _select(
    frame: pl.LazyFrame, folder: Path, source: EventSource, rank: int, time: str, columns: list[str]
) -> pl.LazyFrame:
    nothing = pl.lit(None, dtype=pl.Float64)
    value = numeric(folder, source.table, source.value) if source.value else nothing
    value = pl.when(value.is_finite()).then(value)
    answer = pl.lit(None, dtype=pl.String)
    if source.answer and source.answer in columns:
        answer = pl.when(value.is_null()).then(pl.lit("answer/") + text(source.answer))
    name = text(source.code)
    selected = frame.select(
        pl.col(ID),
        pl.col(time).alias("time"),
        pl.lit(rank, dtype=pl.UInt8).alias("rank"),
        (pl.lit(source.family + "/") + name).alias("code"),
        value.alias("value"),
        answer.alias("answer"),
    )
    if source.only:
        selected = selected.filter(pl.col("code").is_in([f"{source.family}/{code}" for code in source.only]))
    return selected.drop_nulls([ID, "time", "code"])
