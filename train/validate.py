"""`python -m train validate`: check a CLIF directory and print what was found."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

from ehrfm_core.clif.event_map import load_map
from ehrfm_core.clif.validation.check import check_directory
from ehrfm_core.clif.validation.report import LEVELS, Level, Report

WIDTH = 120
INDENT = 10
NOUNS: dict[Level, str] = {"error": "error", "warning": "warning", "info": "note"}


def validate(folder: Path, *, as_json: bool = False, events: str = "paper") -> int:
    """Check a directory and print the report; return the exit status, 1 where there are errors.

    Raises UserError where the event map cannot be read.
    """
    report = check_directory(folder, load_map(events))
    if as_json:
        print(json.dumps(report.to_json(), indent=2, ensure_ascii=False))
    else:
        print("\n".join(lines(report)))
    return 1 if report.count("error") else 0


def lines(report: Report) -> list[str]:
    """The report as text of at most 120 columns, ending with one line of summary."""
    version = (
        f"CLIF {report.clif_version}, by its categories" if report.clif_version else "CLIF version unclear"
    )
    return [f"{report.folder} ({version})", *_tables(report), *_findings(report), "", summary(report)]


def _tables(report: Report) -> list[str]:
    if not report.tables:
        return []
    survival = {entry.table: entry for entry in report.survival}
    width = max(len("table"), *(len(size.table) for size in report.tables))
    head = f"{'table':<{width}} {'rows':>13} {'files':>6}"
    head += f" {'of the cohort':>15} {'become events':>15} {'share':>8}"
    out = ["", head, "-" * len(head)]
    for size in report.tables:
        rows = "not read" if size.rows is None else f"{size.rows:,}"
        line = f"{size.table:<{width}} {rows:>13} {size.parts:>6}"
        if entry := survival.get(size.table):
            share = "–" if entry.share is None else f"{entry.share:.1%}"
            line += f" {entry.own:>15,} {entry.events:>15,} {share:>8}"
        out.append(line)
    return [
        *out,
        f"Events by the map {report.events!r}: rows of the cohort's stays, and those that become events.",
    ]


def _findings(report: Report) -> list[str]:
    """Findings level by level; those of tables that no study with this map reads come last, under a line."""
    unused = {size.table for size in report.tables if not size.used}
    out = []
    for aside in (False, True):
        told = [finding for finding in report.findings if (finding.table in unused) == aside]
        if told and aside:
            out += ["", f"In tables that a study with the map {report.events!r} does not read:"]
        for level in LEVELS:
            wrapped = [_wrapped(level, finding.message) for finding in told if finding.level == level]
            out += [""] * bool(wrapped) + [line for lines in wrapped for line in lines]
    return out


def _wrapped(level: str, message: str) -> list[str]:
    return textwrap.wrap(
        message,
        WIDTH,
        initial_indent=f"{level:<{INDENT}}",
        subsequent_indent=" " * INDENT,
        break_on_hyphens=False,
    )


def summary(report: Report) -> str:
    """One line: how many findings of each level, and what follows."""
    counts = {noun: report.count(level) for level, noun in NOUNS.items()}
    told = ", ".join(f"{n} {noun}{'' if n == 1 else 's'}" for noun, n in counts.items())
    if counts["error"]:
        return f"{told}: mend the errors, then check again."
    return f"{told}: a study can be made{'; read the warnings first' if counts['warning'] else ''}."
