from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from ehrfm_core.clif.events import EVENT_SOURCES, scan_events
from ehrfm_core.clif.tables import TABLES, check_directory, check_ids, scan
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


@pytest.mark.parametrize("name", ["adt", "labs", "vitals", "respiratory_support"])
def test_integers_that_pandas_made_floats_are_the_same_ids(tables: Tables, tmp_path: Path, name: str) -> None:
    numbers = {old: i for i, old in enumerate(tables["hospitalization"]["hospitalization_id"])}
    for table, frame in tables.items():
        if "hospitalization_id" in frame.columns:
            dtype = pl.Float64 if table == name else pl.Int64
            tables[table] = frame.with_columns(
                pl.col("hospitalization_id").replace_strict(numbers).cast(dtype)
            )
    folder = write_tables(tables, tmp_path)
    assert check_ids(folder, check_directory(folder)) == []
    ids = scan(folder, name).collect()["hospitalization_id"]
    assert set(ids) <= {str(i) for i in numbers.values()}


def test_ids_with_a_fraction(tables: Tables, tmp_path: Path) -> None:
    tables["adt"] = tables["adt"].with_columns(pl.lit(1.5).alias("hospitalization_id"))
    with pytest.raises(UserError, match="values of 'hospitalization_id' are not whole numbers"):
        check_directory(write_tables(tables, tmp_path))


@pytest.mark.parametrize("name", ["labs", "respiratory_support", "patient"])
def test_ids_written_in_another_way_never_lose_a_table(tables: Tables, tmp_path: Path, name: str) -> None:
    column = "patient_id" if name == "patient" else "hospitalization_id"
    tables[name] = tables[name].with_columns((pl.lit("00") + pl.col(column)).alias(column))
    folder = write_tables(tables, tmp_path)
    with pytest.raises(UserError, match=f"clif_{name}.parquet: none of [0-9]+ values of '{column}' is in"):
        check_ids(folder, check_directory(folder))


def test_a_folder_of_parts_is_not_taken_for_a_missing_table(tables: Tables, tmp_path: Path) -> None:
    write_tables(tables, tmp_path)
    (tmp_path / "clif_labs.parquet").unlink()
    (tmp_path / "clif_labs.parquet").mkdir()
    with pytest.raises(UserError, match=r"clif_labs.parquet is a folder of parts"):
        check_directory(tmp_path)


def test_a_category_that_is_a_list(tables: Tables, tmp_path: Path) -> None:
    tables["vitals"] = tables["vitals"].with_columns(pl.concat_list("vital_category"))
    with pytest.raises(UserError, match="'vital_category' is List"):
        check_directory(write_tables(tables, tmp_path))


def test_a_time_column_without_a_single_time_counts_as_missing(tables: Tables, tmp_path: Path) -> None:
    nothing = pl.lit(None, dtype=pl.Datetime("us", "UTC")).alias("lab_result_dttm")
    for column in (nothing, pl.lit(None).alias("lab_result_dttm")):
        labs = tables["labs"].with_columns(pl.col("lab_result_dttm").alias("lab_collect_dttm"), column)
        folder = write_tables(tables | {"labs": labs}, tmp_path)
        events, notes = scan_events(folder, check_directory(folder))
        assert any("no lab_result_dttm; lab_collect_dttm stands in" in note for note in notes)
        assert events.filter(pl.col("code").str.starts_with("lab/")).collect().height == labs.height


def test_rows_without_a_time_or_a_code_are_counted(tables: Tables, tmp_path: Path) -> None:
    n = tables["vitals"].height
    holes = pl.int_range(pl.len()) < 3
    tables["vitals"] = tables["vitals"].with_columns(
        pl.when(~holes).then("recorded_dttm"), pl.when(~holes.reverse()).then("vital_category")
    )
    folder = write_tables(tables, tmp_path)
    notes = scan_events(folder, check_directory(folder))[1]
    assert f"clif_vitals: 3 of {n} rows have no recorded_dttm; they are left out." in notes
    assert f"clif_vitals: 3 of {n} rows have no vital_category; they are left out." in notes


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
