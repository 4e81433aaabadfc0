"""Units of doses that clifpy cannot bring to a base unit: their events lose the value."""

from __future__ import annotations

import polars as pl

from ehrfm_core.clif.units import base_units
from ehrfm_core.clif.validation.needs import Needs
from ehrfm_core.clif.validation.opening import OpenTable, collect
from ehrfm_core.clif.validation.report import Finding, listed, of


def check_doses(table: OpenTable, needs: Needs) -> list[Finding]:
    """One finding a table whose doses the event map converts."""
    source = next((s for s in needs.sources(table.name) if s.unit), None)
    if source is None or not source.unit or not table.has(source.unit, source.value) or not table.rows:
        return []
    filled = pl.col(str(source.value)).is_finite()
    counted = collect(table.frame.filter(filled).group_by(source.unit).len()).drop_nulls(source.unit)
    units = dict(counted.sort("len", source.unit, descending=[True, False]).iter_rows())
    known = base_units(sorted(units))
    odd = {unit: n for unit, n in units.items() if known[unit] is None}
    if not odd:
        return []
    count, total = sum(odd.values()), sum(units.values())
    named = listed(f"{unit!r} ({n:,})" for unit, n in odd.items())
    message = (
        f"{table.file}: {of(count, total)} values of {source.value} have a {source.unit} that clifpy cannot "
        f"convert: {named}; their events have no value: write them in mass, volume or units (mcg/min, ml/hr, "
        "units)."
    )
    return [Finding("warning", table.name, source.unit, "unknown_dose_unit", count, total, message)]
