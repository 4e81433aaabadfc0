from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehrfm_core.cohort import SOURCE_SPLIT, SplitFractions, add_split
from ehrfm_core.errors import UserError
from tests.make_clif import BEGIN, Tables, make_tables
from tests.make_site import happen, quiet
from tests.make_site import read as read_site


def read(tables: Tables | Path, folder: Path) -> pl.DataFrame:
    return read_site(tables, folder).stays.drop("split")


@pytest.fixture
def tables() -> Tables:
    return make_tables(patients=6)


def one(tables: Tables, stay: str, **values: object) -> None:
    frame = tables["hospitalization"]
    tables["hospitalization"] = frame.with_columns(
        pl.when(pl.col("hospitalization_id") == stay).then(pl.lit(value)).otherwise(pl.col(name)).alias(name)
        for name, value in values.items()
    )


def test_the_demo_has_the_published_counts(demo: Path, tmp_path: Path) -> None:
    stays = read_site(demo, tmp_path).stays
    no_icu, no_imv = stays.filter(~pl.col("icu_24h")), stays.filter(~pl.col("imv_24h"))
    assert stays.height == 245
    assert stays["long_los"].sum() == 91
    assert (no_icu.height, no_icu["icu"].sum()) == (145, 27)
    assert no_imv["imv"].sum() == 19


def test_minors_and_short_stays_are_left_out(tables: Tables, tmp_path: Path) -> None:
    all_of_them = read(tables, tmp_path)
    one(tables, "s1-0", age_at_admission=17)
    one(tables, "s2-0", discharge_dttm=tables["hospitalization"]["admission_dttm"][3] + timedelta(hours=23.9))
    stays = read(tables, tmp_path)
    gone = set(all_of_them["hospitalization_id"]) - set(stays["hospitalization_id"])
    assert "s1-0" in gone
    assert gone <= {"s1-0", "s2-0"}


def test_no_stay_left(tables: Tables, tmp_path: Path) -> None:
    tables["hospitalization"] = tables["hospitalization"].with_columns(
        (pl.col("admission_dttm") + pl.duration(hours=5)).alias("discharge_dttm")
    )
    with pytest.raises(UserError, match="none of 8 stays is of an adult and lasts 24 h"):
        read(tables, tmp_path)


@pytest.mark.parametrize("table", ["hospitalization", "patient"])
def test_rows_that_contradict_each_other(tables: Tables, tmp_path: Path, table: str) -> None:
    changed = tables[table].head(2).with_columns(pl.lit("X").alias(tables[table].columns[-1]))
    tables[table] = pl.concat([tables[table], changed])
    with pytest.raises(UserError, match=f"clif_{table}.parquet: 2 "):
        read(tables, tmp_path)


def test_the_same_row_twice_is_one_stay(tables: Tables, tmp_path: Path) -> None:
    before = read(tables, tmp_path)
    tables["hospitalization"] = pl.concat([tables["hospitalization"]] * 2)
    assert read(tables, tmp_path).equals(before)


def test_outcomes_are_null_where_the_data_cannot_tell(tables: Tables, tmp_path: Path) -> None:
    del tables["adt"]
    del tables["respiratory_support"]
    one(tables, "s1-0", discharge_category=None)
    stays = read(tables, tmp_path)
    assert stays["icu"].null_count() == stays["imv"].null_count() == stays.height
    assert stays.filter(pl.col("hospitalization_id") == "s1-0")["death"].to_list() == [None]
    assert stays["long_los"].null_count() == 0


@pytest.mark.parametrize("age", [float("nan"), float("inf"), -1.0, 200.0, None])
def test_ages_that_cannot_be(tables: Tables, tmp_path: Path, age: float | None) -> None:
    before = read(tables, tmp_path)
    stay = before["hospitalization_id"][0]
    ages = pl.col("age_at_admission").cast(pl.Float64)
    tables["hospitalization"] = tables["hospitalization"].with_columns(
        pl.when(pl.col("hospitalization_id") == stay)
        .then(pl.lit(age))
        .otherwise(ages)
        .alias("age_at_admission")
    )
    assert set(before["hospitalization_id"]) - set(read(tables, tmp_path)["hospitalization_id"]) == {stay}


