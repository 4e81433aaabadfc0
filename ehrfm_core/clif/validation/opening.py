"""Opening a table for the check: each column in one form, and what is wrong with its type."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ehrfm_core.clif.columns import id_text, number, time_utc
from ehrfm_core.clif.files import TableFiles, scan_part
from ehrfm_core.clif.validation.needs import Needs
from ehrfm_core.clif.validation.report import Finding
from ehrfm_core.clif.validation.schemas import Kind, Schema, schema
from ehrfm_core.clif.validation.types import TYPES, fits, misread, wrong_type

# of text without an offset, and of dates alone
NAIVE_FORMATS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M", "%m/%d/%Y %H:%M")


@dataclass(frozen=True)
class OpenTable:
    """A table ready to be asked.

    `present` are the columns on disk, `kinds` those that can be read, as which kind; `frame` holds the
    latter: ids and categories as text, times in UTC, numbers as Float64 (text that is no number is NaN).
    `spoiled` counts values of a column that are text but no time or no number.
    """

    files: TableFiles
    schema: Schema
    rows: int
    present: frozenset[str]
    kinds: Mapping[str, Kind]
    frame: pl.LazyFrame
    spoiled: Mapping[str, int]
    findings: tuple[Finding, ...]

    @property
    def name(self) -> str:
        """Name of the table."""
        return self.files.name

    @property
    def file(self) -> str:
        """Its file or folder, as named in messages."""
        return self.files.path.name

    def has(self, *columns: str | None) -> bool:
        """Whether all columns can be read."""
        return all(column in self.kinds for column in columns if column)


def collect(frame: pl.LazyFrame) -> pl.DataFrame:
    """Run a query in pieces, so that a large table does not have to fit into memory."""
    return frame.collect(engine="streaming")


def open_table(files: TableFiles, needs: Needs) -> OpenTable:
    """Open a table and check the types of its columns.

    Raises UserError where a file cannot be read.
    """
    known = schema(files.name)
    kinds: dict[str, Kind] = {column.name: column.kind for column in known.columns.values()}
    kinds |= needs.kinds(files.name)
    parts = {part: _decoded(scan_part(part)) for part in files.parts}
    types = {part: dict(frame.collect_schema()) for part, frame in parts.items()}
    present = frozenset(name for columns in types.values() for name in columns)
    kinds = {column: kind for column, kind in kinds.items() if column in present}

    counts: Counter[tuple[str, str]] = Counter()
    for part, frame in parts.items():
        counts.update(_count(frame, part, types[part], kinds))
    rows = counts["", "rows"]
    wrong = {column for column in kinds if counts["", f"wrong {column}"]}
    findings = [
        wrong_type(files, needs, column, kinds[column], types, counts["", f"wrong {column}"])
        for column in sorted(wrong)
    ]
    findings += misread(files, needs, kinds, counts)
    readable = {column: kind for column, kind in kinds.items() if column not in wrong}
    naive = {column for column in readable if counts[column, "naive"]}
    frame = pl.concat(
        [
            frame.select(
                *(
                    _read(part, column, types[part].get(column), kind, naive=column in naive)
                    for column, kind in readable.items()
                )
            )
            for part, frame in parts.items()
        ]
    )
    spoiled = {c: counts[c, "bad"] + counts[c, "text"] for c in readable}
    spoiled = {column: count for column, count in spoiled.items() if count}
    return OpenTable(files, known, rows, present, readable, frame, spoiled, tuple(findings))


def _decoded(frame: pl.LazyFrame) -> pl.LazyFrame:
    """The same with bytes as text; bytes that are no text are null."""
    return frame.with_columns(pl.selectors.binary().cast(pl.String, strict=False))


def _count(
    frame: pl.LazyFrame, part: Path, types: Mapping[str, pl.DataType], kinds: Mapping[str, Kind]
) -> Counter[tuple[str, str]]:
    """Rows of one part, and values of suspicious types that are not what their column should hold."""
    asked: dict[tuple[str, str], pl.Expr] = {("", "rows"): pl.len()}
    texts = []
    for column, kind in kinds.items():
        dtype = types.get(column)
        if dtype is None or dtype == pl.Null:
            continue
        filled = pl.col(column).count()
        if not fits(dtype, kind):
            asked["", f"wrong {column}"] = filled
        elif kind == "id" and dtype.is_float():
            asked[column, "bad id"] = filled - id_text(part, column, dtype).count()
        elif kind == "time" and dtype == pl.String:
            texts.append(column)
            asked[column, "bad"] = _filled_text(column).sum() - time_utc(part, column, dtype).count()
        elif kind == "time" and getattr(dtype, "time_zone", None) is None:
            asked[column, "naive"] = filled
        elif kind == "number" and not (dtype.is_numeric() or dtype == pl.Boolean):
            text = _filled_text(column)
            good = pl.col(column).cast(pl.String).str.strip_chars().cast(pl.Float64, strict=False).count()
            asked |= {(column, "text"): text.sum() - good, (column, "good"): good}
    counts = _ask(frame, asked)
    counts.update({(column, "is text"): 1 for column in texts})
    # only where some text is no time with an offset is it worth to look whether it is one without
    doubtful = {(c, "naive"): _naive(c).count() for c in texts if counts[c, "bad"]}
    if doubtful:
        found = _ask(frame, doubtful)
        counts.update(found)
        counts.subtract({(column, "bad"): count for (column, _), count in found.items()})
    return counts


def _ask(frame: pl.LazyFrame, asked: Mapping[tuple[str, str], pl.Expr]) -> Counter[tuple[str, str]]:
    answers = collect(frame.select(expr.alias(str(i)) for i, expr in enumerate(asked.values()))).row(0)
    return Counter(dict(zip(asked, map(int, answers), strict=True)))


def _filled_text(column: str) -> pl.Expr:
    return (pl.col(column).cast(pl.String).str.strip_chars() != "").fill_null(value=False)


def _naive(column: str) -> pl.Expr:
    """Text that is a date and time without an offset, in UTC for want of better."""
    text = pl.col(column).str.strip_chars()
    return pl.coalesce(
        *(text.str.to_datetime(form, time_unit="us", strict=False) for form in NAIVE_FORMATS),
        text.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us")),
    ).dt.replace_time_zone("UTC")


def _read(part: Path, column: str, dtype: pl.DataType | None, kind: Kind, *, naive: bool) -> pl.Expr:
    """A column in its one form; null where this part does not have it."""
    if dtype is None or dtype == pl.Null or not fits(dtype, kind):
        return pl.lit(None, dtype=TYPES[kind]).alias(column)
    if kind == "id":
        return id_text(part, column, dtype).alias(column)
    if kind == "number":
        return number(part, column, dtype).alias(column)
    if kind == "text":
        return pl.col(column).cast(pl.String)
    if dtype == pl.String:
        aware = time_utc(part, column, dtype)
        return (pl.coalesce(aware, _naive(column)) if naive else aware).alias(column)
    if getattr(dtype, "time_zone", None) is None:
        return pl.col(column).dt.cast_time_unit("us").dt.replace_time_zone("UTC")
    return time_utc(part, column, dtype)
