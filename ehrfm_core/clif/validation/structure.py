"""Tables and columns that are missing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ehrfm_core.clif.files import TableFiles
from ehrfm_core.clif.validation.needs import STATIC_TABLES, Needs
from ehrfm_core.clif.validation.opening import OpenTable
from ehrfm_core.clif.validation.report import Finding, Level
from ehrfm_core.clif.validation.schemas import schema


def missing_tables(folder: Path, files: Mapping[str, TableFiles], needs: Needs) -> list[Finding]:
    """Tables that are not there: an error for those of the stays, else their events are missing."""
    findings = []
    for name in needs.tables:
        if name in files:
            continue
        level: Level = "error" if name in STATIC_TABLES else "warning"
        consequence = "without it there are no stays" if level == "error" else "its events will be missing"
        message = (
            f"clif_{name} is not in {folder.name or folder} (0 files): {consequence}; export it as "
            f"clif_{name}.parquet or .csv."
        )
        findings.append(Finding(level, name, None, "missing_table", 0, None, message))
    return findings


def unknown_tables(files: Mapping[str, TableFiles], needs: Needs) -> list[Finding]:
    """Files named like a table of CLIF that is none, by clifpy's schemas: perhaps a slip in the name."""
    return [
        Finding(
            "info",
            name,
            None,
            "unknown_table",
            len(found.parts),
            None,
            f"{found.path.name}: {name} is no table that clifpy's schemas know ({len(found.parts)} "
            "files); it is not "
            "checked: see that the name is meant.",
        )
        for name, found in files.items()
        if name not in needs.tables and not schema(name).versions
    ]


def check_columns(table: OpenTable, needs: Needs, version: str | None) -> list[Finding]:
    """Columns that are not there, and tables without rows.

    A missing column is an error where a study cannot do without it, else a warning: its events are missing,
    or clifpy's schema alone requires it (one finding a table then, since nothing in a study hangs on it).
    """
    absent = [column for column in needs.needed(table.name) if column not in table.present]
    findings = [_missing(table, column, "error", "a study cannot do without it") for column in absent]
    choices = needs.times(table.name)
    timeless = [times for times in choices if not table.present.intersection(times)]
    for times in timeless:
        what = "its events are missing" + (f", nor is there {' or '.join(times[1:])}" if times[1:] else "")
        # an error only where no entry of the map has a time, so that the table gives nothing at all
        level: Level = "error" if len(timeless) == len(choices) else "warning"
        findings.append(_missing(table, times[0], level, what))
    told = {finding.column for finding in findings}
    told |= {times[0] for times in choices if len(times) > 1}  # told with the time that stands in for it
    schema_version, required = table.schema.required(version)
    missing = [column for column in required if column not in table.present and column not in told]
    used = [column for column in missing if column in needs.reads(table.name)]
    findings += [_missing(table, column, "warning", "what it says is missing from events") for column in used]
    if rest := [column for column in missing if column not in used]:
        message = (
            f"{table.file}: {len(rest)} of {len(required)} columns that clifpy's schema of CLIF "
            f"{schema_version} "
            f"requires are not there: {', '.join(rest)}; a study does without, but export them for others."
        )
        column = rest[0] if len(rest) == 1 else None
        findings.append(
            Finding("warning", table.name, column, "missing_column", len(rest), len(required), message)
        )
    if not table.rows and needs.uses(table.name):
        level = "error" if table.name in STATIC_TABLES else "warning"
        message = f"{table.file} has 0 rows; export the table {table.name} again."
        findings.append(Finding(level, table.name, None, "empty_table", 0, 0, message))
    return findings


def _missing(table: OpenTable, column: str, level: Level, why: str) -> Finding:
    other = next((name for name in sorted(table.present) if name.strip().lower() == column), None)
    way = f"rename its column {other!r}" if other else "export it"
    message = f"{table.file}: the column {column} is not there ({table.rows:,} rows): {why}; {way}."
    return Finding(level, table.name, column, "missing_column", table.rows, table.rows, message)
