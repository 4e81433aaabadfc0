"""Types of columns: which can be read as what, and what is told where they cannot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from ehrfm_core.clif.files import TableFiles
from ehrfm_core.clif.validation.needs import Needs
from ehrfm_core.clif.validation.report import Finding, Level, of
from ehrfm_core.clif.validation.schemas import Kind
from ehrfm_core.errors import UserError

TYPES: Mapping[Kind, pl.DataType] = {
    "id": pl.String(),
    "time": pl.Datetime("us", "UTC"),
    "number": pl.Float64(),
    "text": pl.String(),
}
NOUNS: Mapping[Kind, str] = {"id": "an id", "time": "a time", "number": "a number", "text": "a category"}
WAYS_OUT: Mapping[Kind, str] = {
    "id": "write ids as text or whole numbers",
    "time": "write it as a date and time with a time zone",
    "number": "write it as a number",
    "text": "write one text a row",
}
ZONE = "give them their zone, in polars for example with dt.replace_time_zone('America/Chicago')"
OFFSET = "write them in ISO 8601 with their offset, as 2020-01-31T08:00:00-06:00"


def fits(dtype: pl.DataType, kind: Kind) -> bool:
    """Whether a column of this type can be read as that kind."""
    if dtype == pl.Null:
        return True
    plain = dtype in (pl.String, pl.Categorical, pl.Enum)
    if kind == "id":
        return plain or dtype.is_integer() or dtype.is_float()
    if kind == "time":
        return dtype == pl.String or isinstance(dtype, pl.Datetime)
    if kind == "number":
        return plain or dtype.is_numeric() or dtype == pl.Boolean
    return not (dtype.is_nested() or dtype == pl.Object or dtype == pl.Duration)


def wrong_type(
    files: TableFiles,
    needs: Needs,
    column: str,
    kind: Kind,
    types: Mapping[Path, Mapping[str, pl.DataType]],
    count: int,
) -> Finding:
    """The finding for a column whose type, in some part, cannot be read as its kind; `types` by part."""
    part, dtype = next(
        (part, columns[column])
        for part, columns in types.items()
        if column in columns and not fits(columns[column], kind)
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


def misread(
    files: TableFiles, needs: Needs, kinds: Mapping[str, Kind], counts: Counter[tuple[str, str]]
) -> list[Finding]:
    """Findings for values that are not what their column should hold.

    `counts` are by (column, what): "bad id", "naive" (no zone), "bad" (text that is no time), "text" (text
    that is no number) and "good" (text that is one); ("", "rows") counts the rows.
    """
    findings = []
    rows = counts["", "rows"]

    def tell(level: Level, column: str, check: str, count: int, total: int, sentence: str) -> None:
        message = f"{files.path.name}: {of(count, total)} {sentence}."
        findings.append(Finding(level, files.name, column, check, count, total, message))

    for column in kinds:
        level = needs.level(files.name, column)
        if count := counts[column, "bad id"]:
            what = f"values of {column} are no whole numbers; write ids as text"
            tell(level, column, "not_an_id", count, rows, what)
        if count := counts[column, "naive"]:
            what = (
                f"times of {column} have no time zone (taken as UTC in the rest of this check); "
                f"{OFFSET if counts[column, 'is text'] else ZONE}"
            )
            tell(level, column, "no_zone", count, rows, what)
        if count := counts[column, "bad"]:
            what = f"values of {column} are not a time and count as missing; {OFFSET}"
            tell(level if count == rows else "warning", column, "not_a_time", count, rows, what)
        if count := counts[column, "text"]:
            good = counts[column, "good"]
            how = "count as missing" if good else "not one is a number"
            what = (
                f"values of {column} are text that is no number ({how}); put numbers into this column and "
                "results in words into another"
            )
            tell("warning" if good else level, column, "not_a_number", count, count + good, what)
    return findings


def unreadable(files: TableFiles, error: BaseException) -> Finding:
    """The finding for a table whose files cannot be read."""
    if isinstance(error, UserError):
        message = str(error).replace(f"{files.path.parent}/", "")
    else:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:100]
        message = f"{files.path.name} is not readable ({reason}); export the table again."
    return Finding("error", files.name, None, "unreadable", 1, None, message)
