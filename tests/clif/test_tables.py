from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from ehrfm_core.clif.event_map import load_map
from ehrfm_core.clif.tables import NEEDED, ClifDirectory, open_directory
from ehrfm_core.errors import UserError
from tests.make_clif import ID, TIMES, Tables, make_all_tables, make_tables, write_tables
from tests.make_site import read

PAPER = load_map("paper")


@pytest.fixture
def tables() -> Tables:
    return make_tables(patients=4)


def opened(tables: Tables, folder: Path, *, events: str = "paper") -> ClifDirectory:
    return open_directory(write_tables(tables, folder), load_map(events))


def test_a_good_directory_lists_the_tables_that_the_map_reads(tables: Tables, tmp_path: Path) -> None:
    everything = make_all_tables(patients=4)
    assert set(opened(everything, tmp_path).tables) == set(tables)
    assert set(opened(everything, tmp_path, events="all").tables) == set(everything)


@pytest.mark.parametrize("name", NEEDED)
def test_a_needed_table_is_missing(tables: Tables, tmp_path: Path, name: str) -> None:
    del tables[name]
    with pytest.raises(UserError, match=f"holds no clif_{name}.parquet .*: a CLIF directory needs at least"):
        opened(tables, tmp_path)


@pytest.mark.parametrize(
    ("name", "column"),
    [
        *((table, column) for table, columns in NEEDED.items() for column in columns),
        *(("adt", c) for c in (ID, "in_dttm", "location_category")),
        *(("respiratory_support", c) for c in (ID, "recorded_dttm", "device_category", "mode_category")),
        *(("vitals", c) for c in (ID, "recorded_dttm", "vital_category", "vital_value")),
        *(("labs", c) for c in (ID, "lab_category", "lab_value_numeric")),
        *(("medication_admin_continuous", c) for c in (ID, "med_category", "med_dose")),
        *(("patient_assessments", c) for c in (ID, "assessment_category", "numerical_value")),
        *(("position", c) for c in (ID, "position_category")),
    ],
)
def test_a_missing_column_is_named(tables: Tables, tmp_path: Path, name: str, column: str) -> None:
    tables[name] = tables[name].drop(column)
    with pytest.raises(UserError) as caught:
        opened(tables, tmp_path)
    assert f"clif_{name}.parquet: column '{column}' is missing (1 of " in str(caught.value)
    assert f"required columns); it has {tables[name].columns[0]}" in str(caught.value)


@pytest.mark.parametrize("name", ["hospitalization", *TIMES])
def test_times_without_zone_are_refused_in_every_table(tables: Tables, tmp_path: Path, name: str) -> None:
    column = TIMES.get(name, "discharge_dttm")
    tables[name] = tables[name].with_columns(pl.col(column).dt.replace_time_zone(None))
    message = f"clif_{name}.parquet: times in column '{column}' have no time zone; give them one"
    with pytest.raises(UserError, match=message):
        opened(tables, tmp_path)


def test_dates_in_place_of_times(tables: Tables, tmp_path: Path) -> None:
    tables["labs"] = tables["labs"].with_columns(pl.col("lab_result_dttm").dt.date())
    with pytest.raises(
        UserError, match="clif_labs.parquet: column 'lab_result_dttm' is Date, not a date and time"
    ):
        opened(tables, tmp_path)


def test_texts_without_their_offset(tables: Tables, tmp_path: Path) -> None:
    write_tables(tables, tmp_path)
    (tmp_path / "clif_labs.parquet").unlink()
    labs = tables["labs"].with_columns(pl.col("lab_result_dttm").dt.strftime("%Y-%m-%d %H:%M:%S"))
    labs.write_csv(tmp_path / "clif_labs.csv")
    message = (
        f"clif_labs.csv: none of {labs.height} texts in column 'lab_result_dttm' is a time with its zone"
    )
    with pytest.raises(UserError, match=message):
        open_directory(tmp_path, PAPER)


def test_ids_with_a_fraction(tables: Tables, tmp_path: Path) -> None:
    tables["adt"] = tables["adt"].with_columns(pl.lit(1.5).alias(ID))
    message = (
        f"clif_adt.parquet: {tables['adt'].height} values of '{ID}' are not whole numbers; give ids as text"
    )
    with pytest.raises(UserError, match=message):
        opened(tables, tmp_path)


