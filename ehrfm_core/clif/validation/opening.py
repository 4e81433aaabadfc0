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
from ehrfm_core.clif.validation.report import Finding, of
from ehrfm_core.clif.validation.schemas import Kind, Schema, schema
from ehrfm_core.errors import UserError

TYPES: Mapping[Kind, pl.DataType] = {
    "id": pl.String(),
    "time": pl.Datetime("us", "UTC"),
    "number": pl.Float64(),
    "text": pl.String(),
}
# of text without an offset, and of dates alone
NAIVE_FORMATS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M", "%m/%d/%Y %H:%M")
NOUNS: Mapping[Kind, str] = {"id": "an id", "time": "a time", "number": "a number", "text": "a category"}
WAYS_OUT: Mapping[Kind, str] = {
    "id": "write ids as text or whole numbers",
    "time": "write it as a date and time with a time zone",
    "number": "write it as a number",
    "text": "write one text a row",
}
ZONE = "give them their zone, in polars for example with dt.replace_time_zone('America/Chicago')"
OFFSET = "write them in ISO 8601 with their offset, as 2020-01-31T08:00:00-06:00"


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
    parts = {part: scan_part(part) for part in files.parts}
    types = {part: dict(frame.collect_schema()) for part, frame in parts.items()}
    present = frozenset(name for columns in types.values() for name in columns)
    kinds = {column: kind for column, kind in kinds.items() if column in present}

    counts: Counter[tuple[str, str]] = Counter()
    for part, frame in parts.items():
        counts.update(_count(frame, part, types[part], kinds))
    rows = counts["", "rows"]
    wrong = {column for column in kinds if counts["", f"wrong {column}"]}
    findings = [
        _wrong_type(files, needs, column, kinds[column], types, counts["", f"wrong {column}"])
        for column in sorted(wrong)
    ]
    findings += _misread(files, needs, kinds, counts)
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


def _fits(dtype: pl.DataType, kind: Kind) -> bool:
    if dtype == pl.Null:
        return True
    plain = dtype in (pl.String, pl.Categorical, pl.Enum)
    if kind == "id":
        return plain or dtype.is_integer() or dtype.is_float() or dtype == pl.Binary
    if kind == "time":
        return dtype == pl.String or isinstance(dtype, pl.Datetime)
    if kind == "number":
        return plain or dtype.is_numeric() or dtype == pl.Boolean
    return not (dtype.is_nested() or dtype in (pl.Object, pl.Binary))


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
        if not _fits(dtype, kind):
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
    if dtype is None or dtype == pl.Null or not _fits(dtype, kind):
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


def _wrong_type(
    files: TableFiles,
    needs: Needs,
    column: str,
    kind: Kind,
    types: Mapping[Path, Mapping[str, pl.DataType]],
    count: int,
) -> Finding:
    part, dtype = next(
        (part, columns[column])
        for part, columns in types.items()
        if column in columns and not _fits(columns[column], kind)
    )
    where = files.path.name if part == files.path else f"{files.path.name} ({part.name})"
    return Finding(
        needs.level(files.name, column),
        files.name,
        column,
        "wrong_type",
        count,
        None,
        f"{where}: {column} is {dtype} and not {NOUNS[kind]} ({count:,} values); {WAYS_OUT[kind]}.",
    )


def _misread(
    files: TableFiles, needs: Needs, kinds: Mapping[str, Kind], counts: Counter[tuple[str, str]]
) -> list[Finding]:
    findings = []
    file, rows = files.path.name, counts["", "rows"]
    for column in kinds:
        level = needs.level(files.name, column)
        if count := counts[column, "bad id"]:
            sentence = f"{of(count, rows)} values of {column} are no whole numbers; write ids as text."
            findings.append(
                Finding(level, files.name, column, "not_an_id", count, rows, f"{file}: {sentence}")
            )
        if count := counts[column, "naive"]:
            sentence = (
                f"{of(count, rows)} times of {column} have no time zone (taken as UTC in the rest of this "
                f"check); {OFFSET if counts[column, 'is text'] else ZONE}."
            )
            findings.append(Finding(level, files.name, column, "no_zone", count, rows, f"{file}: {sentence}"))
        if count := counts[column, "bad"]:
            all_bad = count == rows and level == "error"
            sentence = f"{of(count, rows)} values of {column} are not a time and count as missing; {OFFSET}."
            findings.append(
                Finding(
                    "error" if all_bad else "warning",
                    files.name,
                    column,
                    "not_a_time",
                    count,
                    rows,
                    f"{file}: {sentence}",
                )
            )
        if count := counts[column, "text"]:
            none = not counts[column, "good"] and level == "error"
            sentence = (
                f"{of(count, count + counts[column, 'good'])} values of {column} are text that is no number"
                f"{': not one is a number' if none else ', and count as missing'}; "
                "put numbers into this column and results in words into another."
            )
            findings.append(
                Finding(
                    "error" if none else "warning",
                    files.name,
                    column,
                    "not_a_number",
                    count,
                    count + counts[column, "good"],
                    f"{file}: {sentence}",
                )
            )
    return findings


def unreadable(files: TableFiles, error: BaseException) -> Finding:
    """The finding for a table whose files cannot be read."""
    if isinstance(error, UserError):
        message = str(error).replace(f"{files.path.parent}/", "")
    else:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:100]
        message = f"{files.path.name} is not readable ({reason}); export the table again."
    return Finding("error", files.name, None, "unreadable", 1, None, message)
