"""Rows of one table: ids, times and numbers that are missing, repeats, orphans, and times that do not fit."""

from __future__ import annotations

import polars as pl

from ehrfm_core.clif.validation.needs import ID, PATIENT, STATIC_TABLES, Needs
from ehrfm_core.clif.validation.opening import OpenTable, collect
from ehrfm_core.clif.validation.report import Finding, Level, of
from ehrfm_core.clif.validation.schemas import key_columns, orders
from ehrfm_core.clif.validation.stays import Stays
from ehrfm_core.cohort import EDGE_HOURS

Counts = dict[str, int]


def check_rows(table: OpenTable, needs: Needs, stays: Stays | None) -> list[Finding]:
    """All checks of rows, from one pass over the table."""
    if not table.rows:
        return []
    n = _count(table, stays)
    in_use = needs.uses(table.name)
    findings = _numbers(table, needs, n)
    if table.name not in STATIC_TABLES:
        findings += _repeats(table, n) if in_use else []
        findings += _times(table, needs, n)
        findings += _belonging(table, in_use, stays, n)
    findings += _orders(table, n)
    return findings


def _key(table: OpenTable) -> str | None:
    """The id that ties rows to stays, or to patients where there is no other."""
    return next((key for key in (ID, PATIENT) if table.has(key)), None)


def _count(table: OpenTable, stays: Stays | None) -> Counts:
    kinds = table.kinds
    times = [column for column, kind in kinds.items() if kind == "time"]
    asked = {f"filled {column}": pl.col(column).count() for column in kinds}
    for column, kind in kinds.items():
        if kind == "number":
            asked[f"finite {column}"] = pl.col(column).is_finite().sum()
    for earlier, later, strict in orders(table.name):
        if table.has(earlier, later) and table.name != "hospitalization":
            wrong = pl.col(earlier) >= pl.col(later) if strict else pl.col(earlier) > pl.col(later)
            asked[f"order {earlier} {later}"] = wrong.sum()
            asked[f"pairs {earlier} {later}"] = wrong.count()
    frame = table.frame
    key = _key(table)
    if table.name not in STATIC_TABLES:
        asked["distinct"] = _fingerprint(list(kinds)).n_unique()
        keys = key_columns(table.name)
        if keys and table.has(*keys):
            asked["distinct keys"] = _fingerprint(keys).n_unique()
        if stays is not None and key == ID:
            known = stays.frame.lazy().select(
                ID, pl.col("admission").alias("stay admission"), pl.col("discharge").alias("stay discharge")
            )
            frame = frame.join(known.with_columns(pl.lit(1).alias("stay known")), on=ID, how="left")
            asked["own"] = pl.col("stay known").count()
            edge = pl.duration(hours=EDGE_HOURS)
            for column in times:
                before = pl.col(column) < pl.col("stay admission") - edge
                after = pl.col(column) > pl.col("stay discharge") + edge
                asked[f"before {column}"], asked[f"after {column}"] = before.sum(), after.sum()
            asked["smallest id"] = pl.col(ID).min()
        elif stays is not None and key == PATIENT and stays.patients is not None:
            asked["own"] = pl.col(PATIENT).is_in(stays.patients.implode()).sum()
            asked["smallest id"] = pl.col(PATIENT).min()
    return collect(frame.select(expr.alias(name) for name, expr in asked.items())).row(0, named=True)


def _fingerprint(columns: list[str]) -> pl.Expr:
    """One number a row, equal for rows that are equal in these columns: much smaller to count than the rows.

    Of ten million rows, two that differ share a number with a probability below 10⁻⁵.
    """
    hashes = (pl.col(column).hash(seed) for seed, column in enumerate(columns))
    return pl.sum_horizontal(hashes)


def _numbers(table: OpenTable, needs: Needs, n: Counts) -> list[Finding]:
    findings = []
    for column, kind in table.kinds.items():
        if kind != "number":
            continue
        filled, finite = n[f"filled {column}"], n[f"finite {column}"]
        told = any(f.column == column and f.check == "not_a_number" for f in table.findings)
        if filled > finite and not told:
            message = (
                f"{table.file}: {of(filled - finite, filled)} values of {column} are NaN or infinite and "
                "count as "
                "missing; leave them empty."
            )
            findings.append(
                Finding("warning", table.name, column, "not_finite", filled - finite, filled, message)
            )
        if not filled and column in [s.value for s in needs.sources(table.name) if s.code]:
            message = (
                f"{table.file}: {column} is empty in all {table.rows:,} rows, so that its events have no "
                "value; "
                "export it."
            )
            findings.append(
                Finding("warning", table.name, column, "empty_column", table.rows, table.rows, message)
            )
    return findings