def test_a_stay_of_nobody_is_left_out_and_told(tables: Tables, tmp_path: Path) -> None:
    stay = read(tables, tmp_path)["hospitalization_id"][0]
    one(tables, stay, patient_id=None)
    site = read_site(tables, tmp_path)
    assert stay not in site.stays["hospitalization_id"]
    assert any(note.startswith("1 stays lack a patient") for note in site.notes)


def test_respiratory_support_without_rows_means_nothing_about_ventilation(
    tables: Tables, tmp_path: Path
) -> None:
    tables["respiratory_support"] = tables["respiratory_support"].clear()
    assert read(tables, tmp_path)["imv"].null_count() == read(tables, tmp_path).height


def test_demographics_take_one_spelling(tables: Tables, tmp_path: Path) -> None:
    before = read(tables, tmp_path)
    tables["patient"] = tables["patient"].with_columns(
        pl.col("sex_category").str.to_uppercase(), pl.col("race_category").str.to_lowercase() + " "
    )
    assert read(tables, tmp_path).select("sex", "race").equals(before.select("sex", "race"))
    tables["patient"] = tables["patient"].with_columns(pl.lit(" ").alias("sex_category"))
    assert read(tables, tmp_path)["sex"].null_count() == before.height


def test_a_misdated_vital_does_not_move_the_start(tables: Tables, tmp_path: Path) -> None:
    before = read(tables, tmp_path)
    wrong = tables["vitals"].head(1).with_columns(pl.lit(BEGIN - timedelta(days=9000)).alias("recorded_dttm"))
    tables["vitals"] = pl.concat([tables["vitals"], wrong.cast(tables["vitals"].schema)])  # type: ignore[arg-type]
    assert read(tables, tmp_path)["start"].equals(before["start"])


def test_start_and_end_follow_the_vitals_but_the_length_of_stay_does_not(tmp_path: Path) -> None:
    tables = quiet()
    before = read(tables, tmp_path).row(0, named=True)
    hours = before["los_hours"]
    for hour in (-23, 5, hours + 23):
        happen(tables, "vitals", [{"recorded_dttm": hour, "vital_category": "sbp", "vital_value": 1.0}])
    after = read(tables, tmp_path).row(0, named=True)
    assert before["start"] - after["start"] == timedelta(hours=23)
    assert after["end"] - before["end"] == timedelta(hours=23)
    assert after["los_hours"] == before["los_hours"]
    for hour in (-25, hours + 25):
        happen(tables, "vitals", [{"recorded_dttm": hour, "vital_category": "sbp", "vital_value": 1.0}])
    assert read(tables, tmp_path).row(0, named=True) == after


@pytest.mark.parametrize(("hour", "early"), [(-5, True), (24, True), (24.01, False)])
def test_an_outcome_is_early_where_it_lies_in_the_window(tmp_path: Path, hour: float, early: bool) -> None:
    tables = quiet()
    happen(tables, "adt", [{"in_dttm": hour, "location_category": "ICU"}])
    happen(tables, "respiratory_support", [{"recorded_dttm": hour, "device_category": "IMV"}])
    row = read(tables, tmp_path).row(0, named=True)
    assert (row["icu"], row["icu_24h"], row["imv"], row["imv_24h"]) == (True, early, True, early)
    others = read(tables, tmp_path).slice(1)
    assert others["icu"].null_count() == others.height, "every stay is somewhere: no row tells nothing"
    assert others["imv"].to_list() == [False] * others.height


def test_a_longer_window_asks_for_longer_stays(tables: Tables, tmp_path: Path) -> None:
    stays = read(tables, tmp_path)
    longer = read_site(tables, tmp_path, window_hours=100).stays
    assert 0 < longer.height < stays.height
    assert set(longer["hospitalization_id"]) == set(
        stays.filter(pl.col("los_hours") >= 100)["hospitalization_id"]
    )


patients = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 10_000)), min_size=1, max_size=60, unique_by=lambda x: x
)


@given(patients, st.randoms(use_true_random=False))
def test_a_patient_is_in_one_split_in_whatever_order_the_rows_come(rows: list, random: object) -> None:
    frame = pl.DataFrame(rows, schema={"patient": pl.Int64, "admission": pl.Int64}, orient="row").select(
        pl.col("patient").cast(pl.String).alias("patient_id"), "admission"
    )
    split = add_split(frame, SOURCE_SPLIT)
    assert split.group_by("patient_id").agg(pl.col("split").n_unique())["split"].max() == 1
    random.shuffle(rows)  # type: ignore[attr-defined]
    again = add_split(
        pl.DataFrame(rows, schema={"patient": pl.Int64, "admission": pl.Int64}, orient="row").select(
            pl.col("patient").cast(pl.String).alias("patient_id"), "admission"
        ),
        SOURCE_SPLIT,
    )
    assert split.sort("patient_id", "admission").equals(again.sort("patient_id", "admission"))


