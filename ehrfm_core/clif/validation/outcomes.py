"""Which outcomes a directory cannot tell."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from ehrfm_core.clif.files import TableFiles
from ehrfm_core.clif.validation.categories import Values
from ehrfm_core.clif.validation.opening import OpenTable
from ehrfm_core.clif.validation.report import Finding

# outcome: table, column, the category that it needs, and what it is called
NEEDED = {
    "icu": ("adt", "location_category", "icu", "ICU admission after 24 h"),
    "imv": ("respiratory_support", "device_category", "imv", "ventilation after 24 h"),
    "death": ("hospitalization", "discharge_category", "expired", "in-hospital death"),
}


def check_outcomes(
    files: Mapping[str, TableFiles],
    tables: Mapping[str, OpenTable],
    values: Mapping[str, Mapping[str, Values]],
) -> list[Finding]:
    """A warning for each outcome that cannot be told, or that no stay has."""
    findings = []
    for outcome, (name, column, wanted, label) in NEEDED.items():
        if name in files and name not in tables:
            continue  # unreadable, which is told already
        table = tables.get(name)
        file = table.file if table else f"clif_{name}"
        cannot = f"so that the outcome {label} cannot be told"
        total = table.rows if table else 0
        found = values.get(name, {}).get(column)
        if table is None:
            message = f"{file} is not there (0 rows of {column}), {cannot}; export it."
        elif not table.rows:
            message = f"{file} has 0 rows (no {column}), {cannot}; export it."
        elif found is None:
            message = f"{file} has no readable {column} ({total:,} rows), {cannot}; export it."
        elif found.empty == total:
            message = f"{file}: {column} is empty in all {total:,} rows, {cannot}; export it."
        elif not found.frame.filter(pl.col("spelled") == wanted).height:
            message = (
                f"{file}: none of {total:,} rows has the {column} {wanted!r}, so that no stay has the "
                "outcome "
                f"{label}; see whether it is written in another way."
            )
        else:
            continue
        findings.append(Finding("warning", name, column, f"outcome_{outcome}", total, total or None, message))
    return findings
