from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from ehrfm_core.clif.events import EVENT_SOURCES, scan_events
from ehrfm_core.clif.tables import TABLES, check_directory, scan
from ehrfm_core.errors import UserError
from tests.make_clif import Tables, make_tables, write_tables


@pytest.fixture
def tables() -> Tables:
    return make_tables(patients=4)


def test_a_good_directory_lists_its_tables(tables: Tables, tmp_path: Path) -> None:
    assert set(check_directory(write_tables(tables, tmp_path))) == set(tables)


def test_no_such_directory(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere does not exist"):
        check_directory(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["hospitalization", "patient"])
def test_a_needed_table_is_missing(tables: Tables, tmp_path: Path, name: str) -> None:
    del tables[name]
    with pytest.raises(UserError, match=f"no clif_{name}.parquet"):
        check_directory(write_tables(tables, tmp_path))


def test_not_parquet(tables: Tables, tmp_path: Path) -> None:
    write_tables(tables, tmp_path)
    (tmp_path / "clif_labs.parquet").write_text("hospitalization_id,lab_category\n")
    with pytest.raises(UserError, match="clif_labs.parquet is not readable as parquet"):
        check_directory(tmp_path)


@pytest.mark.parametrize("name", list(TABLES))
def test_a_missing_column_is_named(tables: Tables, tmp_path: Path, name: str) -> None:
    column = TABLES[name].required[-1]
    tables[name] = tables[name].drop(column)
    with pytest.raises(UserError, match=f"clif_{name}.parquet: column '{column}' is missing"):
        check_directory(write_tables(tables, tmp_path))


def test_a_time_without_zone(tables: Tables, tmp_path: Path) -> None:
    tables["vitals"] = tables["vitals"].with_columns(pl.col("recorded_dttm").dt.replace_time_zone(None))
    with pytest.raises(
        UserError, match=r"clif_vitals.parquet: times in column 'recorded_dttm' have no time zone"
    ):
        check_directory(write_tables(tables, tmp_path))


def test_a_time_that_is_text(tables: Tables, tmp_path: Path) -> None:
    tables["labs"] = tables["labs"].with_columns(pl.col("lab_result_dttm").cast(pl.String))
    with pytest.raises(UserError, match="'lab_result_dttm' is String, not a date and time"):
        check_directory(write_tables(tables, tmp_path))


def test_a_value_that_is_text(tables: Tables, tmp_path: Path) -> None:
    tables["labs"] = tables["labs"].with_columns(pl.col("lab_value_numeric").cast(pl.String))
    folder = write_tables(tables, tmp_path)
    with pytest.raises(UserError, match="'lab_value_numeric' is String, not a number"):
        scan_events(folder, check_directory(folder))


def test_times_of_any_zone_are_the_same_instants(tables: Tables, tmp_path: Path) -> None:
    before = scan(write_tables(tables, tmp_path / "a"), "vitals").collect()
    tables["vitals"] = tables["vitals"].with_columns(
        pl.col("recorded_dttm").dt.convert_time_zone("America/Chicago").dt.cast_time_unit("ns")
    )
    assert scan(write_tables(tables, tmp_path / "b"), "vitals").collect().equals(before)


def test_integer_ids_become_text(tables: Tables, tmp_path: Path) -> None:
    numbers = {old: i for i, old in enumerate(tables["hospitalization"]["hospitalization_id"])}
    tables["adt"] = tables["adt"].with_columns(pl.col("hospitalization_id").replace_strict(numbers))
    assert scan(write_tables(tables, tmp_path), "adt").collect_schema()["hospitalization_id"] == pl.String


def test_events_of_every_source(tables: Tables, tmp_path: Path) -> None:
    folder = write_tables(tables, tmp_path)
    events, notes = scan_events(folder, check_directory(folder))
    frame = events.collect()
    assert notes == []
    assert set(frame["rank"].unique()) == set(range(len(EVENT_SOURCES)))
    assert (
        frame.select(pl.col("time", "code", "hospitalization_id").null_count()).sum_horizontal().item() == 0
    )
    assert set(frame.filter(pl.col("code") == "assessment/sbt")["answer"]) == {"answer/pass"}
    assert "position/not_prone" not in frame["code"]


def test_values_that_are_no_numbers_become_null(tables: Tables, tmp_path: Path) -> None:
    bad = tables["vitals"].with_columns(pl.lit(float("inf")).alias("vital_value"))
    tables["vitals"] = pl.concat(
        [bad.head(1), bad.head(1).with_columns(pl.lit(float("nan")).alias("vital_value"))]
    )
    folder = write_tables(tables, tmp_path)
    vitals = (
        scan_events(folder, check_directory(folder))[0]
        .filter(pl.col("code").str.starts_with("vital"))
        .collect()
    )
    assert vitals["value"].to_list() == [None, None]


def test_missing_tables_and_result_times_are_told(tables: Tables, tmp_path: Path) -> None:
    del tables["respiratory_support"]
    tables["labs"] = tables["labs"].rename({"lab_result_dttm": "lab_order_dttm"})
    folder = write_tables(tables, tmp_path)
    events, notes = scan_events(folder, check_directory(folder))
    assert any("No table clif_respiratory_support" in note for note in notes)
    assert any("no lab_result_dttm; lab_order_dttm stands in" in note for note in notes)
    assert events.filter(pl.col("code").str.starts_with("lab/")).collect().height == tables["labs"].height
