"""The check of a CLIF directory, from its files to a report."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import polars as pl

from ehrfm_core.clif.event_map import EventMap
from ehrfm_core.clif.files import TableFiles, find_tables
from ehrfm_core.clif.validation.categories import (
    Values,
    check_categories,
    guess_version,
    read_values,
    version_votes,
)
from ehrfm_core.clif.validation.doses import check_doses
from ehrfm_core.clif.validation.needs import STATIC_TABLES, Needs
from ehrfm_core.clif.validation.opening import OpenTable, open_table
from ehrfm_core.clif.validation.outcomes import check_outcomes
from ehrfm_core.clif.validation.ranges import check_lab_units, check_ranges
from ehrfm_core.clif.validation.report import Finding, Report, Survival, TableSize, sort_findings
from ehrfm_core.clif.validation.rows import check_rows
from ehrfm_core.clif.validation.schemas import schema
from ehrfm_core.clif.validation.stays import add_edges, orphan_stays, read_stays
from ehrfm_core.clif.validation.structure import check_columns, missing_tables, unknown_tables
from ehrfm_core.clif.validation.survival import survive
from ehrfm_core.clif.validation.types import unreadable
from ehrfm_core.errors import UserError

# a damaged file can break polars in its own core, past its exceptions
UNREADABLE = (UserError, OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException)


def check_directory(folder: Path, events: EventMap) -> Report:
    """Check a folder of CLIF tables against clifpy's schemas and against what a study with `events` reads.

    Whatever is wrong with the folder becomes a finding; nothing is raised for it and nothing is changed in
    it. The order of rows does not matter.
    """
    needs = Needs(events)
    problems: list[str] = []
    try:
        files = find_tables(folder, problems)
    except (UserError, OSError) as error:
        finding = Finding("error", "", None, "unreadable_folder", 1, None, str(error))
        return Report(str(folder), events.name, None, (), (finding,), ())
    findings = [Finding("error", "", None, "unreadable_folder", 1, None, problem) for problem in problems]
    findings += [*missing_tables(folder, files, needs), *unknown_tables(files, needs)]
    tables: dict[str, OpenTable] = {}
    values: dict[str, dict[str, Values]] = {}
    for name in sorted(files, key=lambda name: (name not in STATIC_TABLES, name)):
        if not _is_clif(name, needs):
            continue
        try:
            tables[name] = open_table(files[name], needs)
            values[name] = read_values(tables[name], needs)
        except UNREADABLE as error:
            tables.pop(name, None)
            findings.append(unreadable(files[name], error))
    votes: Counter[str] = sum((version_votes(tables[name], values[name]) for name in tables), Counter())
    version = guess_version(votes)

    survival: list[Survival] = []
    try:
        stays = read_stays(tables, needs)
    except UNREADABLE as error:
        stays = None
        findings.append(unreadable(files["hospitalization"], error))
    if stays is not None and "vitals" in tables:
        try:
            stays = add_edges(stays, tables["vitals"])
        except UNREADABLE as error:
            del tables["vitals"]
            findings.append(unreadable(files["vitals"], error))
    if stays is not None:
        findings += [*stays.findings, *orphan_stays(tables["hospitalization"], stays)]
    for name, table in tables.items():
        findings += table.findings
        try:
            findings += check_columns(table, needs, version)
            findings += check_rows(table, needs, stays)
            findings += check_categories(table, needs, values[name])
            findings += check_ranges(table, needs)
            findings += check_lab_units(table)
            findings += check_doses(table, needs)
            if stays is not None and needs.sources(name):
                survival.append(survive(table, needs, values[name], stays))
        except UNREADABLE as error:
            findings.append(unreadable(files[name], error))
    findings += check_outcomes(files, tables, values)
    return Report(
        str(folder),
        events.name,
        version,
        tuple(_size(files[name], tables.get(name), needs) for name in sorted(files)),
        sort_findings(findings),
        tuple(sorted(survival, key=lambda entry: needs.tables.index(entry.table))),
    )


def _is_clif(name: str, needs: Needs) -> bool:
    return needs.uses(name) or bool(schema(name).versions)


def _size(files: TableFiles, table: OpenTable | None, needs: Needs) -> TableSize:
    rows = table.rows if table else None
    return TableSize(files.name, files.path.name, rows, len(files.parts), needs.uses(files.name))
