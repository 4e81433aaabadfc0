"""Read a user's own outcomes of a site: from events of its CLIF tables, or from a table of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import polars as pl

from ehrfm_core.clif.columns import category
from ehrfm_core.clif.event_map import Filter
from ehrfm_core.clif.files import SUFFIXES, TableFiles, readable, schema_of
from ehrfm_core.clif.lookup import cleaned, passes_empty
from ehrfm_core.clif.outcome_file import OwnOutcome
from ehrfm_core.clif.source import NUMERIC_FILTERS
from ehrfm_core.clif.tables import ID, ClifDirectory, check_table
from ehrfm_core.cohort import EDGE_HOURS
from ehrfm_core.errors import UserError
from ehrfm_core.outcomes import early

EVENT_TIME = "event_time"
COLUMNS = (ID, "outcome", EVENT_TIME)
HAPPENED = "happened"  # where there is one, it says whether there was an event, whose time may be unknown


def outcome_tables(folder: Path, own: Sequence[OwnOutcome]) -> dict[str, TableFiles]:
    """Tables of outcomes in a site's folder, by the name that `OwnOutcome.file` gives; some may be missing.

    Raises UserError where one lies there twice.
    """
    found = {}
    for name in dict.fromkeys(outcome.file for outcome in own if outcome.file):
        paths = [path for suffix in SUFFIXES if (path := folder / f"{name}{suffix}").is_file()]
        if len(paths) > 1:
            raise UserError(f"{folder} holds {paths[0].name} and {paths[1].name}; leave one of them.")
        if paths:
            found[name] = TableFiles(name, paths[0], (paths[0],))
    return found


def add_own_outcomes(
    stays: pl.DataFrame,
    directory: ClifDirectory | None,
    tables: Mapping[str, TableFiles],
    own: Sequence[OwnOutcome],
    *,
    window_hours: float,
) -> tuple[pl.DataFrame, list[str]]:
    """Add NAME and NAME_24h (boolean) for every outcome, and notes on what a site cannot tell.

    `stays` has hospitalization_id, start and end (UTC), and los_hours, null where the end is not known:
    events of CLIF tables are then known only where they lie in the window. NAME is null where the site cannot
    tell, NAME_24h tells of events up to the end of the window, whatever its length; those of a CLIF table
    count from 24 h before the start to the end of the stay. `directory` is None for a site that is no CLIF
    directory.

    Raises UserError where a table of outcomes lacks a column, names a stay twice, or knows no stay at all.
    """
    notes: list[str] = []
    for outcome in own:
        with readable(_place(directory, tables, outcome)):
            if outcome.file is None:
                found, told = _of_events(stays, directory, outcome)
            elif outcome.file in tables:
                found, told = _of_file(stays, tables[outcome.file], outcome)
            else:
                found, told = None, [f"no {outcome.file}.parquet or .csv in its folder: {_nobody(outcome)}"]
        notes += told
        if found is None:
            nothing = pl.lit(None, dtype=pl.Boolean)
            stays = stays.with_columns(nothing.alias(outcome.name), nothing.alias(early(outcome.name)))
            continue
        end = pl.col("start") + timedelta(hours=window_hours)
        # an event without a time happened some time: nobody can say that it lies after the window
        soon = pl.col("happened") & (pl.col("first") <= end).fill_null(value=True)
        joined = stays.join(found, on=ID, how="left", maintain_order="left")
        if outcome.file is None:
            joined = joined.with_columns(pl.when(_ended(end)).then("happened").alias("happened"))
        stays = joined.with_columns(
            pl.col("happened").alias(outcome.name), soon.alias(early(outcome.name))
        ).drop("happened", "first")
        notes += _told(stays, outcome)
    return stays, notes


def _place(directory: ClifDirectory | None, tables: Mapping[str, TableFiles], outcome: OwnOutcome) -> Path:
    """The path to name where the rows that tell an outcome cannot be read."""
    if outcome.file in tables:
        return tables[str(outcome.file)].path
    return directory.path(str(outcome.table)) if directory else Path(str(outcome.table))


def _of_events(
    stays: pl.DataFrame, directory: ClifDirectory | None, outcome: OwnOutcome
) -> tuple[pl.DataFrame | None, list[str]]:
    """hospitalization_id, happened, first (time of the first event) of every stay that can tell."""
    table = str(outcome.table)
    if directory is None or table not in directory:
        return None, [f"no table clif_{table}: {_nobody(outcome)}"]
    columns = dict.fromkeys(test.column for test in outcome.filters)
    times = [name for name in outcome.times if directory.has(table, name)]
    lacking = [name for name in (ID, *columns) if not directory.has(table, name)]
    if not times or lacking:
        named = lacking[0] if lacking else " or ".join(outcome.times)
        return None, [f"clif_{table} has no {named}: {_nobody(outcome)}"]
    numbers = [test.column for test in outcome.filters if test.kind in NUMERIC_FILTERS]
    others = [ID, *(name for name in columns if name not in (*numbers, *times))]
    rows = directory.scan(table, times=times, numbers=numbers, others=others)
    edge, time = timedelta(hours=EDGE_HOURS), pl.coalesce(times)
    near = time.is_between(pl.col("start") - edge, pl.col("end"))
    among, where = (
        pl.all_horizontal(pl.lit(value=True), *(_passes(test, table) for test in tests))
        for tests in (outcome.among, outcome.where)
    )
    found = (
        rows.join(stays.lazy().select(ID, "start", "end"), on=ID)
        .filter(near & among)
        .group_by(ID)
        .agg(where.any().alias("happened"), time.filter(where).min().alias("first"))
        .collect(engine="streaming")
    )
    if not found.height:
        return None, [f"clif_{table} has no row that could tell: {_nobody(outcome)}"]
    if not outcome.among:  # no row at all is no event
        found = (
            stays.select(ID).join(found, on=ID, how="left").with_columns(pl.col("happened").fill_null(False))
        )
    return found, []


def _ended(window_end: pl.Expr) -> pl.Expr:
    """Whether a stay has been seen to its end, or the event already lies in the window."""
    return pl.col("los_hours").is_not_null() | (pl.col("first") <= window_end).fill_null(value=False)


def _passes(test: Filter, table: str) -> pl.Expr:
    """Whether a row passes a filter; the same as in an event map, as an expression."""
    value = pl.col(test.column)
    if test.kind == "at_least":
        return (value >= test.operand) & value.is_finite()
    if test.kind == "at_most":
        return (value <= test.operand) & value.is_finite()
    spelled = category(value, table, test.column)
    if test.kind == "present":
        return spelled.is_not_null() == pl.lit(test.operand)
    named = test.operand if isinstance(test.operand, list) else [str(test.operand)]
    inside = spelled.is_in(cleaned(named, table, test.column))
    return (~inside if test.kind == "none_of" else inside).fill_null(value=passes_empty(test))


def _of_file(
    stays: pl.DataFrame, table: TableFiles, outcome: OwnOutcome
) -> tuple[pl.DataFrame | None, list[str]]:
    """The same from a table of outcomes: one row a stay and outcome."""
    directory = ClifDirectory(table.path.parent, {table.name: table}, {table.name: schema_of(table)})
    missing = [column for column in COLUMNS if column not in directory.schemas[table.name]]
    if missing:
        raise UserError(
            f"{table.path}: column {missing[0]!r} is missing; a table of outcomes has {', '.join(COLUMNS)}, "
            "one row a stay and outcome, and no time where there was no event."
        )
    check_table(directory, table.name, times=(EVENT_TIME,))
    said = HAPPENED in directory.schemas[table.name]
    rows = directory.scan(
        table.name, times=(EVENT_TIME,), numbers=(HAPPENED,) if said else (), others=(ID, "outcome")
    )
    filled = directory.scan(table.name, others=(EVENT_TIME,)).select(
        (pl.col(EVENT_TIME).str.strip_chars() != "").fill_null(value=False).alias("filled")
    )
    frame = pl.concat([rows, filled], how="horizontal").collect()
    frame = frame.filter(pl.col("outcome").str.strip_chars().str.to_lowercase() == outcome.name)
    if not frame.height:
        return None, [f"{table.path.name} has no row of {outcome.name}: {_nobody(outcome)}"]
    repeated = frame.height - frame[ID].n_unique()
    if repeated:
        raise UserError(
            f"{table.path}: {repeated} rows repeat a hospitalization_id for {outcome.name}; keep one row "
            "a stay, that of the first event."
        )
    broken = int((frame["filled"] & frame[EVENT_TIME].is_null()).sum())
    if broken:
        raise UserError(
            f"{table.path}: {broken} of {frame.height} rows of {outcome.name} have an {EVENT_TIME} that is "
            "no time with its zone, such as 2024-01-31T08:00:00-06:00; leave it empty where there was none."
        )
    happened = pl.col(EVENT_TIME).is_not_null()
    if said:
        odd = int((~frame[HAPPENED].is_in([0.0, 1.0])).fill_null(value=False).sum())
        if odd:
            raise UserError(f"{table.path}: {odd} values of {HAPPENED!r} are neither true nor false.")
        happened = (pl.col(HAPPENED) == 1).fill_null(happened)
    known = frame.join(stays.select(ID), on=ID, how="semi")
    if not known.height:
        raise UserError(
            f"{table.path}: none of {frame.height} values of {ID!r} for {outcome.name} is a stay of the "
            f"study ({frame[ID].drop_nulls().first()!r} here, {stays[ID].first()!r} there); use one form."
        )
    notes = []
    if known.height < frame.height:
        notes.append(
            f"{table.path.name}: {frame.height - known.height:,} of {frame.height:,} rows of {outcome.name} "
            "are of stays that are not in the study; they are left out."
        )
    found = known.select(ID, happened.alias("happened"), pl.col(EVENT_TIME).alias("first"))
    if timeless := found.filter(pl.col("happened") & pl.col("first").is_null()).height:
        notes.append(
            f"{table.path.name}: {timeless:,} events of {outcome.name} have no {EVENT_TIME}; they are taken "
            "to lie in the window, since nobody can say that they do not."
        )
    if outcome.unlisted == "no":
        found = (
            stays.select(ID).join(found, on=ID, how="left").with_columns(pl.col("happened").fill_null(False))
        )
    return found, notes


def _all_of(stays: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """Every stay; those that were not found have no event."""
    frame = stays.select(ID).join(found, on=ID, how="left")
    return frame.with_columns(pl.col("happened").fill_null(value=False))


def _nobody(outcome: OwnOutcome) -> str:
    return f"no stay can tell “{outcome.label}”."


def _told(stays: pl.DataFrame, outcome: OwnOutcome) -> list[str]:
    """What became of the stays, and what the reader should know where one class is all there is."""
    known = stays.drop_nulls(outcome.name)
    counted = known.filter(~pl.col(early(outcome.name)))
    events = int(counted[outcome.name].sum())
    notes = [
        f"{outcome.label}: {events:,} of the {counted.height:,} stays that count have the event; "
        f"{known.height - counted.height:,} had it in the window, {stays.height - known.height:,} are not "
        "known."
    ]
    if counted.height and events == counted.height and outcome.file:
        notes.append(
            f"{outcome.label}: every stay that counts has the event; where stays without a row had none, say "
            "`unlisted: no`."
        )
    return notes