@pytest.mark.parametrize("name", ["labs", "respiratory_support", "patient", "code_status"])
def test_ids_of_another_form_never_lose_a_table(tmp_path: Path, name: str) -> None:
    tables = make_all_tables(patients=4)
    column = "patient_id" if name in ("patient", "code_status") else ID
    tables[name] = tables[name].with_columns((pl.lit("00") + pl.col(column)).alias(column))
    message = f"clif_{name}.parquet: none of [0-9]+ values of '{column}' is in clif_hospitalization.parquet"
    with pytest.raises(UserError, match=message + r" \('00.*' here, '.*' there\); use one form"):
        read(tables, tmp_path, events="all")


@pytest.mark.parametrize("column", [ID, "vital_category", "vital_value", "recorded_dttm"])
def test_a_column_of_lists(tables: Tables, tmp_path: Path, column: str) -> None:
    tables["vitals"] = tables["vitals"].with_columns(pl.concat_list(column))
    with pytest.raises(UserError, match=f"'{column}' is List.*, not a single value; convert it"):
        read(tables, tmp_path)


def test_a_value_that_is_a_time(tables: Tables, tmp_path: Path) -> None:
    tables["vitals"] = tables["vitals"].with_columns(pl.col("recorded_dttm").alias("vital_value"))
    with pytest.raises(UserError, match="'vital_value' is Datetime.*, not a number; convert it"):
        read(tables, tmp_path)


def test_not_parquet(tables: Tables, tmp_path: Path) -> None:
    write_tables(tables, tmp_path)
    (tmp_path / "clif_labs.parquet").write_text("hospitalization_id,lab_category\n")
    with pytest.raises(UserError, match="clif_labs.parquet is not readable as parquet"):
        open_directory(tmp_path, PAPER)


def test_a_column_that_a_part_lacks_is_null_there(tables: Tables, tmp_path: Path) -> None:
    write_tables(tables, tmp_path)
    (tmp_path / "clif_vitals.parquet").unlink()
    (tmp_path / "clif_vitals").mkdir()
    vitals = tables["vitals"]
    vitals.head(5).write_parquet(tmp_path / "clif_vitals" / "a.parquet")
    vitals.tail(4).drop("vital_value", "recorded_dttm").write_parquet(tmp_path / "clif_vitals" / "b.parquet")
    frame = open_directory(tmp_path, PAPER).scan(
        "vitals", times=["recorded_dttm"], numbers=["vital_value"], others=[ID, "vital_category"]
    )
    found = frame.collect()
    assert found.schema == {
        "recorded_dttm": pl.Datetime("us", "UTC"),
        "vital_value": pl.Float64,
        ID: pl.String,
        "vital_category": pl.String,
    }
    assert (found.height, found["vital_value"].null_count(), found["recorded_dttm"].null_count()) == (9, 4, 4)


def test_one_bad_time_in_text_costs_its_row_only(tables: Tables, tmp_path: Path) -> None:
    tables["vitals"] = tables["vitals"].with_columns(
        pl.when(pl.int_range(pl.len()) == 3)
        .then(pl.lit("soon"))
        .otherwise(pl.col("recorded_dttm").dt.strftime("%+"))
        .alias("recorded_dttm")
    )
    site = read(tables, tmp_path)
    assert "clif_vitals: 1 rows have no recorded_dttm; they are left out." in site.notes


def test_a_time_of_nothing_is_a_column_without_times(tables: Tables, tmp_path: Path) -> None:
    nothing = pl.lit(None).alias("lab_result_dttm")
    later = pl.lit(datetime(2020, 1, 1, tzinfo=UTC)).alias("lab_collect_dttm")
    tables["labs"] = tables["labs"].with_columns(nothing, later)
    directory = opened(tables, tmp_path)
    assert not directory.has("labs", "lab_result_dttm")
    assert directory.has("labs", "lab_collect_dttm")
    assert not directory.has("labs", "not_there")
    assert not directory.has("not_there", ID)
