"""Values that cannot be, by clifpy's ranges, and units of labs that are not the ones clifpy expects."""

from __future__ import annotations

import polars as pl

from ehrfm_core.clif.columns import category
from ehrfm_core.clif.validation.needs import Needs
from ehrfm_core.clif.validation.opening import OpenTable, collect
from ehrfm_core.clif.validation.report import Finding, listed, of
from ehrfm_core.clif.validation.schemas import (
    MEASURED,
    lab_units,
    plain_ranges,
    ranges_by_category,
    unit_spelling,
)

NO_UNIT = "(no units)"
SAME_UNIT = "write one unit a category, that of clifpy's labs schema, and convert the values"


def check_ranges(table: OpenTable, needs: Needs) -> list[Finding]:
    """Values outside clifpy's ranges, one finding a column."""
    findings = []
    plain = {c: r for c, r in plain_ranges(table.name).items() if table.kinds.get(c) == "number"}
    if plain and table.rows:
        asked = []
        for column, (lowest, highest) in plain.items():
            value = pl.col(column).filter(pl.col(column).is_finite())
            asked += [
                (~value.is_between(lowest, highest)).sum().alias(f"{column} out"),
                value.count().alias(f"{column} n"),
            ]
        n = collect(table.frame.select(asked)).row(0, named=True)
        for column, (lowest, highest) in plain.items():
            what = f"{lowest:g} to {highest:g}"
            findings += _impossible(table, needs, column, n[f"{column} out"], n[f"{column} n"], what)
    for (name, column), (code, unit) in MEASURED.items():
        if name == table.name and table.rows and table.has(column, code):
            findings += _by_category(table, needs, column, code, unit)
    return findings


def _impossible(
    table: OpenTable, needs: Needs, column: str, count: int, total: int, ranges: str
) -> list[Finding]:
    if not count:
        return []
    used = column in {source.value for source in needs.sources(table.name)}
    as_is = " (they are used as they are: the outermost bins take them up)" if used else ""
    message = (
        f"{table.file}: {of(count, total)} values of {column} lie outside clifpy's ranges: {ranges}; check "
        f"unit and source{as_is}."
    )
    return [Finding("warning", table.name, column, "impossible_value", count, total, message)]


def _by_category(table: OpenTable, needs: Needs, column: str, code: str, unit: str | None) -> list[Finding]:
    """First the extremes of each category, then a count for those that reach out of their range alone."""
    ranges = ranges_by_category(table.name, column)
    if unit is not None and not table.has(unit):
        return []
    keys = {"code": pl.col(code), "unit": pl.col(unit) if unit else pl.lit(None, dtype=pl.String)}
    rows = table.frame.select(**keys, value=pl.col(column)).filter(pl.col("value").is_finite())
    extremes = collect(
        rows.group_by("code", "unit").agg(
            pl.len().alias("n"), pl.col("value").min().alias("low"), pl.col("value").max().alias("high")
        )
    )
    found = extremes.with_columns(
        category(pl.col("code"), table.name, code).alias("spelled"),
        pl.col("unit").map_elements(unit_spelling, return_dtype=pl.String).alias("spelled_unit"),
    ).join(ranges, on=["spelled", "spelled_unit"], nulls_equal=True)
    beyond = found.filter((pl.col("low") < pl.col("lowest")) | (pl.col("high") > pl.col("highest")))
    if beyond.is_empty():
        return []
    outside = (pl.col("value") < pl.col("lowest")) | (pl.col("value") > pl.col("highest"))
    counted = collect(
        rows.join(beyond.lazy().drop("n", "low", "high"), on=["code", "unit"], nulls_equal=True)
        .group_by("spelled", "spelled_unit", "lowest", "highest")
        .agg(outside.sum().alias("out"))
    ).sort(["out", "spelled", "spelled_unit"], descending=[True, False, False], nulls_last=True)
    worst = (
        f"{row['spelled']}{' in ' + row['spelled_unit'] if unit else ''} {row['out']:,} "
        f"(not {row['lowest']:g} to {row['highest']:g})"
        for row in counted.iter_rows(named=True)
    )
    count = int(counted["out"].sum())
    return _impossible(table, needs, column, count, int(found["n"].sum()), listed(worst))


def check_lab_units(table: OpenTable) -> list[Finding]:
    """Labs in units other than clifpy's reference units, in several units, and without one."""
    if table.name != "labs" or not table.rows or not table.has("lab_category", "reference_unit"):
        return []
    units, canonical = lab_units()
    written = collect(
        table.frame.group_by("lab_category", "reference_unit").agg(pl.len().alias("n"))
    ).with_columns(category(pl.col("lab_category"), "labs", "lab_category").alias("lab"))
    known = pl.DataFrame({"lab": list(units), "expected": list(units.values())})
    text = pl.col("reference_unit").map_elements(unit_spelling, return_dtype=pl.String)
    labs = (
        written.join(known, on="lab")
        .with_columns(pl.when(text != "").then(text).alias("text"))
        .with_columns(pl.col("text").replace(canonical).alias("unit"))
        .group_by("lab", "unit", "expected")
        .agg(pl.col("n").sum())
        .sort(["n", "lab", "unit"], descending=[True, False, False])
    )
    total = int(labs["n"].sum())
    with_unit = labs.filter(pl.col("unit").is_not_null())
    other = with_unit.filter(pl.col("unit") != pl.col("expected"))
    none = labs.filter(pl.col("unit").is_null() & (pl.col("expected") != NO_UNIT))
    several = with_unit.group_by("lab").agg(
        pl.len().alias("units"), pl.col("n").sum(), pl.format("{} ({})", "unit", "n").alias("told")
    )
    several = several.filter(pl.col("units") > 1).sort(["n", "lab"], descending=[True, False])
    findings = []
    if count := int(other["n"].sum()):
        names = listed(
            f"{row['lab']} {row['n']:,} in {row['unit']} (not {row['expected']})"
            for row in other.iter_rows(named=True)
        )
        message = (
            f"{table.file}: {of(count, total)} rows have a reference_unit other than clifpy's: {names}; "
            f"{SAME_UNIT}, "
            "or two hospitals will not mean the same by a value."
        )
        findings.append(Finding("warning", "labs", "reference_unit", "other_unit", count, total, message))
    if several.height:
        names = listed(
            f"{row['lab']} in {' and '.join(row['told'])}" for row in several.iter_rows(named=True)
        )
        count = int(several["n"].sum())
        message = (
            f"{table.file}: {several.height} lab_category stand in more than one reference_unit "
            f"({of(count, total)} "
            f"rows): {names}; values of one category share their bins: {SAME_UNIT}."
        )
        findings.append(Finding("warning", "labs", "reference_unit", "several_units", count, total, message))
    if count := int(none["n"].sum()):
        names = listed(f"{row['lab']} {row['n']:,}" for row in none.iter_rows(named=True))
        message = (
            f"{table.file}: {of(count, total)} rows have no reference_unit where clifpy expects one: "
            f"{names}; fill it "
            "in, so that a wrong unit shows."
        )
        findings.append(Finding("warning", "labs", "reference_unit", "null_unit", count, total, message))
    return findings
