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
    """Tables in use that are not there: an error for those of the stays, else the table's events are missing."""
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
            f"{found.path.name}: {name} is no table that clifpy's schemas know ({len(found.parts)} files); it is not "
            "checked: see that the name is meant.",
        )
        for name, found in files.items()
        if name not in needs.tables and not schema(name).versions
    ]


def check_columns(table: OpenTable, needs: Needs, version: str | None) -> list[Finding]:
    """Columns that are not there, and tables without rows."""
    needed = needs.needed(table.name)
    findings = []
    for column in needed:
        if column not in table.present:
            findings.append(_missing(table, column, "error", "a study cannot do without it"))
    choices = [times for times in needs.times(table.name) if not table.present.intersection(times)]
    timeless = len(choices) == len(needs.times(table.name))  # no entry of the map has a time at all
    for times in choices:
        what = "its events are missing" + (f", nor is there {' or '.join(times[1:])}" if times[1:] else "")
        findings.append(_missing(table, times[0], "error" if timeless else "warning", what))
    told = {finding.column for finding in findings}
    stand_ins = {time for times in needs.times(table.name) for time in times} if not timeless else set()
    for column in dict.fromkeys((*table.schema.required(version), *needs.statics(table.name))):
        if column in table.present or column in told:
            continue
        if (
            table.rows
            and column in stand_ins
            and any(column == t[0] and len(t) > 1 for t in needs.times(table.name))
        ):
            continue  # told with the time that stands in for it
        what = f"clifpy's schema of CLIF {version or table.schema.versions[0]} requires it"
        used = needs.reads(table.name) if table.name in needs.tables else []
        what += ", and its tokens are missing" if column in used else "; a study does without it"
        findings.append(_missing(table, column, "warning", what))
    if not table.rows and table.name in needs.tables:
        level: Level = "error" if table.name in STATIC_TABLES else "warning"
        message = f"{table.file} has 0 rows; export the table {table.name} again."
        findings.append(Finding(level, table.name, None, "empty_table", 0, 0, message))
    return findings


def _missing(table: OpenTable, column: str, level: Level, why: str) -> Finding:
    other = next((name for name in sorted(table.present) if name.strip().lower() == column), None)
    way = f"rename its column {other!r}" if other else "export it"
    message = f"{table.file}: the column {column} is not there ({table.rows:,} rows): {why}; {way}."
    return Finding(level, table.name, column, "missing_column", table.rows, table.rows, message)