def test_the_split_has_the_fractions_asked_for() -> None:
    frame = pl.DataFrame({"patient_id": [str(i) for i in range(1000)], "admission": range(1000)})
    counts = add_split(frame, SplitFractions(0.05, 0.05, 0.9))["split"].value_counts()
    assert dict(counts.iter_rows()) == {"train": 50, "tuning": 50, "test": 900}


OPEN_ENDED = ("death", "long_los", "los_hours")


def test_a_stay_that_has_not_ended_has_no_length_and_no_death(tables: Tables, tmp_path: Path) -> None:
    before = read(tables, tmp_path).filter(pl.col("hospitalization_id") == "s1-0")
    assert before.select(OPEN_ENDED).null_count().row(0) == (0, 0, 0)
    one(tables, "s1-0", discharge_category="Still Admitted")
    stays = read(tables, tmp_path)
    after = stays.filter(pl.col("hospitalization_id") == "s1-0")
    assert after.select(OPEN_ENDED).row(0) == (None, None, None)
    assert after["end"].item() == before["end"].item()
    assert stays.select(OPEN_ENDED).null_count().row(0) == (1, 1, 1)


@pytest.mark.parametrize("hours", [10.0, 30.0, 400.0])
def test_without_a_discharge_a_stay_is_seen_up_to_its_last_vital(hours: float, tmp_path: Path) -> None:
    tables = quiet()
    stay = tables["hospitalization"]["hospitalization_id"][0]
    happen(
        tables,
        "vitals",
        [{"recorded_dttm": h, "vital_category": "heart_rate", "vital_value": 80.0} for h in (1.0, hours)],
    )
    tables["hospitalization"] = tables["hospitalization"].with_columns(
        pl.when(pl.col("hospitalization_id") != stay).then("discharge_dttm").alias("discharge_dttm"),
        pl.lit("Expired").alias("discharge_category"),
    )
    site = read_site(tables, tmp_path)
    found = site.stays.filter(pl.col("hospitalization_id") == stay)
    assert found.height == (hours >= 24)
    if found.height:
        seen = found["end"].item() - found["admission"].item()
        assert seen == timedelta(hours=hours)
        # beyond seven days as well: to keep these alone would leave nothing but long stays
        assert found.select(OPEN_ENDED).row(0) == (True, None, None)
        assert any("1 stays have not ended" in note for note in site.notes)


@pytest.mark.parametrize(("hour", "expected"), [(5.0, (True, True)), (30.0, (None, False))])
def test_of_an_open_stay_the_window_alone_is_known(
    hour: float, expected: tuple[bool | None, bool], tmp_path: Path
) -> None:
    tables = quiet()
    tables["hospitalization"] = tables["hospitalization"].with_columns(
        pl.lit("Still Admitted").alias("discharge_category"),
        (pl.col("admission_dttm") + timedelta(hours=60)).alias("discharge_dttm"),
    )
    happen(tables, "adt", [{"in_dttm": 0.0, "location_category": "ward"}])
    happen(tables, "adt", [{"in_dttm": hour, "location_category": "icu"}])
    happen(tables, "respiratory_support", [{"recorded_dttm": hour, "device_category": "IMV"}])
    stay = read(tables, tmp_path).sort("admission").head(1)
    assert stay.select("icu", "icu_24h").row(0) == expected
    assert stay.select("imv", "imv_24h").row(0) == expected


def test_oxygen_without_a_device_tells_nothing_of_ventilation(tmp_path: Path) -> None:
    tables = quiet()
    happen(tables, "respiratory_support", [{"recorded_dttm": 2.0, "fio2_set": 0.4}])
    assert read(tables, tmp_path)["imv"].null_count() == 4
    happen(tables, "respiratory_support", [{"recorded_dttm": 2.0, "device_category": "Nasal Cannula"}])
    assert read(tables, tmp_path)["imv"].to_list() == [False] * 4