def _repeats(table: OpenTable, n: Counts) -> list[Finding]:
    findings = []
    if repeated := table.rows - n["distinct"]:
        message = (
            f"{table.file}: {of(repeated, table.rows)} rows repeat another row in every column that CLIF "
            "knows, "
            "and their events count twice; export each row once."
        )
        findings.append(Finding("warning", table.name, None, "duplicate_rows", repeated, table.rows, message))
    shared = n["distinct"] - n.get("distinct keys", n["distinct"])
    if shared > 0:
        keys = key_columns(table.name)
        message = (
            f"{table.file}: {of(shared, table.rows)} rows share {', '.join(keys)} with another row but say "
            "something else; all of them become events: see whether one is a correction of the other."
        )
        findings.append(Finding("info", table.name, keys[-1], "shared_key", shared, table.rows, message))
    return findings


def _times(table: OpenTable, needs: Needs, n: Counts) -> list[Finding]:
    """Whether each entry of the map finds its time; missing columns and wrong types are told elsewhere."""
    findings: list[Finding] = []
    choices = needs.times(table.name)
    chosen: list[str] = []
    for times in choices:
        present = [time for time in times if table.has(time)]
        time = next((time for time in present if n[f"filled {time}"]), None)
        if present and time is None:
            message = (
                f"{table.file}: {' and '.join(present)} hold no time in any of {table.rows:,} rows, so that "
                "events are missing; export the time of each row."
            )
            level: Level = "error" if len(choices) == 1 else "warning"
            findings.append(
                Finding(level, table.name, present[0], "null_time", table.rows, table.rows, message)
            )
        elif time is not None:
            chosen.append(time)
            if time != times[0] and (times[0] in present or times[0] not in table.present):
                message = (
                    f"{table.file}: {times[0]} is {'empty' if times[0] in present else 'not there'} "
                    f"({table.rows:,} rows); {time} stands in, so that values enter the first 24 h "
                    "before they "
                    f"were known; export {times[0]}."
                )
                findings.append(
                    Finding(
                        "warning", table.name, times[0], "time_stands_in", table.rows, table.rows, message
                    )
                )
    for time in dict.fromkeys(chosen):
        missing = table.rows - n[f"filled {time}"] - table.spoiled.get(time, 0)
        if missing:
            # of several times of a row, such as that of leaving a place, one may well be unknown
            level = "warning" if len(choices) == 1 else "info"
            message = (
                f"{table.file}: {of(missing, table.rows)} rows have no {time} and are left out where it "
                "is the time "
                "of an event; fill it in."
            )
            findings.append(Finding(level, table.name, time, "null_time", missing, table.rows, message))
    return findings


def _belonging(table: OpenTable, in_use: bool, stays: Stays | None, n: Counts) -> list[Finding]:
    key = _key(table)
    if key is None:
        return []
    findings: list[Finding] = []
    filled = n[f"filled {key}"]
    bad: Level = "error" if in_use else "warning"
    if lost := table.rows - filled:
        message = f"{table.file}: {of(lost, table.rows)} rows have no {key} and are left out; fill it in."
        level: Level = "warning" if filled else bad
        findings.append(Finding(level, table.name, key, "null_id", lost, table.rows, message))
    if "own" not in n or stays is None or not filled:
        return findings
    home = "clif_hospitalization" if key == ID else "clif_patient"
    known = stays.frame[ID] if key == ID else stays.patients
    if known is None or not len(known):
        return findings
    orphans = filled - n["own"]
    if not n["own"]:
        message = (
            f"{table.file}: none of {filled:,} rows has a {key} that is in {home} ({n['smallest id']!r} "
            "here, "
            f"{known.min()!r} there); write ids in one form in both tables."
        )
        findings.append(Finding(bad, table.name, key, "orphans", orphans, filled, message))
        return findings
    if orphans:
        message = (
            f"{table.file}: {of(orphans, filled)} rows have a {key} that is not in {home} and are left out; "
            "export all stays, or leave this out if it is meant."
        )
        findings.append(Finding("warning", table.name, key, "orphans", orphans, filled, message))
    if key == ID and in_use:
        findings += _outside(table, n)
    return findings


def _outside(table: OpenTable, n: Counts) -> list[Finding]:
    findings = []
    for column, kind in table.kinds.items():
        if kind != "time":
            continue
        before, after = n[f"before {column}"], n[f"after {column}"]
        if before + after:
            message = (
                f"{table.file}: {of(before + after, n['own'])} rows have {column} more than {EDGE_HOURS} "
                "h before "
                f"admission ({before:,}) or after discharge ({after:,}) of their stay; they are left out "
                "where "
                "this is the time of an event: check dates, time zone and id."
            )
            findings.append(
                Finding("warning", table.name, column, "outside_stay", before + after, n["own"], message)
            )
    return findings


def _orders(table: OpenTable, n: Counts) -> list[Finding]:
    findings = []
    for earlier, later, strict in orders(table.name):
        wrong, pairs = n.get(f"order {earlier} {later}", 0), n.get(f"pairs {earlier} {later}", 0)
        if wrong:
            message = (
                f"{table.file}: in {of(wrong, pairs)} rows {earlier} is "
                f"{'not before' if strict else 'after'} "
                f"{later}; check how both are exported."
            )
            findings.append(Finding("warning", table.name, later, "time_order", wrong, pairs, message))
    return findings
