"""How much of each table becomes events of the cohort, under an event map."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import and_, or_

import polars as pl

from ehrfm_core.clif.event_map import EventSource, Filter
from ehrfm_core.clif.validation.categories import Values
from ehrfm_core.clif.validation.needs import ID, PATIENT, Needs
from ehrfm_core.clif.validation.opening import OpenTable, collect
from ehrfm_core.clif.validation.report import Survival
from ehrfm_core.clif.validation.schemas import spell
from ehrfm_core.clif.validation.stays import Stays
from ehrfm_core.cohort import EDGE_HOURS

NEVER = pl.lit(value=False)


def survive(table: OpenTable, needs: Needs, values: Mapping[str, Values], stays: Stays) -> Survival:
    """Rows of a table, those of a stay of the cohort, and those that become at least one event.

    A row becomes an event where it has an id of the cohort, the time, the code and what the entry's filters
    ask for, and lies between 24 h before the stay's start and its end.
    """
    rows = table.frame.with_row_index("row")
    filled = _filled(table, needs)
    own, events = pl.lit(value=False), pl.lit(value=False)
    for number, key in enumerate((ID, PATIENT)):
        sources = [source for source in needs.sources(table.name) if source.key == key]
        if not sources or not table.has(key):
            continue
        # of a patient's stays, a row belongs to the one between whose admission and discharge it lies
        edges = ("start", "end") if key == ID else ("admission", "discharge")
        cohort = stays.frame.lazy().filter("cohort")
        start, end = (
            pl.col(edge).alias(f"{name} {number}") for edge, name in zip(edges, ("start", "end"), strict=True)
        )
        rows = rows.join(cohort.select(key, start, end), on=key, how="left")
        own |= pl.col(f"start {number}").is_not_null()
        for source in sources:
            events |= _becomes(table, source, values, filled, number)
    query = rows.select("row", own=own.fill_null(value=False), event=events.fill_null(value=False))
    if any(source.key == PATIENT for source in needs.sources(table.name)):
        query = query.group_by("row").agg(pl.col("own", "event").any())
    n = collect(query.select(pl.col("own", "event").sum())).row(0, named=True)
    share = n["event"] / table.rows if table.rows else None
    return Survival(table.name, table.rows, n["own"], n["event"], share)


def _filled(table: OpenTable, needs: Needs) -> set[str]:
    times = [time for choice in needs.times(table.name) for time in choice if table.has(time)]
    if not times:
        return set()
    counts = collect(table.frame.select(pl.col(*dict.fromkeys(times)).count())).row(0, named=True)
    return {time for time, count in counts.items() if count}


def _becomes(
    table: OpenTable, source: EventSource, values: Mapping[str, Values], filled: set[str], number: int
) -> pl.Expr:
    time = next((time for time in source.times if time in filled), None)
    if time is None or not table.has(source.code or source.value):
        return NEVER
    edge = pl.duration(hours=EDGE_HOURS)
    conditions = [pl.col(time).is_between(pl.col(f"start {number}") - edge, pl.col(f"end {number}"))]
    if source.code:
        conditions.append(_present(table, source.code, values))
    elif source.value:
        # an empty cell is no event; text that is no number is one, without a value
        value = pl.col(source.value)
        conditions.append(value.is_not_null() if source.value in table.spoiled else ~value.is_nan())
    conditions += [_passes(table, item, values) for item in source.where]
    return reduce(and_, (condition.fill_null(value=False) for condition in conditions))


def _present(table: OpenTable, column: str, values: Mapping[str, Values]) -> pl.Expr:
    filled = pl.col(column).is_not_null()
    if table.kinds[column] == "number":
        return pl.col(column).is_finite()
    blank = (
        [value for value in values[column].written([None]) if value is not None] if column in values else []
    )
    return filled & ~pl.col(column).is_in(blank) if blank else filled


def _passes(table: OpenTable, item: Filter, values: Mapping[str, Values]) -> pl.Expr:
    """A filter of the event map; a row without a value passes `none_of` and `present: false` only."""
    value, operand = pl.col(item.column), item.operand
    if not table.has(item.column):
        return pl.lit(value=item.kind == "none_of" or (item.kind == "present" and not operand))
    if item.kind == "present":
        present = _present(table, item.column, values)
        return present if operand else ~present
    if item.kind in ("at_least", "at_most"):
        return value >= operand if item.kind == "at_least" else (value <= operand)
    wanted = [str(o) for o in (operand if isinstance(operand, list) else [operand])]
    if item.column in values:
        spelled = spell(wanted, table.name, item.column)
        if isinstance(operand, bool):
            spelled += ["1", "1.0"] if operand else ["0", "0.0"]
        hit = value.is_in([text for text in values[item.column].written(spelled) if text is not None])
    else:
        numbers = {"true": 1.0, "false": 0.0}
        hit = reduce(or_, (value == numbers.get(w.lower(), _number(w)) for w in wanted))
    hit = hit.fill_null(value=False)
    return ~hit if item.kind == "none_of" else hit


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("inf")  # text can be no value of a numeric column
