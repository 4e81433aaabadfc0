from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ehrfm_core.errors import UserError
from ehrfm_core.synthesis.plausibility.readings import Category, open_records
from tests.make_clif import make_tables, write_tables
from tests.synthesis.plausibility.make_records import make_records

HEART, LACTATE = Category("vitals", "heart_rate"), Category("labs", "lactate")


def test_each_record_has_its_stay_hour_and_place(tmp_path: Path) -> None:
    folder = make_records(
        tmp_path,
        ["a-0", "b-0"],
        vitals=[
            ("b-0", 1.0, "heart_rate", 71.0),
            ("a-0", 30.0, "heart_rate", 99.0),
            ("a-0", -1.0, " Heart_Rate ", 80.0),
            ("a-0", 5.0, "heart_rate", 90.0),
            ("a-0", 5.0, "sbp", 120.0),
            ("nobody", 5.0, "heart_rate", 1.0),
        ],
        moves=[("a-0", 0.0, "ED"), ("a-0", 5.0, "icu"), ("a-0", 29.0, "ward"), ("b-0", 0.5, "Ward")],
    )
    records = open_records(folder)
    assert records.read(HEART).rows() == [
        (0, -1.0, 80.0, None),
        (0, 5.0, 90.0, "icu"),
        (0, 30.0, 99.0, "ward"),
        (1, 1.0, 71.0, "ward"),
    ]
    assert records.commonest("vitals") == [HEART, Category("vitals", "sbp")]
    assert records.commonest("vitals", 1) == [HEART]


def test_a_lab_counts_when_it_was_drawn_or_else_when_it_resulted(tmp_path: Path) -> None:
    folder = make_records(
        tmp_path, ["a-0"], labs=[("a-0", 3.0, "lactate", 2.0), ("a-0", 9.0, "lactate", None)]
    )
    assert open_records(folder).read(LACTATE).select("hours", "value").rows() == [(3.0, 2.0), (9.0, None)]
    labs = folder / "clif_labs.parquet"
    pl.read_parquet(labs).drop("lab_collect_dttm").write_parquet(labs)
    assert open_records(folder).read(LACTATE)["hours"].to_list() == [5.0, 11.0]


def test_values_that_are_no_numbers_are_null(tmp_path: Path) -> None:
    values = [np.nan, np.inf, 7.0]
    folder = make_records(tmp_path, ["a-0"], vitals=[("a-0", i, "spo2", v) for i, v in enumerate(values)])
    assert open_records(folder).read(Category("vitals", "spo2"))["value"].to_list() == [None, None, 7.0]


def test_only_stays_of_adults_of_a_day_or_more(tmp_path: Path) -> None:
    vitals = [(stay, 1.0, "heart_rate", 80.0) for stay in ("a-0", "b-0")]
    folder = make_records(tmp_path, ["a-0", "b-0"], vitals=vitals, hours={"a-0": 20.0})
    records = open_records(folder)
    assert records.stays["hospitalization_id"].to_list() == ["b-0"]
    assert records.read(HEART).height == 1


def test_charted_early_is_within_a_day_of_admission(tmp_path: Path) -> None:
    hours = {"a-0": -23.0, "b-0": 24.0, "c-0": 24.1, "d-0": -25.0}
    vitals = [(stay, hour, "sbp", 1.0) for stay, hour in hours.items()]
    records = open_records(make_records(tmp_path, list(hours), vitals=[*vitals, *vitals]))
    assert sorted(records.charted_early("vitals")) == [0, 1]
    assert records.charted_early("labs").is_empty()


def test_what_is_not_there_is_empty(tmp_path: Path) -> None:
    records = open_records(make_records(tmp_path, ["a-0"], vitals=[]))
    assert records.commonest("vitals") == records.commonest("labs") == []
    assert records.read(HEART).is_empty()
    assert records.read(LACTATE).is_empty()
    assert records.moves.is_empty()


def test_integer_ids_and_the_same_places_as_one_by_one(tmp_path: Path) -> None:
    tables = make_tables(patients=20, seed=3)
    numbers = {stay: i + 10 for i, stay in enumerate(tables["hospitalization"]["hospitalization_id"])}
    for name, table in tables.items():
        if "hospitalization_id" in table.columns:
            tables[name] = table.with_columns(pl.col("hospitalization_id").replace_strict(numbers))
    records = open_records(write_tables(tables, tmp_path))
    read = records.read(HEART)
    assert read.height > 100
    for stay, hour, _, place in read.rows():
        before = records.moves.filter(pl.col("stay") == stay, pl.col("hours") <= hour)
        assert place == (before["place"][-1] if before.height else None)


def test_a_folder_that_is_no_clif_directory(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="clif_hospitalization"):
        open_records(tmp_path)
