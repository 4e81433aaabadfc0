"""The stays of a directory: what is wrong with them and their patients, and which of them make the cohort."""

from __future__ import annotations

from dataclasses import dataclass, replace

import polars as pl

from ehrfm_core.clif.columns import category
from ehrfm_core.clif.validation.needs import ADMISSION, AGE, DISCHARGE, ID, PATIENT, Needs
from ehrfm_core.clif.validation.opening import OpenTable, collect
from ehrfm_core.clif.validation.report import Finding, Level, of
from ehrfm_core.clif.validation.types import TYPES
from ehrfm_core.cohort import ADULT_YEARS, EDGE_HOURS, OLDEST_YEARS
from ehrfm_core.outcomes import WINDOW_HOURS

FEW = 0.01  # this share of stays that end before they begin is a slip of the pen, more is a broken export
TIME = TYPES["time"]


@dataclass(frozen=True)
class Stays:
    """The stays that events are checked against.

    `frame` has one row a hospitalization_id, sorted: hospitalization_id, patient_id, admission, discharge,
    start, end (UTC) and cohort (adult, at least 24 h). `patients` are the known ids of patients, None where
    the table is not there.
    """

    frame: pl.DataFrame
    patients: pl.Series | None
    findings: tuple[Finding, ...]


def read_stays(tables: dict[str, OpenTable], needs: Needs) -> Stays | None:
    """Stays and what is wrong with them; None without a readable table of hospitalizations."""
    table = tables.get("hospitalization")
    if table is None or not table.has(ID):
        return None
    columns = [column for column in needs.reads("hospitalization") if table.has(column)]
    absent = [column for column in (PATIENT, ADMISSION, DISCHARGE, AGE) if column not in columns]
    rows = collect(table.frame.select(columns))
    findings = _repeated(table, rows, ID)
    rows = rows.with_columns(pl.lit(None, dtype=_type(column)).alias(column) for column in absent)
    findings += _two_patients(table, rows)
    # of rows that differ, the same one whatever their order
    stays = rows.drop_nulls(ID).group_by(ID).agg(pl.col(PATIENT, ADMISSION, DISCHARGE, AGE).min()).sort(ID)
    open_findings = [] if DISCHARGE in absent else _open(table, stays)
    stays = _observed(stays, tables.get("vitals"))
    hours = (pl.col(DISCHARGE) - pl.col(ADMISSION)).dt.total_microseconds() / 3.6e9
    known = pl.col(PATIENT).is_not_null() & pl.col(AGE).is_finite() & hours.is_not_null()
    adult = pl.col(AGE).is_between(ADULT_YEARS, OLDEST_YEARS)
    stays = stays.with_columns(
        hours.alias("hours"), (known & adult & (hours >= WINDOW_HOURS)).fill_null(value=False).alias("cohort")
    )
    findings += open_findings + _times(table, stays, absent)
    findings += _cohort(table, stays, absent, rows[ID].null_count())
    patients = None
    if (patient := tables.get("patient")) is not None and patient.has(PATIENT):
        read = [column for column in needs.reads("patient") if patient.has(column)]
        people = collect(patient.frame.select(read))
        findings += _repeated(patient, people, PATIENT)
        if lost := people[PATIENT].null_count():
            sentence = f"{patient.file}: {of(lost, people.height)} rows have no patient_id; fill it in."
            level: Level = "error" if lost == people.height else "warning"
            findings.append(Finding(level, "patient", PATIENT, "null_id", lost, people.height, sentence))
        patients = people[PATIENT].drop_nulls().unique().sort()
    frame = stays.select(
        ID,
        PATIENT,
        pl.col(ADMISSION).alias("admission"),
        pl.col(DISCHARGE).alias("discharge"),
        pl.col(ADMISSION).alias("start"),
        pl.col(DISCHARGE).alias("end"),
        "cohort",
    )
    return Stays(frame, patients, tuple(findings))


def _type(column: str) -> pl.DataType:
    if column == AGE:
        return TYPES["number"]
    return TIME if column in (ADMISSION, DISCHARGE) else TYPES["id"]


