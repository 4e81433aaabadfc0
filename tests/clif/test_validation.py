"""Every finding about files, columns, types and stays, on a broken copy of small tables."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ehrfm_core.clif.event_map import load_map
from ehrfm_core.clif.validation.check import check_directory
from ehrfm_core.clif.validation.report import Finding, Report
from tests.make_clif import ID, Tables, make_tables, write_tables
from train.validate import validate

N_STAYS, N_PATIENTS = 16, 12
VITALS, LABS = 40 * N_STAYS, 40 * N_STAYS
Expected = tuple[str, str, str | None, str, int]  # level, table, column, check, count


def check(tables: Tables, folder: Path, events: str = "paper") -> Report:
    return check_directory(write_tables(tables, folder), load_map(events))


def found(report: Report, check: str, table: str, column: str | None = None) -> Finding:
    hits = [f for f in report.findings if (f.check, f.table, f.column) == (check, table, column)]
    assert len(hits) == 1, [(f.check, f.table, f.column) for f in report.findings]
    return hits[0]


def edit(table: str, *exprs: pl.Expr) -> Callable[[Tables], None]:
    def change(tables: Tables) -> None:
        tables[table] = tables[table].with_columns(exprs)

    return change


def drop(table: str, *columns: str) -> Callable[[Tables], None]:
    def change(tables: Tables) -> None:
        tables[table] = tables[table].drop(columns)

    return change


def repeat(table: str, n: int, *exprs: pl.Expr) -> Callable[[Tables], None]:
    def change(tables: Tables) -> None:
        tables[table] = pl.concat([tables[table], tables[table].head(n).with_columns(exprs)])

    return change


def first(n: int, column: str, value: object, rest: pl.Expr | None = None) -> pl.Expr:
    """The column with another value in its first n rows (and with `rest` in the others)."""
    other = value if isinstance(value, pl.Expr) else pl.lit(value)
    rest = pl.col(column) if rest is None else rest
    return pl.when(pl.int_range(pl.len()) < n).then(other).otherwise(rest).alias(column)


ISO = "%Y-%m-%dT%H:%M:%S%:z"
HOSP = "hospitalization"
NULL_TIME = pl.lit(None, dtype=pl.Datetime("us", "UTC"))
CASES: dict[str, tuple[Callable[[Tables], object], Expected, str]] = {
    "no hospitalization": (
        lambda t: t.pop(HOSP),
        ("error", HOSP, None, "missing_table", 0),
        "export it as clif_hospitalization.parquet",
    ),
    "no patient": (lambda t: t.pop("patient"), ("error", "patient", None, "missing_table", 0), "export it"),
    "no labs": (
        lambda t: t.pop("labs"),
        ("warning", "labs", None, "missing_table", 0),
        "events will be missing",
    ),
    "no age": (
        drop(HOSP, "age_at_admission"),
        ("error", HOSP, "age_at_admission", "missing_column", N_STAYS),
        "export it",
    ),
    "no race": (
        drop("patient", "race_category"),
        ("error", "patient", "race_category", "missing_column", N_PATIENTS),
        "export it",
    ),
    "no value": (
        drop("vitals", "vital_value"),
        ("error", "vitals", "vital_value", "missing_column", VITALS),
        "export",
    ),
    "upper case": (
        lambda t: t.update(vitals=t["vitals"].rename({"vital_value": "VITAL_VALUE"})),
        ("error", "vitals", "vital_value", "missing_column", VITALS),
        "rename its column 'VITAL_VALUE'",
    ),
    "no time at all": (
        drop("labs", "lab_result_dttm"),
        ("error", "labs", "lab_result_dttm", "missing_column", LABS),
        "nor is there lab_collect_dttm or lab_order_dttm",
    ),
    "schema alone": (
        lambda t: None,
        ("warning", "medication_admin_continuous", None, "missing_column", 5),
        "med_route_category, med_dose_unit",
    ),
    "collect stands in": (
        lambda t: t.update(labs=t["labs"].rename({"lab_result_dttm": "lab_collect_dttm"})),
        ("warning", "labs", "lab_result_dttm", "time_stands_in", LABS),
        "lab_collect_dttm stands in",
    ),
    "result empty": (
        edit("labs", pl.col("lab_result_dttm").alias("lab_order_dttm"), NULL_TIME.alias("lab_result_dttm")),
        ("warning", "labs", "lab_result_dttm", "time_stands_in", LABS),
        "is empty",
    ),
    "no rows": (
        lambda t: t.update(labs=t["labs"].clear()),
        ("warning", "labs", None, "empty_table", 0),
        "export the table labs again",
    ),
    "no stays": (
        lambda t: t.update({HOSP: t[HOSP].clear()}),
        ("error", HOSP, None, "empty_table", 0),
        "again",
    ),
    "id is a date": (
        edit("vitals", pl.lit(1).cast(pl.Date).alias(ID)),
        ("error", "vitals", ID, "wrong_type", VITALS),
        "write ids as text",
    ),
    "half ids": (
        edit("vitals", pl.lit(pl.Series(ID, [1.5] * 3 + [2.0] * (VITALS - 3)))),
        ("error", "vitals", ID, "not_an_id", 3),
        "write ids as text",
    ),
    "time is a number": (
        edit("vitals", pl.lit(5).alias("recorded_dttm")),
        ("error", "vitals", "recorded_dttm", "wrong_type", VITALS),
        "date and time with a time zone",
    ),
    "time is a date": (
        edit("adt", pl.col("in_dttm").dt.date()),
        ("error", "adt", "in_dttm", "wrong_type", 4 * N_STAYS),
        "date and time with a time zone",
    ),
    "value is a list": (
        edit("vitals", pl.concat_list("vital_value")),
        ("error", "vitals", "vital_value", "wrong_type", VITALS),
        "write it as a number",
    ),
    "category is a struct": (
        edit("adt", pl.struct("location_category")),
        ("error", "adt", "location_category", "wrong_type", 4 * N_STAYS),
        "one text a row",
    ),
    "no zone": (
        edit("vitals", pl.col("recorded_dttm").dt.replace_time_zone(None)),
        ("error", "vitals", "recorded_dttm", "no_zone", VITALS),
        "dt.replace_time_zone",
    ),
    "text without zone": (
        edit("vitals", pl.col("recorded_dttm").dt.strftime("%Y-%m-%d %H:%M:%S")),
        ("error", "vitals", "recorded_dttm", "no_zone", VITALS),
        "with their offset",
    ),
    "some are no time": (
        edit("vitals", first(4, "recorded_dttm", "soon", pl.col("recorded_dttm").dt.strftime(ISO))),
        ("warning", "vitals", "recorded_dttm", "not_a_time", 4),
        "with their offset",
    ),
    "no number at all": (
        edit("vitals", pl.lit("high").alias("vital_value")),
        ("error", "vitals", "vital_value", "not_a_number", VITALS),
        "not one is a number",
    ),
    "some text": (
        edit("labs", first(6, "lab_value_numeric", ">30", pl.col("lab_value_numeric").cast(pl.String))),
        ("warning", "labs", "lab_value_numeric", "not_a_number", 6),
        "put numbers into this column",
    ),
    "nan and infinite": (
        edit(
            "labs", first(1, "lab_value_numeric", float("nan"), first(3, "lab_value_numeric", float("inf")))
        ),
        ("warning", "labs", "lab_value_numeric", "not_finite", 3),
        "leave them empty",
    ),
    "no value filled": (
        edit("labs", pl.lit(None, dtype=pl.Float64).alias("lab_value_numeric")),
        ("warning", "labs", "lab_value_numeric", "empty_column", LABS),
        "export it",
    ),
    "backwards": (
        edit(HOSP, first(2, "discharge_dttm", pl.col("admission_dttm") - timedelta(hours=1))),
        ("error", HOSP, "discharge_dttm", "discharge_before_admission", 2),
        "correct the times",
    ),
    "no discharge": (
        edit(HOSP, first(3, "discharge_dttm", NULL_TIME)),
        ("warning", HOSP, "discharge_dttm", "null_time", 3),
        "have not ended",
    ),
    "no admission": (
        edit(HOSP, NULL_TIME.alias("admission_dttm")),
        ("error", HOSP, "admission_dttm", "null_time", N_STAYS),
        "fill it in",
    ),
    "null stay": (
        edit(HOSP, first(2, ID, None)),
        ("warning", HOSP, ID, "null_id", 2),
        "fill it in",
    ),
    "null patient of a stay": (
        edit(HOSP, first(2, "patient_id", None)),
        ("warning", HOSP, "patient_id", "null_id", 2),
        "fill it in",
    ),
    "null patient": (
        edit("patient", first(2, "patient_id", None)),
        ("warning", "patient", "patient_id", "null_id", 2),
        "fill it in",
    ),
    "null age": (
        edit(HOSP, first(2, "age_at_admission", None)),
        ("warning", HOSP, "age_at_admission", "null_age", 2),
        "fill it in",
    ),
    "old age": (
        edit(HOSP, first(2, "age_at_admission", 300)),
        ("warning", HOSP, "age_at_admission", "impossible_value", 2),
        "0 to 120",
    ),
    "children": (
        edit(HOSP, first(5, "age_at_admission", 7)),
        ("info", HOSP, "age_at_admission", "children", 5),
        "as the cohort is defined",
    ),
    "short": (
        edit(HOSP, first(5, "discharge_dttm", pl.col("admission_dttm") + timedelta(hours=23))),
        ("info", HOSP, "discharge_dttm", "short_stays", 5),
        "as the cohort is defined",
    ),
    "nobody left": (
        edit(HOSP, pl.lit(3).alias("age_at_admission")),
        ("error", HOSP, None, "no_cohort", 0),
        "check patient_id",
    ),
    "stay twice": (
        repeat(HOSP, 2, pl.col("age_at_admission") + 1),
        ("error", HOSP, ID, "repeated_id", 2),
        "keep one row a stay",
    ),
    "stay repeated": (
        repeat(HOSP, 2, pl.col("discharge_category").str.to_uppercase()),
        ("warning", HOSP, ID, "duplicate_rows", 2),
        "keep one row a stay",
    ),
    "patient twice": (
        repeat("patient", 3, pl.lit("Unknown").alias("sex_category")),
        ("error", "patient", "patient_id", "repeated_id", 3),
        "keep one row a patient",
    ),
    "two patients": (
        repeat(HOSP, 1, pl.lit("p5").alias("patient_id")),
        ("error", HOSP, ID, "two_patients", 1),
        "an id of its own",
    ),
    "patient unknown": (
        lambda t: t.update(patient=t["patient"].filter(pl.col("patient_id") != "p1")),
        ("warning", HOSP, "patient_id", "orphans", 1),
        "export these patients too",
    ),
    "all patients unknown": (
        edit("patient", (pl.lit("x") + pl.col("patient_id")).alias("patient_id")),
        ("error", HOSP, "patient_id", "orphans", N_STAYS),
        "one form",
    ),
}


def told(folder: Path, capsys: pytest.CaptureFixture[str], *key: str | None) -> tuple[dict[str, Any], int]:
    """The finding with this check, table and column, as the command prints it, and its exit status."""
    capsys.readouterr()
    status = validate(folder, as_json=True)
    findings = json.loads(capsys.readouterr().out)["findings"]
    hits = [f for f in findings if (f["check"], f["table"], f["column"]) == key]
    assert len(hits) == 1, [(f["check"], f["table"], f["column"]) for f in findings]
    return hits[0], status


@pytest.mark.parametrize("case", CASES)
def test_a_broken_table_is_told(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    break_it, (level, table, column, name, count), words = CASES[case]
    tables = make_tables()
    break_it(tables)
    write_tables(tables, tmp_path)
    finding, status = told(tmp_path, capsys, name, table, column)
    assert (finding["level"], finding["count"]) == (level, count)
    assert f"clif_{table}" in finding["message"]
    assert words in finding["message"]
    assert column is None or column in finding["message"]
    assert f"{count:,}" in finding["message"]
    assert finding["message"].endswith(".")
    assert status == (level == "error")


def test_whole_tables_have_no_error(tmp_path: Path) -> None:
    report = check(make_tables(), tmp_path / "site")
    assert report.count("error") == 0
    assert report.clif_version == "2.1"
    assert found(report, "cohort", HOSP).count == N_STAYS
    assert validate(tmp_path / "site") == 0


def test_few_backward_stays_are_a_warning(tmp_path: Path) -> None:
    tables = make_tables(patients=120)
    edit(HOSP, first(1, "discharge_dttm", pl.col("admission_dttm") - timedelta(hours=1)))(tables)
    assert (
        found(check(tables, tmp_path), "discharge_before_admission", HOSP, "discharge_dttm").level
        == "warning"
    )


def test_categories_in_version_3_are_recognised(tmp_path: Path) -> None:
    tables = make_tables()
    spelled = {"Nasal Cannula": "nasal_cannula", "IMV": "imv"}
    tables["respiratory_support"] = tables["respiratory_support"].with_columns(
        pl.col("device_category").replace(spelled), pl.col("mode_category").str.to_lowercase()
    )
    for table in ("patient", HOSP):
        tables[table] = tables[table].with_columns(
            (pl.col(pl.String).exclude(ID, "patient_id")).str.to_lowercase().str.replace_all(r"[ -]", "_")
        )
    report = check(tables, tmp_path)
    assert report.clif_version == "3.0"
    assert "unknown_category" not in {f.check for f in report.findings if f.table in ("patient", HOSP)}


@pytest.mark.parametrize("kind", ["missing", "file", "empty"])
def test_no_directory_of_tables(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "site"
    if kind == "file":
        folder.write_text("x")
    elif kind == "empty":
        folder.mkdir()
    assert validate(folder) == 1
    text = " ".join(capsys.readouterr().out.split())
    assert "export it as clif_hospitalization" in text if kind == "empty" else "not a folder" in text


@pytest.mark.parametrize("damage", ["garbage", "cut", "zeroed", "empty"])
def test_an_unreadable_file_does_not_hide_the_others(damage: str, tmp_path: Path) -> None:
    tables = make_tables()
    edit("adt", first(2, ID, "nobody"))(tables)
    write_tables(tables, tmp_path)
    path = tmp_path / "clif_vitals.parquet"
    whole = path.read_bytes()
    middle = len(whole) // 3
    path.write_bytes(
        {
            "garbage": b"nonsense" * 100,
            "cut": whole[:middle],
            "zeroed": whole[:8] + bytes(middle) + whole[8 + middle :],
            "empty": b"",
        }[damage]
    )
    report = check_directory(tmp_path, load_map("paper"))
    broken = next(f for f in report.findings if f.check == "unreadable")
    assert (broken.level, broken.table) == ("error", "vitals")
    assert "clif_vitals.parquet" in broken.message
    assert "export the table again" in broken.message
    assert found(report, "orphans", "adt", ID).count == 2


def test_an_unreadable_table_of_stays(tmp_path: Path) -> None:
    write_tables(make_tables(), tmp_path)
    (tmp_path / "clif_hospitalization.parquet").write_bytes(b"nonsense")
    report = check_directory(tmp_path, load_map("paper"))
    assert found(report, "unreadable", HOSP).level == "error"
    assert report.survival == ()
    assert {size.table: size.rows for size in report.tables}["vitals"] == VITALS


def test_a_table_twice_and_a_table_unknown(tmp_path: Path) -> None:
    tables = make_tables()
    tables["lab"] = tables["labs"]
    report = check(tables, tmp_path)
    assert found(report, "unknown_table", "lab").level == "info"
    tables["labs"].write_csv(tmp_path / "clif_labs.csv")
    report = check_directory(tmp_path, load_map("paper"))
    assert "twice" in found(report, "unreadable_folder", "").message
    assert {size.table for size in report.tables} >= {"labs", "vitals"}  # the others are checked still


def test_stays_without_a_discharge_count_up_to_their_last_vital(tmp_path: Path) -> None:
    tables = make_tables()
    vitals = tables["vitals"].group_by(ID).agg(pl.col("recorded_dttm").max().alias("last"))
    tables["hospitalization"] = tables["hospitalization"].with_columns(
        pl.lit(None, dtype=pl.Datetime("us", "UTC")).alias("discharge_dttm")
    )
    stays = tables["hospitalization"].join(vitals, on=ID)
    seen = stays.filter(pl.col("last") - pl.col("admission_dttm") >= timedelta(hours=24)).height
    report = check(tables, tmp_path)
    assert 0 < seen <= N_STAYS
    assert found(report, "cohort", HOSP).count == seen
    assert found(report, "null_time", HOSP, "discharge_dttm").count == N_STAYS
