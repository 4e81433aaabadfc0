"""Configurations of cocoa-tokenizer, written from our event map so that both make the same events."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl

from ehrfm_core.clif.columns import crosswalk
from ehrfm_core.clif.event_map import EventMap, EventSource, Filter, StaticField
from ehrfm_core.clif.files import TableFiles, find_tables, scan_part, schema_of
from ehrfm_core.clif.tables import ID
from ehrfm_core.errors import UserError


def collation(event_map: EventMap, folder: Path) -> dict[str, Any]:
    """Cocoa's collation.yaml for an event map and the tables that are there.

    Sources whose table or column the folder lacks are left out, as ours leaves them out.
    Raises UserError where a table is no single parquet file, which is all that cocoa reads the way ours does.
    """
    tables = find_tables(folder)
    statics = (*event_map.prefix, *event_map.suffix)
    for name in {"patient", "hospitalization", *event_map.tables} & set(tables):
        if tables[name].path.name != f"clif_{name}.parquet" or tables[name].path.is_dir():
            raise UserError(
                f"{tables[name].path}: cocoa needs a single clif_{name}.parquet; `--copies 1` writes it."
            )
    entries = [_static_entry(item, "admission_dttm") for item in event_map.prefix]
    entries += [entry for source in event_map.sources for entry in _source_entries(source, tables)]
    entries += [_static_entry(item, "discharge_dttm") for item in event_map.suffix]
    needed = dict.fromkeys(item.column for item in statics if item.table == "patient")
    patient: dict[str, Any] = {"table": "clif_patient", "key": "patient_id", "validation": "m:1"}
    if needed:
        # these columns alone: others, such as an index of pandas, clash where a table is joined by patient_id
        patient["agg_expr"] = [f"pl.col({column!r}).first()" for column in needed]
    return {
        "subject_id": ID,
        "group_id": "patient_id",
        "default_timezone": "UTC",
        "default_time_unit": "us",
        "max_lookback_days": 1,
        "max_lookahead_days": 1,
        "subject_splits": {"train_frac": 0.7, "tuning_frac": 0.1},
        "reference": {
            "table": "clif_hospitalization",
            "start_time": "admission_dttm",
            "end_time": "discharge_dttm",
            "augmentation_tables": [patient],
        },
        "entries": entries,
    }


def tokenization(event_map: EventMap) -> dict[str, Any]:
    """Cocoa's tokenization.yaml: a category and a decile as tokens of their own, families in our order."""
    families = [item.family for item in event_map.prefix]
    families += [source.family for source in event_map.sources]
    families += [item.family for item in event_map.suffix]
    prefixes = dict.fromkeys(family.upper() for family in families)
    return {
        "n_bins": 10,
        "fused": False,
        "include_numeric_values": False,
        "min_training_ct": 0,
        "insert_spacers": False,
        "insert_clocks": False,
        "ordering": ["BOS", *prefixes, "EOS"],
    }


def _static_entry(item: StaticField, time: str) -> dict[str, Any]:
    entry = {"table": "REFERENCE", "prefix": item.family.upper(), "time": time}
    if item.family != "age":
        return {**entry, "code": item.column}
    constant = "pl.lit('age').alias('code')"
    return {**entry, "with_col_expr": constant, "code": "code", "numeric_value": item.column}


def _source_entries(source: EventSource, tables: dict[str, TableFiles]) -> list[dict[str, Any]]:
    """A source as entries of cocoa: two where a value or else an answer follows the category."""
    table = tables.get(source.table)
    columns = schema_of(table) if table else {}
    time = _time(source, table, columns) if table else None
    needed = (*source.required, *(condition.column for condition in source.where))
    if time is None or not set(needed) <= set(columns):
        return []
    entry: dict[str, Any] = {"table": f"clif_{source.table}", "prefix": source.family.upper()}
    filters = [_condition(source.table, condition) for condition in source.where]
    if source.name is not None:
        entry["with_col_expr"] = f"pl.lit({source.name!r}).alias('code')"
    entry |= {"code": source.code or "code", "time": time}
    if source.key == "patient_id":
        entry["reference_key"] = source.key
    is_number = f"pl.col({source.value!r}).cast(pl.Float64).is_finite().fill_null(False)"
    if source.name is not None and source.value:
        filters.append(is_number)
    value = {"numeric_value": source.value} if source.value else {}
    if source.answer is None or source.answer not in columns:
        return [_with_filters(entry | value, filters)]
    answer = {"text_value": source.answer}
    if not source.value:
        return [_with_filters(entry | answer, filters)]
    return [
        _with_filters(entry | value, [*filters, is_number]),
        _with_filters(entry | answer, [*filters, f"~{is_number}"]),
    ]


def _with_filters(entry: dict[str, Any], filters: list[str]) -> dict[str, Any]:
    return {**entry, "filter_expr": filters} if filters else entry


def _time(source: EventSource, table: TableFiles, columns: Iterable[str]) -> str | None:
    """The first of the source's times that the table fills."""
    times = [time for time in source.times if time in set(columns)]
    if len(times) < 2:
        return next(iter(times), None)
    counts = [scan_part(part).select(pl.col(times).count()) for part in table.parts]
    counted = pl.concat(counts).sum().collect()
    return next((time for time in times if counted[time].item()), None)


def _condition(table: str, condition: Filter) -> str:
    """A filter as the text of a polars expression, with categories compared as they are in the table."""
    column = f"pl.col({condition.column!r})"
    text = rf"{column}.cast(pl.String).str.to_lowercase().str.replace_all(r'[\s-]+', '_')"
    operand = condition.operand
    match condition.kind:
        case "present":
            return f"{column}.is_not_null()" if operand else f"{column}.is_null()"
        case "at_least":
            return f"{column}.cast(pl.Float64) >= {operand!r}"
        case "at_most":
            return f"{column}.cast(pl.Float64) <= {operand!r}"
        case "equals" if isinstance(operand, bool):
            return f"{column} == {operand!r}"
    names = [operand] if isinstance(operand, str) else list(operand)
    names += [old for old, new in crosswalk(table, condition.column).items() if new in names]
    found = f"{text}.is_in({names!r})"
    return f"~{found}.fill_null(False)" if condition.kind == "none_of" else found