def add_edges(stays: Stays, vitals: OpenTable) -> Stays:
    """The stays with start and end moved out to their first and last vital, if within 24 h of the stay."""
    if not vitals.has(ID, "recorded_dttm"):
        return stays
    edge = pl.duration(hours=EDGE_HOURS)
    near = pl.col("time").is_between(pl.col("admission") - edge, pl.col("discharge") + edge)
    charted = collect(
        vitals.frame.select(ID, pl.col("recorded_dttm").alias("time"))
        .join(stays.frame.lazy().select(ID, "admission", "discharge"), on=ID)
        .filter(near)
        .group_by(ID)
        .agg(pl.col("time").min().alias("first"), pl.col("time").max().alias("last"))
    )
    frame = stays.frame.join(charted, on=ID, how="left", maintain_order="left").with_columns(
        start=pl.min_horizontal("start", "first"), end=pl.max_horizontal("end", "last")
    )
    return replace(stays, frame=frame.drop("first", "last"))


def _open(table: OpenTable, stays: pl.DataFrame) -> list[Finding]:
    """Stays without a discharge: taken as not ended."""
    missing, total = stays[DISCHARGE].null_count(), stays.height
    if not missing:
        return []
    message = (
        f"{table.file}: {of(missing, total)} stays have no {DISCHARGE} and are taken to have not ended: seen "
        "up to their last vital, of unknown length; fill it in where they have."
    )
    level: Level = "error" if missing == total else "warning"
    return [Finding(level, table.name, DISCHARGE, "null_time", missing, total, message)]


def _observed(stays: pl.DataFrame, vitals: OpenTable | None) -> pl.DataFrame:
    """The stays, with the time of the last vital in place of a discharge that is not there."""
    endless = stays.filter(pl.col(DISCHARGE).is_null()).select(ID, ADMISSION)
    if endless.is_empty() or vitals is None or not vitals.has(ID, "recorded_dttm"):
        return stays
    last = collect(
        vitals.frame.select(ID, pl.col("recorded_dttm").alias("time"))
        .join(endless.lazy(), on=ID)
        .filter(pl.col("time") >= pl.col(ADMISSION))
        .group_by(ID)
        .agg(pl.col("time").max().alias("last"))
    )
    stays = stays.join(last, on=ID, how="left", maintain_order="left")
    return stays.with_columns(pl.coalesce(DISCHARGE, "last").alias(DISCHARGE)).drop("last")


def _repeated(table: OpenTable, rows: pl.DataFrame, key: str) -> list[Finding]:
    """Ids on several rows: an error where the rows differ, a warning where they are the same."""
    texts = [c for c in rows.columns if table.kinds[c] == "text"]  # in whatever spelling, it is the same
    filled = rows.drop_nulls(key).with_columns(category(pl.col(c), table.name, c).alias(c) for c in texts)
    distinct = filled.unique()
    findings = []
    ids = distinct.group_by(key).len().filter(pl.col("len") > 1)
    noun = "stay" if key == ID else "patient"
    if ids.height:
        total = distinct[key].n_unique()
        message = (
            f"{table.file}: {of(ids.height, total)} {key} stand on rows that differ, for example "
            f"{ids[key].min()!r}; keep one row a {noun}."
        )
        findings.append(Finding("error", table.name, key, "repeated_id", ids.height, total, message))
    if same := filled.height - distinct.height:
        message = f"{table.file}: {of(same, rows.height)} rows are repeated; keep one row a {noun} by {key}."
        findings.append(Finding("warning", table.name, key, "duplicate_rows", same, rows.height, message))
    return findings


def _two_patients(table: OpenTable, rows: pl.DataFrame) -> list[Finding]:
    patients = rows.drop_nulls(ID).group_by(ID).agg(pl.col(PATIENT).drop_nulls().n_unique().alias("n"))
    shared = patients.filter(pl.col("n") > 1)
    if shared.is_empty():
        return []
    message = (
        f"{table.file}: {of(shared.height, patients.height)} {ID} belong to more than one {PATIENT}, for "
        f"example {shared[ID].min()!r}; give every stay an id of its own."
    )
    return [Finding("error", table.name, ID, "two_patients", shared.height, patients.height, message)]


