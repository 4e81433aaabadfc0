from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ehrfm_core.clif.columns import TIME, category, crosswalk, id_text, number, time_utc
from ehrfm_core.errors import UserError

PATH = Path("clif_x.parquet")


def as_ids(values: pl.Series) -> list[str | None]:
    return pl.DataFrame({"id": values}).select(id_text(PATH, "id", values.dtype))["id"].to_list()


def as_times(values: pl.Series) -> list[datetime | None]:
    found = pl.DataFrame({"t": values}).select(time_utc(PATH, "t", values.dtype).alias("t"))["t"]
    assert found.dtype == TIME
    return found.to_list()


def as_numbers(values: pl.Series) -> list[float | None]:
    return pl.DataFrame({"v": values}).select(number(PATH, "v", values.dtype).alias("v"))["v"].to_list()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pl.Series(["007", "a b", None]), ["007", "a b", None]),
        (pl.Series([7, None, -1]), ["7", None, "-1"]),
        (pl.Series([2**63 + 1], dtype=pl.UInt64), [str(2**63 + 1)]),
        (pl.Series([7.0, None, 1234567890123.0]), ["7", None, "1234567890123"]),
        (pl.Series([7.5, float("inf"), float("nan"), 1e300]), [None, None, None, None]),
        (pl.Series(["x"], dtype=pl.Categorical), ["x"]),
        (pl.Series([None, None]), [None, None]),
    ],
)
def test_ids_become_text(values: pl.Series, expected: list[str | None]) -> None:
    assert as_ids(values) == expected


@pytest.mark.parametrize("value", [True, date(2020, 1, 1), datetime(2020, 1, 1, tzinfo=UTC)])
def test_what_is_no_id(value: Any) -> None:
    with pytest.raises(UserError, match="clif_x.parquet: column 'id' is .*, not an id; give ids as text or"):
        as_ids(pl.Series([value]))


@pytest.mark.parametrize("unit", ["ns", "us", "ms"])
@pytest.mark.parametrize("zone", ["UTC", "America/Chicago", "Asia/Kolkata"])
def test_times_of_any_unit_and_zone_are_the_same_instants(unit: Any, zone: str) -> None:
    moment = datetime(2020, 3, 8, 8, 30, 15, 250_000, tzinfo=UTC)
    values = pl.Series([moment, None]).dt.cast_time_unit(unit).dt.convert_time_zone(zone)
    assert as_times(values) == [moment, None]


@pytest.mark.parametrize(
    "text",
    [
        "2020-03-08T02:30:15-06:00",
        "2020-03-08 08:30:15+00:00",  # pandas
        "2020-03-08T08:30:15.000000+0000",  # polars
        "2020-03-08T08:30:15Z",
        " 2020-03-08T14:00:15+05:30 ",
    ],
)
def test_text_with_its_offset_is_a_time(text: str) -> None:
    assert as_times(pl.Series([text])) == [datetime(2020, 3, 8, 8, 30, 15, tzinfo=UTC)]


def test_seconds_may_be_missing_in_text() -> None:
    assert as_times(pl.Series(["2020-03-08 02:30-06:00"])) == [datetime(2020, 3, 8, 8, 30, tzinfo=UTC)]


def test_text_that_is_no_time_is_null() -> None:
    assert (
        as_times(pl.Series(["", "yesterday", "2020-03-08 08:30:15", "2020-13-08T02:30:15Z", None]))
        == [None] * 5
    )


def test_a_column_of_nothing_is_a_time() -> None:
    assert as_times(pl.Series([None])) == [None]


def test_dates_numbers_and_times_without_zone_are_refused() -> None:
    with pytest.raises(
        UserError, match="column 't' is Date, not a date and time with a time zone; convert it"
    ):
        as_times(pl.Series([date(2020, 1, 1)]))
    with pytest.raises(UserError, match="column 't' is Int64, not a date and time with a time zone"):
        as_times(pl.Series([1]))
    with pytest.raises(
        UserError, match="times in column 't' have no time zone; give them one, in polars for"
    ):
        as_times(pl.Series([datetime(2020, 1, 1)]))  # noqa: DTZ001


def test_numbers_are_floats_and_text_that_is_none_is_told_from_nothing() -> None:
    found = as_numbers(pl.Series(["1.5", " 2 ", "1e3", "", " ", None, "<5", "inf"]))
    assert [str(value) for value in found] == ["1.5", "2.0", "1000.0", "None", "None", "None", "nan", "inf"]
    assert as_numbers(pl.Series([1, None])) == [1.0, None]
    assert as_numbers(pl.Series([True, False])) == [1.0, 0.0]
    assert as_numbers(pl.Series([None])) == [None]


def test_a_time_is_no_number() -> None:
    with pytest.raises(UserError, match="column 'v' is Date, not a number; convert it"):
        as_numbers(pl.Series([date(2020, 1, 1)]))


@pytest.mark.parametrize(
    ("table", "column", "old", "new"),
    [
        ("", "", "  Blood, Plasma (x): y=z ", "blood_plasma_x_y_z"),
        ("", "", "L&D", "l_and_d"),
        ("", "", "--", None),
        ("respiratory_support", "device_category", "High Flow NC", "hfnc"),
        ("respiratory_support", "device_category", "high-flow nc", "hfnc"),
        ("respiratory_support", "mode_category", "Assist Control-Volume Control", "acvc"),
        ("respiratory_support", "device_category", "IMV", "imv"),
        ("hospitalization", "discharge_category", "Skilled Nursing Facility (SNF)", "snf"),
        ("labs", "lab_category", "glucose_fingerstick", "glucose"),
        ("vitals", "vital_category", "High Flow NC", "high_flow_nc"),
    ],
)
def test_categories_take_the_spelling_of_clif_3(table: str, column: str, old: str, new: str | None) -> None:
    frame = pl.DataFrame({"c": [old, new]}, schema={"c": pl.String})
    assert frame.select(category(pl.col("c"), table, column))["c"].to_list() == [new, new]


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("respiratory_support", "device_category"),
        ("respiratory_support", "mode_category"),
        ("hospitalization", "discharge_category"),
        ("hospitalization", "admission_type_category"),
        ("labs", "lab_category"),
        ("labs", "lab_specimen_category"),
        ("adt", "location_category"),
        ("patient", "race_category"),
        ("code_status", "code_status_category"),
        ("position", "position_category"),
        ("medication_admin_continuous", "mar_action_category"),
        ("patient_assessments", "assessment_category"),
        ("crrt_therapy", "crrt_mode_category"),
    ],
)
def test_every_permissible_value_of_2_1_becomes_what_clifpy_makes_of_it(table: str, column: str) -> None:
    from clifpy.utils.crosswalk import crosswalk_table_2_1_to_3_0, load_schema

    schema = load_schema(table, "2.1")
    old = next(c["permissible_values"] for c in schema["columns"] if c["name"] == column)
    frame = pl.DataFrame({column: old}, schema={column: pl.String})
    new, report = crosswalk_table_2_1_to_3_0(frame, table)
    own = frame.select(category(pl.col(column), table, column))[column]
    lost = set(report["columns"].get(column, {}).get("unresolved", ()))
    kept = ~frame[column].is_in(list(lost))
    assert kept.sum() > 1
    assert own.filter(kept).to_list() == new[column].filter(kept).to_list()
    again = new.select(category(pl.col(column), table, column))[column]
    assert again.equals(own), "a category of 3.0 stays as it is"


def test_a_column_without_renames_has_none() -> None:
    assert crosswalk("vitals", "vital_category") == {} == crosswalk("", "")
