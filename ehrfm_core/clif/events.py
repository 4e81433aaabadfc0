"""From CLIF tables to events: one pass over each table, batch after batch."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from ehrfm_core.clif.event_map import EventMap, EventSource
from ehrfm_core.clif.event_store import EventStore
from ehrfm_core.clif.source import NO_TIME, Batch, Source
from ehrfm_core.clif.tables import WATCHED, ClifDirectory

OUTSIDE, NOBODY = 2**32 - 1, 2**32 - 2  # in place of a stay: one the cohort leaves out; one nobody knows


def read_table(
    directory: ClifDirectory, table: str, key: str, sources: list[Source], ids: pl.DataFrame
) -> Iterator[tuple[pl.DataFrame, Batch]]:
    """Read one table once: batches, with their stays, times (µs since admission) and numbers as arrays.

    `ids` has `key`, stay (row in the cohort, or OUTSIDE), admission. Rows of nobody, or
    without an id, have the stay NOBODY.
    """
    schema = directory.schemas[table]
    watched = WATCHED.get(table, ()) if key in WATCHED.get(table, ()) else ()
    times = {s.time for s in sources} | {c for c in watched if c.endswith("_dttm")}
    numbers = {c for s in sources for c in s.numbers}
    texts = ({c for s in sources for c in s.texts} | set(watched)) - times - numbers - {key}
    joins = [(s, s.joined()) for s in sources]
    extra = {c for s, j in joins if j is not None for c in s.joined_columns}
    frame = directory.scan(
        table,
        times=[c for c in sorted(times) if c in schema],
        numbers=sorted(numbers),
        others=[key, *sorted((texts | extra) - {key})],
    )
    begin = pl.col("admission").dt.epoch("us").alias("begin")
    frame = frame.join(ids.lazy().select(key, "stay", begin), on=key, how="left")
    since = ((pl.col(c).dt.epoch("us") - pl.col("begin")).fill_null(NO_TIME).alias(c) for c in sorted(times))
    query = frame.select(
        pl.col("stay").fill_null(NOBODY),
        *since,
        *sorted(numbers),
        *(pl.col(c).cast(pl.Categorical) for c in sorted(texts)),
        *(j.cast(pl.Categorical) for _, j in joins if j is not None),
    )
    for batch in query.collect_batches(maintain_order=False, engine="streaming"):
        arrays = {"stay": batch["stay"].to_numpy()}
        arrays |= {c: batch[c].to_numpy() for c in (*times, *numbers)}
        yield batch, arrays


def choose_time(directory: ClifDirectory, spec: EventSource) -> tuple[str | None, list[str]]:
    """The first of the source's times that is filled at all, and a note where it is not the first choice."""
    table = f"clif_{spec.table}"
    there = [column for column in spec.times if directory.has(spec.table, column)]
    if len(there) > 1:
        counted = directory.scan(spec.table, times=there).select(pl.col(there).count()).collect()
        there = [column for column in there if counted[column].item()]
    if not there:
        return None, [f"{table} has no {' or '.join(spec.times)}: its events are missing."]
    if there[0] == spec.times[0]:
        return there[0], []
    return there[0], [
        f"{table} has no {spec.times[0]}; {there[0]} stands in, so values can enter the window some time "
        "before they were known."
    ]


def sources_of(
    directory: ClifDirectory, event_map: EventMap, store: EventStore, *, fine: bool
) -> tuple[list[Source], list[str]]:
    """The sources that this site can feed, and notes on those it cannot."""
    sources: list[Source] = []
    notes: list[str] = []
    for rank, spec in enumerate(event_map.sources):
        if spec.table not in directory:
            notes.append(f"No table clif_{spec.table}: its events are missing.")
            continue
        if spec.name is not None and spec.value and not directory.has(spec.table, spec.value):
            notes.append(f"clif_{spec.table} has no {spec.value}: {spec.family}/{spec.name} is missing.")
            continue
        time, found = choose_time(directory, spec)
        notes += found
        if time is not None:
            sources.append(Source(spec, rank, directory, time, fine=fine, store=store))
    return sources, list(dict.fromkeys(notes))


def notes_of(sources: list[Source]) -> list[str]:
    """What the reader must know of rows that gave no event or no value."""
    notes = []
    for source in sources:
        counts, table = source.counts, f"clif_{source.spec.table}"
        if counts.no_time:
            notes.append(f"{table}: {counts.no_time:,} rows have no {source.time}; they are left out.")
        if counts.no_code and not source.spec.often_empty:
            notes.append(f"{table}: {counts.no_code:,} rows have no {source.spec.code}; they are left out.")
        if counts.not_numbers:
            worst = ", ".join(f"{code} {n:,}" for code, n in counts.not_numbers.most_common(3))
            notes.append(
                f"{table}: {counts.not_numbers.total():,} values of {source.value} are no finite numbers "
                f"({worst}); their events have no value."
            )
        if counts.odd_units:
            worst = ", ".join(f"{unit} {n:,}" for unit, n in counts.odd_units.most_common(3))
            notes.append(
                f"{table}: {counts.odd_units.total():,} values have a unit that cannot be converted "
                f"({worst}); their events have no value."
            )
    return list(dict.fromkeys(notes))