def _times(table: OpenTable, stays: pl.DataFrame, absent: list[str]) -> list[Finding]:
    findings = []
    total = stays.height
    for column, what in (
        (PATIENT, "null_id"),
        (ADMISSION, "null_time"),
        (AGE, "null_age"),
    ):
        if column in absent:
            continue
        missing = stays[column].null_count()
        if column == AGE:
            missing = total - int(stays[AGE].is_finite().sum())
        if missing:
            message = (
                f"{table.file}: {of(missing, total)} stays have no {column} and are left out of the "
                "cohort; fill it in."
            )
            level: Level = "error" if missing == total else "warning"
            findings.append(Finding(level, table.name, column, what, missing, total, message))
    if backwards := int((stays["hours"] < 0).sum()):
        message = (
            f"{table.file}: {of(backwards, total)} stays have a {DISCHARGE} before their {ADMISSION} and "
            "are left "
            "out of the cohort; correct the times, and see whether both are in one time zone."
        )
        level = "warning" if backwards < FEW * total else "error"
        findings.append(
            Finding(level, table.name, DISCHARGE, "discharge_before_admission", backwards, total, message)
        )
    return findings


def _cohort(table: OpenTable, stays: pl.DataFrame, absent: list[str], null_ids: int) -> list[Finding]:
    findings = []
    total = stays.height
    if null_ids:
        level: Level = "error" if null_ids == table.rows else "warning"
        message = f"{table.file}: {of(null_ids, table.rows)} rows have no {ID} and are left out; fill it in."
        findings.append(Finding(level, table.name, ID, "null_id", null_ids, table.rows, message))
    if absent or not total:
        return findings
    short = int(stays["hours"].is_between(0, WINDOW_HOURS, closed="left").sum())
    children = int(stays["age_at_admission"].is_between(0, ADULT_YEARS, closed="left").sum())
    n = int(stays["cohort"].sum())
    told: list[tuple[str, str, int, str]] = [
        (DISCHARGE, "short_stays", short, f"last less than 24 h ({DISCHARGE} − {ADMISSION})"),
        (AGE, "children", children, f"are of patients under {ADULT_YEARS} ({AGE})"),
    ]
    for column, check, count, what in told:
        if count:
            message = (
                f"{table.file}: {of(count, total)} stays {what} and are left out, as the cohort is defined."
            )
            findings.append(Finding("info", table.name, column, check, count, total, message))
    way = "" if n else f"; check {PATIENT}, {ADMISSION}, {DISCHARGE} and {AGE}"
    message = f"{table.file}: {of(n, total)} stays are of adults and last 24 h or more: the cohort{way}."
    level = "info" if n else "error"
    findings.append(Finding(level, table.name, None, "cohort" if n else "no_cohort", n, total, message))
    return findings


def orphan_stays(table: OpenTable, stays: Stays) -> list[Finding]:
    """Stays whose patient is not in the table of patients."""
    if stays.patients is None:
        return []
    ids = stays.frame[PATIENT].drop_nulls()
    lost = ids.filter(~ids.is_in(stays.patients.implode()))
    if not len(lost):
        return []
    if len(lost) == len(ids):
        ours = stays.patients.min()
        message = (
            f"{table.file}: none of {len(ids):,} stays has a {PATIENT} that is in clif_patient "
            f"({lost.min()!r} here, "
            f"{ours!r} there); write ids in one form in both tables."
        )
        return [Finding("error", table.name, PATIENT, "orphans", len(lost), len(ids), message)]
    message = (
        f"{table.file}: {of(len(lost), len(ids))} stays have a {PATIENT} that is not in clif_patient, "
        "for example "
        f"{lost.min()!r}; their race, ethnicity and sex are unknown; export these patients too."
    )
    return [Finding("warning", table.name, PATIENT, "orphans", len(lost), len(ids), message)]
