"""What a check of a CLIF directory says: findings, sizes of tables, and what becomes of their rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

Level = Literal["error", "warning", "info"]
LEVELS: tuple[Level, ...] = ("error", "warning", "info")


@dataclass(frozen=True)
class Finding:
    """One thing to know about a directory.

    An `error` stops a study or makes it wrong, a `warning` loses or blurs part of it, an `info` is as it
    should be and good to know. `check` is a short name for machines; `count` of `total` rows (or stays, or
    values) are concerned, `total` being None where there is nothing to compare with. `message` is one
    sentence that names file, table, column and count and the way out.
    """

    level: Level
    table: str
    column: str | None
    check: str
    count: int
    total: int | None
    message: str


@dataclass(frozen=True)
class TableSize:
    """A table that was found: its file or folder, rows and number of files.

    `rows` is None where the table was not read: it cannot be, or CLIF has no such table. `used` tells
    whether a study with this event map reads it.
    """

    table: str
    file: str
    rows: int | None
    parts: int
    used: bool


@dataclass(frozen=True)
class Survival:
    """What becomes of a table's rows: `own` belong to a stay of the cohort, `events` of them become events.

    `share` is events / rows, None for an empty table.
    """

    table: str
    rows: int
    own: int
    events: int
    share: float | None


@dataclass(frozen=True)
class Report:
    """The check of one directory.

    `clif_version` is 2.1 or 3.0, whichever schema's categories the tables use as written, or None where
    nothing tells them apart. `events` names the event map. Findings come errors first, then by table,
    column and check.
    """

    folder: str
    events: str
    clif_version: str | None
    tables: tuple[TableSize, ...]
    findings: tuple[Finding, ...]
    survival: tuple[Survival, ...]

    def count(self, level: Level) -> int:
        """Number of findings of a level."""
        return sum(finding.level == level for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values, with the number of findings by level under `counts`."""
        value = asdict(self)
        value["counts"] = {level: self.count(level) for level in LEVELS}
        for key in ("tables", "findings", "survival"):
            value[key] = list(value[key])
        return value


def sort_findings(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Errors first, then by table, column and check; the same sentence only once."""
    return tuple(
        sorted(
            set(findings),
            key=lambda f: (LEVELS.index(f.level), f.table, f.column or "", f.check, f.message),
        )
    )


def of(count: int, total: int) -> str:
    """A count in a sentence.

    >>> of(3, 12_000)
    '3 of 12,000'
    """
    return f"{count:,} of {total:,}"


def listed(items: Iterable[str], *, most: int = 5) -> str:
    """The first items in a sentence, and how many more there are.

    >>> listed(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    texts = list(items)
    more = f" and {len(texts) - most:,} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more
