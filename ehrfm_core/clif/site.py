"""Read one site: its cohort and its events, in one pass over each table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from ehrfm_core.clif.columns import category
from ehrfm_core.clif.event_map import EventMap
from ehrfm_core.clif.event_store import EventStore
from ehrfm_core.clif.events import NOBODY, OUTSIDE, notes_of, read_table, sources_of
from ehrfm_core.clif.files import readable, scan_part
from ehrfm_core.clif.lookup import Lookup
from ehrfm_core.clif.source import NO_TIME, Batch, Source
from ehrfm_core.clif.tables import ID, WATCHED, ClifDirectory
from ehrfm_core.cohort import Watch, edges, finish_stays, read_hospitalizations
from ehrfm_core.errors import UserError
from ehrfm_core.outcomes import WINDOW_HOURS

OUTCOME_OF_TABLE = {"adt": "icu", "respiratory_support": "imv"}
CSV_BYTES_A_ROW = 60
Progress = Callable[[int, int], None]


@dataclass
class Site:
    """A site that has been read.

    `stays`: the cohort, sorted by id (columns of `cohort.finish_stays`); `store`: its events, numbered by
    row of `stays`; `start` and `end`: edges of each stay in µs since admission (n); `not_numbers`: values
    by code that were NaN, infinite or text; `n_far`: events not in the store, days outside their stay.
    """

    stays: pl.DataFrame
    store: EventStore
    start: np.ndarray
    end: np.ndarray
    notes: list[str] = field(default_factory=list)
    not_numbers: dict[str, int] = field(default_factory=dict)
    n_far: int = 0


def read_site(
    directory: ClifDirectory,
    event_map: EventMap,
    scratch: Path,
    *,
    fine: bool = False,
    window_hours: float = WINDOW_HOURS,
    progress: Progress | None = None,
) -> Site:
    """Read a site's cohort and events; events that do not fit into memory go to files in `scratch`.

    `progress` is told, batch after batch, how many events are read and about how many there are.

    Raises UserError where ids of a table belong to no stay at all, ids repeat, or no stay is left.
    """
    every = [part for table in directory.tables.values() for part in table.parts]
    with readable(directory.path("hospitalization"), every):
        stays, everybody, notes = read_hospitalizations(directory, event_map, window_hours=window_hours)
    numbered = stays.select(ID, pl.int_range(pl.len(), dtype=pl.UInt32).alias("stay"))
    ids = everybody.join(numbered, on=ID, how="left").with_columns(pl.col("stay").fill_null(OUTSIDE))
    length = (stays["discharge_time"] - stays["admission"]).dt.total_microseconds().to_numpy()
    before = _earlier_ends(everybody, stays)
    watch = Watch(length)
    with readable(directory.folder, every):
        store = EventStore(stays.height, expected=_expected(directory, event_map), folder=scratch)
        sources, found = sources_of(directory, event_map, store, fine=fine)
    for table in dict.fromkeys((*WATCHED, *event_map.tables)):
        if table not in directory:
            continue
        keys = {s.spec.key for s in sources if s.spec.table == table} | ({ID} if table in WATCHED else set())
        for key in sorted(keys):
            own = [s for s in sources if s.spec.table == table and s.spec.key == key]
            with readable(directory.path(table)):
                notes += _read(directory, table, key, own, ids, watch, before, progress)
    stays = finish_stays(stays, watch, window_hours=window_hours)
    bad: Counter[str] = sum((source.counts.not_numbers for source in sources), start=Counter())
    start, end = edges(watch)
    n_far = sum(source.counts.far for source in sources)
    return Site(stays, store, start, end, notes + found + notes_of(sources), dict(bad), n_far)


def _read(
    directory: ClifDirectory,
    table: str,
    key: str,
    sources: list[Source],
    ids: pl.DataFrame,
    watch: Watch,
    before: np.ndarray,
    progress: Progress | None,
) -> list[str]:
    """One pass over a table; notes on rows that belong to nobody."""
    rows = orphans = 0
    see = _watcher(table, watch) if key == ID else None
    for batch, arrays in read_table(directory, table, key, sources, ids):
        stay = arrays["stay"]
        own = stay < NOBODY
        rows += len(stay)
        orphans += int(np.count_nonzero(stay == NOBODY))
        if see:
            see(batch, arrays, own)
        for source in sources:
            source.take(batch, arrays, own, watch.length, before)
        if progress and sources:
            progress(sources[0].store.n_events, sources[0].store.expected)
    if key != ID:  # a row of a patient was seen once a stay: what has no time is counted in the table itself
        for source in sources:
            nowhere = pl.col(key).is_not_null() & pl.col(source.time).is_null()
            frame = directory.scan(table, times=(source.time,), others=(key,)).select(nowhere.sum())
            source.counts.no_time = int(frame.collect().item())
    if orphans:
        without = int(directory.scan(table, others=(key,)).select(pl.col(key).null_count()).collect().item())
        rows, orphans = rows - without, orphans - without
    if not rows:
        return [f"clif_{table} has no rows."]
    if orphans == rows:
        _refuse_strangers(directory, table, key, rows, ids)
    if orphans > 0.1 * rows and key == ID:
        return [
            f"clif_{table}: {rows - orphans:,} of {rows:,} rows belong to a stay of clif_hospitalization."
        ]
    return []


def _watcher(table: str, watch: Watch) -> Callable[[pl.DataFrame, Batch, np.ndarray], None] | None:
    """What the cohort wants to see of a table: times of vitals, or rows that tell an outcome."""
    if table not in WATCHED:
        return None
    time, *code = WATCHED[table][1:]
    name = OUTCOME_OF_TABLE.get(table)

    def resolve(texts: list[str]) -> list[int]:
        frame = pl.DataFrame({"text": texts}).select(category(pl.col("text"), table, code[0]))
        return [-1 if text is None else int(text == name) for text in frame.to_series()]

    is_it = Lookup(resolve, empty=-1)  # a row without a category tells nothing

    def see(batch: pl.DataFrame, arrays: Batch, own: np.ndarray) -> None:
        own = own & (arrays[time] != NO_TIME)
        stay, micros = arrays["stay"][own], arrays[time][own]
        if name is None:
            watch.vitals(stay, micros)
        else:
            told = is_it(batch[code[0]])[own]
            stay, micros, told = stay[told >= 0], micros[told >= 0], told[told >= 0]
            watch.outcome(name, stay, micros, told.astype(bool))

    return see


def _refuse_strangers(directory: ClifDirectory, table: str, key: str, rows: int, ids: pl.DataFrame) -> None:
    theirs = directory.scan(table, others=(key,)).drop_nulls().head(1).collect().item()
    raise UserError(
        f"{directory.path(table)}: none of {rows} values of {key!r} is in "
        f"{directory.path('hospitalization').name} ({theirs!r} here, {ids[key].drop_nulls().first()!r} "
        "there); use one form."
    )


def _earlier_ends(everybody: pl.DataFrame, stays: pl.DataFrame) -> np.ndarray:
    """When the last of the patient's earlier stays ended, in µs since admission (stays); far back if none."""
    ends = everybody.sort("patient_id", "admission", ID).select(
        ID, pl.col("discharge_time").cum_max().shift(1).over("patient_id").alias("before")
    )
    joined = stays.select(ID, "admission").join(ends, on=ID, how="left", maintain_order="left")
    micros = (pl.col("before") - pl.col("admission")).dt.total_microseconds()
    return joined.select(micros.fill_null(-(2**62))).to_series().to_numpy()


def _expected(directory: ClifDirectory, event_map: EventMap) -> int:
    """About how many events are to come: rows of each source's table, guessed from its size if it is csv."""
    rows = {}
    for table in event_map.tables:
        parts = directory.tables[table].parts if table in directory else ()
        rows[table] = sum(
            int(scan_part(part).select(pl.len()).collect().item())
            if part.name.lower().endswith(".parquet")
            else part.stat().st_size * (8 if part.suffix.lower() == ".gz" else 1) // CSV_BYTES_A_ROW
            for part in parts
        )
    return sum(rows[source.table] for source in event_map.sources)
