"""Counts of stays in words and columns, as they may be told (see `small_cells`)."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import polars as pl

from ehrfm_core.small_cells import MIN_CELL, hidden_levels, small, unsafe

FEW = f"fewer than {MIN_CELL}"
UNTOLD = "not told"  # a count of 1 to 10, or one from which such a count would follow
RULE = f"Counts of 1 to {MIN_CELL - 1} stays are not told, nor those from which they would follow."
_IN_WORDS = re.compile(
    r"(?<![\d,.–-])(?<!at least )(?:only )?([\d,]+) (of (?:the |its |their )?([\d,]+) )?"
    r"((?:(?:test|tuning|training|other) )?)(stay|patient|event|death)s?\b"
)


def parts(counts: Mapping[str, int]) -> dict[str, str]:
    """The parts of a known whole, as they may be told.

    >>> parts({"train": 70, "tuning": 10, "test": 20})
    {'train': '70', 'tuning': 'not told', 'test': 'not told'}
    """
    hidden = hidden_levels(np.array([list(counts.values())]))
    return {
        name: UNTOLD if untold else f"{n:,}" for (name, n), untold in zip(counts.items(), hidden, strict=True)
    }


def stays(n: int, whole: int | None = None) -> str:
    """A number of stays as it may be told; of a known `whole`, none that leaves a small one.

    >>> stays(0), stays(4), stays(1234), stays(95, 100)
    ('no stay', 'fewer than 11 stays', '1,234 stays', 'all but fewer than 11 stays')
    """
    if small(n):
        return f"{FEW} stays"
    if whole is not None and small(whole - n):
        return f"all but {FEW} stays"
    return f"{n:,} stays" if n else "no stay"


def number(n: int) -> str:
    """A number of stays or patients by itself.

    >>> number(4), number(1234)
    ('< 11', '1,234')
    """
    return f"< {MIN_CELL}" if small(n) else f"{n:,}"


def people(n: int) -> str:
    """A number of patients.

    >>> people(4), people(1234)
    ('fewer than 11 patients', '1,234 patients')
    """
    return f"{FEW} patients" if small(n) else f"{n:,} patients"


def events(n: int, n_events: int) -> str:
    """Stays with the event among `n` that count, as they may be told.

    >>> events(265, 29), events(265, 2), events(265, 264), events(9, 3)
    ('29 events', 'fewer than 11 events', 'fewer than 11 without the event', 'fewer than 11 stays')
    """
    if small(n):
        return f"{FEW} stays"
    if small(n_events):
        return f"{FEW} events"
    if small(n - n_events):
        return f"{FEW} without the event"
    return f"{n_events:,} event{'s' * (n_events != 1)}"


def sized(n: int, n_events: int) -> str:
    """`n` and events of a figure's caption.

    >>> sized(265, 29), sized(265, 2), sized(9, 3)
    ('n 265, 29 events', 'n 265, fewer than 11 events', 'n fewer than 11')
    """
    return f"n {FEW}" if small(n) else f"n {n:,}, {events(n, n_events)}"


def short(n: int, n_events: int) -> str:
    """Both where there is little room, as in a table's column “n (events)”.

    >>> short(265, 29), short(265, 2), short(265, 264), short(9, 3)
    ('265 (29)', '265 (< 11)', '265 (> 254)', '< 11')
    """
    if small(n):
        return f"< {MIN_CELL}"
    if small(n - n_events):
        return f"{n:,} (> {n - MIN_CELL:,})"
    return f"{n:,} ({f'< {MIN_CELL}' if small(n_events) else f'{n_events:,}'})"


def share(n: int, n_events: int) -> str:
    """Share of events among `n` stays, where neither is a small cell.

    >>> share(200, 30), share(200, 4), share(9, 4), share(200, 200)
    ('15.0 %', 'fewer than 11 events', 'fewer than 11 stays', '100.0 %')
    """
    if n == 0:
        return "—"
    return events(n, n_events) if unsafe(n_events, n) or small(n) else f"{100 * n_events / n:.1f} %"


def part(n: int, whole: int) -> str:
    """Share of a known number of stays.

    >>> part(30, 200), part(3, 200), part(198, 200), part(0, 0)
    ('15.0 %', 'fewer than 11', 'all but fewer than 11', 'none')
    """
    if not n:
        return "none"
    if small(n) or small(whole):
        return FEW
    return f"all but {FEW}" if small(whole - n) else f"{100 * n / whole:.1f} %"


def told_events(n: str = "n", n_events: str = "n_events") -> pl.Expr:
    """A column of events (text) among n, as they may be told."""
    size, events = pl.col(n), pl.col(n_events)
    untold = _few(size) | _few(events) | _few(size - events)
    return (
        pl.when(untold)
        .then(pl.lit(UNTOLD))
        .when(size.is_not_null() & events.is_not_null())
        .then(_thousands(events))
        .alias(n_events)
    )


def sizes(n: str = "n", n_events: str = "n_events") -> pl.Expr:
    """A column `size` (text) of both, as in `sized`.

    >>> pl.DataFrame({"n": [265, 12_065, 9], "n_events": [2, 1_029, 3]}).select(sizes())["size"].to_list()
    ['n 265, fewer than 11 events', 'n 12,065, 1,029 events', 'n fewer than 11']
    """
    size, events = pl.col(n).fill_null(0), pl.col(n_events).fill_null(0)
    told = (
        pl.when(_few(events))
        .then(pl.lit(f"{FEW} events"))
        .when(_few(size - events))
        .then(pl.lit(f"{FEW} without the event"))
        .otherwise(_thousands(events) + pl.lit(" events"))
    )
    both = pl.lit("n ") + _thousands(size) + pl.lit(", ") + told
    return pl.when(_few(size)).then(pl.lit(f"n {FEW}")).otherwise(both).alias("size")


def _few(count: pl.Expr) -> pl.Expr:
    return count.is_between(1, MIN_CELL - 1).fill_null(value=False)


def _thousands(count: pl.Expr) -> pl.Expr:
    """A number in groups of three digits, in polars' own terms: a Python function may not run within them."""
    backwards = count.cast(pl.Int64).cast(pl.String).str.reverse()
    return backwards.str.replace_all(r"(\d{3})", "${1},").str.strip_suffix(",").str.reverse()


def in_words(sentence: str) -> str:
    """A sentence of an importer or an evaluation without its small counts.

    >>> in_words("death at a: only 2 of the 265 test stays have the event.")
    'death at a: fewer than 11 of the 265 test stays have the event.'
    >>> in_words("12 stays of 1 patient; 10.5 events; at least 2 stays")
    '12 stays of fewer than 11 patients; 10.5 events; at least 2 stays'
    >>> in_words("mimic: 270 of 275 stays are of adults")
    'mimic: all but fewer than 11 of 275 stays are of adults'
    """
    return _IN_WORDS.sub(_told, sentence)


def _told(found: re.Match[str]) -> str:
    part = int(found[1].replace(",", "") or 0)
    whole = int(found[3].replace(",", "")) if found[3] else part
    if small(part):
        said = FEW
    elif small(whole - part):
        said = f"all but {FEW}"
    else:
        return found[0]
    return f"{said} {found[2] or ''}{found[4]}{found[5]}s"
