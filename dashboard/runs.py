"""Training runs on the screen: which to show at first, in which colours, and whether one is still alive."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from dashboard import theme
from ehrfm_core.study.runs import RUNNING, Run

AT_FIRST = 4  # runs shown before anything is chosen
AT_MOST = 2 * len(theme.SITE_COLOURS)
_SILENT = timedelta(minutes=10)


@dataclass(frozen=True)
class Drawn:
    """A run as it is drawn: two of one colour differ in dash and symbol."""

    run: Run
    label: str
    colour: str
    dash: str
    symbol: str


def drawn(chosen: Sequence[Run], every: Iterable[str]) -> list[Drawn]:
    """Colours, dashes and labels of the chosen runs.

    Where the folder holds few runs a run has the same colour whatever else is chosen. Labels name the kind
    of data where it is not the same for all.
    """
    order = list(every)
    if len(order) > len(theme.SITE_COLOURS):
        order = [run.name for run in chosen]
    mixed = len({run.synthetic for run in chosen}) > 1
    found = []
    for run in chosen:
        turn, place = divmod(order.index(run.name), len(theme.SITE_COLOURS))
        kind = (" · synthetic" if run.synthetic else " · real") if mixed else ""
        state = "" if run.status != RUNNING else " · silent" if silent(run) else " · running"
        colour = theme.SITE_COLOURS[place]
        found.append(
            Drawn(
                run,
                f"{run.name}{kind}{state}",
                colour,
                ("solid", "dash")[turn % 2],
                theme.MODEL_SYMBOLS[place],
            )
        )
    return found


def at_first(runs: Mapping[str, Run], current: str, *, synthetic: bool) -> list[str]:
    """The run of the current study, and those it can be compared with: same kind of data, same tokens.

    Those going on come first, then the last written. Where the study has no run they are those of its kind
    of data that can be compared with the first of them.
    """
    kind = sorted((run for run in runs.values() if run.synthetic == synthetic), key=_recent)
    first = runs.get(current, kind[0] if kind else None)
    if first is None:
        return []
    alike = [run.name for run in kind if run.tokenizer == first.tokenizer is not None and run is not first]
    return [first.name, *alike][:AT_FIRST]


def _recent(run: Run) -> tuple[bool, float, str]:
    return run.status != RUNNING, -run.updated.timestamp() if run.updated else 0.0, run.name


def silent(run: Run, now: datetime | None = None) -> timedelta | None:
    """How long nothing has been heard of a run that goes on; None where that is no longer than usual."""
    if run.status != RUNNING or run.updated is None:
        return None
    between = run.curve["seconds"].diff().median()
    usual = timedelta(seconds=10 * between) if isinstance(between, float) and between > 0 else _SILENT
    since = (now or datetime.now(UTC)) - run.updated
    return since if since > max(usual, _SILENT) else None


def duration(seconds: float | None) -> str | None:
    """A length of time in two units at most.

    >>> duration(42), duration(754), duration(4 * 3600 + 120), duration(200_000), duration(None)
    ('42 s', '12 min 34 s', '4 h 2 min', '2 d 7 h', None)
    """
    if seconds is None:
        return None
    total = max(0, round(seconds))
    units = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
    for (size, name), (below, least) in pairwise(units):
        if total >= size:
            rest = total % size // below
            return f"{total // size} {name}" + (f" {rest} {least}" if rest else "")
    return f"{total} s"
