from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ehrfm_core.clif.event_map import load_map
from ehrfm_core.clif.validation.check import check_directory
from ehrfm_core.clif.validation.report import Report
from ehrfm_core.clif.validation.schemas import load
from ehrfm_core.synthesis.charted import MAKERS
from ehrfm_core.synthesis.hospital import EPOCH, SITES
from ehrfm_core.synthesis.tables import LOCAL, texts
from tests.synthesis.make_hospital import ID, Simulated, Written

PATIENT = "patient_id"
TABLES = list(MAKERS)
BY_SITE = pytest.mark.parametrize("site", SITES)
BY_TABLE = pytest.mark.parametrize("table", TABLES)


@pytest.fixture(params=["written", "alike"])
def hospitals(request: pytest.FixtureRequest) -> Written:
    return request.getfixturevalue(request.param)


@BY_SITE
def test_nothing_is_wrong_with_the_tables(hospitals: Written, site: str) -> None:
    """The project's own check, against clifpy's schemas and what a study reads."""
    report: Report = check_directory(hospitals.folder / site, load_map("all"))
    assert [finding for finding in report.findings if finding.level != "info"] == []
    assert report.clif_version == "2.1"
    assert {size.table for size in report.tables} == set(TABLES)
    assert all((size.rows or 0) > 0 for size in report.tables)
    assert {entry.share for entry in report.survival} == {1.0}, "every row becomes an event"


@BY_SITE
@BY_TABLE
def test_a_table_is_as_clif_says(written: Written, site: str, table: str) -> None:
    schema = load(f"2.1/{table}_schema.yaml")
    frame = written.table(site, table)
    known = {column["name"]: column for column in schema["columns"]}
    required = {name for name, column in known.items() if column.get("required")}
    assert required | set(schema["required_columns"]) <= set(frame.columns) <= set(known)
    for name, dtype in frame.schema.items():
        allowed = known[name].get("permissible_values")
        if allowed and name.endswith("_category"):
            assert set(frame[name].drop_nulls()) <= {str(value) for value in allowed}, name
        if name.endswith("_dttm"):
            assert dtype == pl.Datetime("us", "UTC")
        if name in (ID, PATIENT):
            assert dtype == pl.String
            assert frame[name].null_count() == 0


@BY_SITE
def test_every_row_belongs_to_somebody(hospitals: Written, site: str) -> None:
    stays, patients = hospitals.table(site, "hospitalization"), hospitals.table(site, "patient")
    assert stays[ID].is_unique().all()
    assert patients[PATIENT].is_unique().all()
    known = {ID: set(stays[ID]), PATIENT: set(patients[PATIENT])}
    for name in TABLES:
        table = hospitals.table(site, name)
        for key in {ID, PATIENT} & set(table.columns):
            assert set(table[key]) <= known[key], name
    for name in ("stays", "hours"):
        assert set(hospitals.truth(site, name)[ID]) == known[ID]
    assert set(hospitals.table(site, "adt")[ID]) == known[ID]
    truth = hospitals.truth(site, "stays").select(ID, PATIENT)
    assert truth.equals(stays.select(ID, PATIENT))


def test_nobody_is_in_both_hospitals(hospitals: Written) -> None:
    for table, key in (("hospitalization", ID), ("patient", PATIENT)):
        one, other = (set(hospitals.table(site, table)[key]) for site in SITES)
        assert one.isdisjoint(other)


def test_a_stay_has_no_patients_id(hospitals: Written) -> None:
    ids = hospitals.table("mimic", "hospitalization")
    assert set(ids[ID]).isdisjoint(ids[PATIENT])


@BY_SITE
@pytest.mark.parametrize(
    ("table", "time", "kind"),
    [
        ("vitals", "recorded_dttm", "vital_category"),
        ("labs", "lab_result_dttm", "lab_category"),
        ("medication_admin_continuous", "admin_dttm", "med_category"),
        ("medication_admin_intermittent", "admin_dttm", "med_category"),
        ("patient_assessments", "recorded_dttm", "assessment_category"),
        ("respiratory_support", "recorded_dttm", None),
        ("position", "recorded_dttm", None),
        ("crrt_therapy", "recorded_dttm", None),
        ("adt", "in_dttm", None),
    ],
)
def test_rows_are_in_order_and_none_twice(
    written: Written, site: str, table: str, time: str, kind: str | None
) -> None:
    frame = written.table(site, table)
    keys = frame.select(pl.col(ID).cast(pl.Int64), time)
    assert keys.equals(keys.sort(ID, time))
    assert frame.select(ID, time, *([kind] if kind else [])).is_unique().all()


@BY_SITE
@BY_TABLE
def test_any_reader_finds_plain_columns(written: Written, site: str, table: str) -> None:
    path = written.folder / site / f"clif_{table}.parquet"
    schema = pq.read_schema(path)
    numbers = (pa.int64(), pa.float32(), pa.float64())
    plain = (pa.string(), pa.large_string(), *numbers, pa.date32(), pa.timestamp("us", "UTC"))
    assert all(field.type in plain for field in schema), schema
    arrow = pq.read_table(path)
    frame = written.table(site, table)
    assert arrow.num_rows == frame.height
    assert arrow.column_names == frame.columns
    for name in (ID, PATIENT):
        if name in frame.columns:
            assert arrow[name].to_pylist()[:5] == frame[name].to_list()[:5]
    for name, dtype in frame.schema.items():
        if dtype.is_float():
            assert not frame[name].is_nan().any(), "what is missing is null"


def test_text_by_number() -> None:
    assert texts(np.array([1, 0, 1]), ["a", "b"]).to_list() == ["b", "a", "b"]
    assert texts(np.array([-1, 1]), ["a", "b"]).to_list() == [None, "b"]
    assert texts(np.array([True, False]), ["no", "yes"]).to_list() == ["yes", "no"]
    assert texts(np.array([], dtype=np.int64), ["a"]).to_list() == []


def test_a_frame_has_one_row_a_stay_minute_and_kind_in_order(base: Simulated) -> None:
    stay, minute, kind = np.array([3, 1, 1, 1, 1]), np.array([5, 9, 2, 2, 2]), np.array([0, 0, 1, 0, 0])
    values = np.array([1.0, 2.0, np.nan, 4.0, 5.0])
    frame = base.tables.frame(stay, minute, {"value": values}, kind=kind)
    ids = base.tables.stay_ids
    assert frame[ID].to_list() == [ids[1], ids[1], ids[1], ids[3]]
    assert frame["value"].to_list() == [4.0, None, 2.0, 1.0]  # of two that clash the first stays
    admitted = base.tables.time(np.array([1]), np.array([0])).item()
    assert frame["recorded_dttm"].to_list()[:3] == [admitted + timedelta(minutes=m) for m in (2, 2, 9)]
    empty = np.array([], dtype=np.int64)
    assert base.tables.frame(empty, empty, {"value": np.array([], dtype=float)}).height == 0


def test_times_are_utc_and_clocks_five_hours_behind(base: Simulated) -> None:
    assert datetime(2016, 1, 1, tzinfo=UTC) == EPOCH
    first = base.tables.time(np.array([0]), np.array([90])).item()
    expected = EPOCH + LOCAL + timedelta(minutes=round(base.stays.admission[0] * 60) + 90)
    assert first == expected
