"""Every finding about rows, categories, ranges, units and outcomes, on a broken copy of small tables."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from tests.clif.test_validation import (
    LABS,
    N_STAYS,
    NULL_TIME,
    VITALS,
    Expected,
    check,
    drop,
    edit,
    first,
    found,
    repeat,
    told,
)
from tests.make_clif import ID, Tables, make_tables, write_tables

FAR = timedelta(days=400)
RESPIRATORY = "respiratory_support"
DRIPS = "medication_admin_continuous"


def stays_lab(**columns: object) -> Callable[[Tables], None]:
    """All labs of one kind, with a unit."""
    return edit("labs", *(pl.lit(value).alias(name) for name, value in columns.items()))


CASES: dict[str, tuple[list[Callable[[Tables], object]], Expected, tuple[str, ...]]] = {
    "rows without an id": (
        [edit("labs", first(4, ID, None))],
        ("warning", "labs", ID, "null_id", 4),
        ("4 of 640", "fill it in"),
    ),
    "no id in any row": (
        [edit("labs", pl.lit(None, dtype=pl.String).alias(ID))],
        ("error", "labs", ID, "null_id", LABS),
        ("fill it in",),
    ),
    "rows without a time": (
        [edit("vitals", first(4, "recorded_dttm", NULL_TIME))],
        ("warning", "vitals", "recorded_dttm", "null_time", 4),
        ("4 of 640", "fill it in"),
    ),
    "no time in any row": (
        [edit("vitals", NULL_TIME.alias("recorded_dttm"))],
        ("error", "vitals", "recorded_dttm", "null_time", VITALS),
        ("export the time",),
    ),
    "far outside": (
        [edit("labs", first(4, "lab_result_dttm", pl.col("lab_result_dttm") - FAR))],
        ("warning", "labs", "lab_result_dttm", "outside_stay", 4),
        ("before admission (4) or after discharge (0)", "check dates, time zone and id"),
    ),
    "repeated rows": (
        [repeat("labs", 9)],
        ("warning", "labs", None, "duplicate_rows", 9),
        ("9 of 649", "export each row once"),
    ),
    "key shared": (
        [repeat("vitals", 7, pl.col("vital_value") + 1)],
        ("info", "vitals", "vital_category", "shared_key", 7),
        ("hospitalization_id, recorded_dttm, vital_category", "correction"),
    ),
    "some orphans": (
        [edit("labs", first(11, ID, "nobody"))],
        ("warning", "labs", ID, "orphans", 11),
        ("11 of 640", "export all stays"),
    ),
    "orphans alone": (
        [edit("labs", (pl.lit("x") + pl.col(ID)).alias(ID))],
        ("error", "labs", ID, "orphans", LABS),
        ("'xs0-0' here, 's0-0' there", "one form"),
    ),
    "order of times": (
        [
            edit(
                "labs",
                first(
                    3,
                    "lab_collect_dttm",
                    pl.col("lab_result_dttm") + timedelta(hours=1),
                    pl.col("lab_result_dttm"),
                ),
            )
        ],
        ("warning", "labs", "lab_result_dttm", "time_order", 3),
        ("lab_collect_dttm is after lab_result_dttm", "check how"),
    ),
    "out before in": (
        [
            edit(
                "adt",
                first(3, "out_dttm", pl.col("in_dttm"), pl.col("in_dttm") + timedelta(hours=1)),
            )
        ],
        ("warning", "adt", "out_dttm", "time_order", 3),
        ("in_dttm is not before out_dttm",),
    ),
    "unknown categories": (
        [edit("adt", first(5, "location_category", "moon"))],
        ("warning", "adt", "location_category", "unknown_category", 5),
        ("'moon' (5)", "rename them"),
    ),
    "rows without a code": (
        [edit("adt", first(5, "location_category", " "))],
        ("warning", "adt", "location_category", "null_category", 5),
        ("5 of 64", "fill it in"),
    ),
    "no code in any row": (
        [edit("vitals", pl.lit(None, dtype=pl.String).alias("vital_category"))],
        ("error", "vitals", "vital_category", "null_category", VITALS),
        ("fill it in",),
    ),
    "no race known": (
        [edit("patient", first(5, "race_category", None))],
        ("info", "patient", "race_category", "null_category", 5),
        ("fill it in",),
    ),
    "values that cannot be": (
        [
            edit("vitals", first(3, "vital_category", "heart_rate", pl.lit("sbp"))),
            edit("vitals", first(5, "vital_value", 900.0, pl.lit(100.0))),
        ],
        ("warning", "vitals", "vital_value", "impossible_value", 5),
        ("heart_rate 3 (not 0 to 300), sbp 2 (not 0 to 300)", "5 of 640", "check unit"),
    ),
    "settings that cannot be": (
        [edit(RESPIRATORY, first(2, "fio2_set", 60.0, pl.lit(0.4)))],
        ("warning", RESPIRATORY, "fio2_set", "impossible_value", 2),
        ("0.21 to 1", "2 of 48"),
    ),
    "doses that cannot be, by unit": (
        [
            edit(
                DRIPS, pl.lit("propofol").alias("med_category"), pl.lit("mcg/kg/min").alias("med_dose_unit")
            ),
            edit(DRIPS, first(6, "med_dose_unit", " MG/hour ", pl.col("med_dose_unit"))),
            edit(DRIPS, pl.lit(300.0).alias("med_dose")),
        ],
        ("warning", DRIPS, "med_dose", "impossible_value", 90),
        ("propofol in mcg/kg/min 90 (not 0 to 200)", "90 of 96"),
    ),
    "another unit": (
        [stays_lab(lab_category="creatinine", reference_unit="umol/L")],
        ("warning", "labs", "reference_unit", "other_unit", LABS),
        ("creatinine 640 in umol/l (not mg/dl)", "write one unit"),
    ),
    "several units": (
        [
            stays_lab(lab_category="creatinine"),
            edit("labs", first(40, "reference_unit", "umol/L", pl.lit("mg per dL"))),
        ],
        ("warning", "labs", "reference_unit", "several_units", LABS),
        ("creatinine in mg/dl (600) and umol/l (40)", "convert the values"),
    ),
    "no unit": (
        [
            stays_lab(lab_category="creatinine"),
            edit("labs", first(40, "reference_unit", "", pl.lit("MG/DL"))),
        ],
        ("warning", "labs", "reference_unit", "null_unit", 40),
        ("creatinine 40", "fill it in"),
    ),
    "no adt": (
        [lambda t: t.pop("adt")],
        ("warning", "adt", "location_category", "outcome_icu", 0),
        ("ICU admission after 24 h cannot be told", "export it"),
    ),
    "no intensive care": (
        [edit("adt", pl.lit("ward").alias("location_category"))],
        ("warning", "adt", "location_category", "outcome_icu", 64),
        ("no stay has the outcome", "written in another way"),
    ),
    "no ventilation table": (
        [lambda t: t.pop(RESPIRATORY)],
        ("warning", RESPIRATORY, "device_category", "outcome_imv", 0),
        ("ventilation after 24 h cannot be told",),
    ),
    "nobody died": (
        [edit("hospitalization", pl.lit("Home").alias("discharge_category"))],
        ("warning", "hospitalization", "discharge_category", "outcome_death", N_STAYS),
        ("none of 16 rows", "in-hospital death"),
    ),
    "no ending known": (
        [edit("hospitalization", pl.lit(None, dtype=pl.String).alias("discharge_category"))],
        ("warning", "hospitalization", "discharge_category", "outcome_death", N_STAYS),
        ("is empty in all 16 rows", "cannot be told"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_broken_rows_are_told(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes, (level, table, column, name, count), words = CASES[case]
    tables = make_tables()
    for change in changes:
        change(tables)
    write_tables(tables, tmp_path)
    finding, status = told(tmp_path, capsys, name, table, column)
    assert (finding["level"], finding["count"]) == (level, count)
    assert f"clif_{table}" in finding["message"]
    assert column is None or column in finding["message"]
    assert f"{count:,}" in finding["message"]
    for part in words:
        assert part in finding["message"]
    assert status == (level == "error")


def test_units_in_clifpys_variants_are_the_same(tmp_path: Path) -> None:
    tables = make_tables()
    names = ["K/uL", "10^3/µl", "10^3/\N{GREEK SMALL LETTER MU}L", " x10E3/uL\t", "10*9/L"]
    units = pl.Series("reference_unit", [names[i % 5] for i in range(LABS)])
    tables["labs"] = tables["labs"].with_columns(pl.lit("wbc").alias("lab_category"), units)
    assert not [f for f in check(tables, tmp_path).findings if f.column == "reference_unit"]


def test_empty_modes_are_as_they_should_be(tmp_path: Path) -> None:
    finding = found(check(make_tables(), tmp_path), "null_category", RESPIRATORY, "mode_category")
    assert finding.level == "info"


def test_of_unknown_categories_the_most_frequent_are_named(tmp_path: Path) -> None:
    tables = make_tables()
    names = [f"place{i}" for i in range(8) for _ in range(i + 1)]
    places = pl.Series("location_category", [*names, *["icu"] * (64 - len(names))])
    tables["adt"] = tables["adt"].with_columns(places)
    message = found(check(tables, tmp_path), "unknown_category", "adt", "location_category").message
    assert "'place7' (8), 'place6' (7), 'place5' (6), 'place4' (5), 'place3' (4) and 3 more" in message


def test_survival_counts_rows_that_become_events(tmp_path: Path) -> None:
    tables = make_tables()
    drop("adt")(tables)
    ids = tables["hospitalization"][ID].to_list()
    begin = tables["hospitalization"].filter(pl.col(ID) == ids[1])["admission_dttm"].item()
    end = tables["hospitalization"].filter(pl.col(ID) == ids[1])["discharge_dttm"].item()
    hour = timedelta(hours=1)
    times = [begin, begin - 25 * hour, begin - 23 * hour, end, end + hour, begin, None, begin, begin]
    places = ["ed"] * 5 + [" "] + ["ed"] * 3
    who = [ids[1]] * 7 + ["nobody", ids[0]]
    tables["adt"] = pl.DataFrame({ID: who, "in_dttm": times, "location_category": places})
    # the other stay is too short; vitals start and end with the stay, so that they do not move its edges
    edit(
        "hospitalization",
        pl.when(pl.col(ID) == ids[0])
        .then(pl.col("admission_dttm") + hour)
        .otherwise("discharge_dttm")
        .alias("discharge_dttm"),
    )(tables)
    tables["vitals"] = (
        tables["vitals"]
        .head(1)
        .with_columns(pl.lit(ids[1]).alias(ID), pl.lit(begin + hour).alias("recorded_dttm"))
    )
    report = check(tables, tmp_path)
    survival = {entry.table: entry for entry in report.survival}
    # 24 h before admission until discharge, with a time and a code, of a stay of the cohort
    assert (survival["adt"].rows, survival["adt"].own, survival["adt"].events) == (9, 7, 3)
    assert survival["adt"].share == pytest.approx(3 / 9)
    assert survival["vitals"].events == 1
    # a vital two hours after discharge moves the end, and one more transfer is within the stay
    tables["vitals"] = tables["vitals"].with_columns(pl.lit(end + 2 * hour).alias("recorded_dttm"))
    later = {entry.table: entry for entry in check(tables, tmp_path).survival}
    assert later["adt"].events == 4
    assert later["position"].events == _prone(tables)


def _prone(tables: Tables) -> int:
    stays = tables["hospitalization"]
    hours = (pl.col("discharge_dttm") - pl.col("admission_dttm")).dt.total_hours(fractional=True)
    rows = tables["position"].join(stays.filter(hours >= 24), on=ID)
    return rows.filter(pl.col("position_category") == "prone").height


def test_survival_of_tables_by_patient_and_of_constant_names(tmp_path: Path) -> None:
    tables = make_tables()
    stays = tables["hospitalization"].filter(pl.col("patient_id") == "p0").sort("admission_dttm")
    begins, ends = stays["admission_dttm"].to_list(), stays["discharge_dttm"].to_list()
    hour = timedelta(hours=1)
    tables["code_status"] = pl.DataFrame(
        {
            "patient_id": ["p0", "p0", "p0", "nobody"],
            "start_dttm": [begins[0] + hour, begins[1] - hour, ends[0] + 26 * hour, begins[0]],
            "code_status_category": ["Full"] * 4,
        }
    )
    values = [0.4, None, float("nan")]
    tables["respiratory_support"] = pl.DataFrame(
        {
            ID: [stays[ID][0]] * 3,
            "recorded_dttm": [begins[0] + hour] * 3,
            "device_category": [None] * 3,
            "mode_category": [None] * 3,
            "fio2_set": values,
        },
        schema_overrides={"device_category": pl.String, "mode_category": pl.String},
    )
    survival = {entry.table: entry for entry in check(tables, tmp_path, "all").survival}
    assert (survival["code_status"].rows, survival["code_status"].own, survival["code_status"].events) == (
        4,
        3,
        2,
    )
    assert survival["respiratory_support"].events == 1


@pytest.mark.parametrize("text", [False, True])
def test_times_without_a_zone_do_not_hide_what_else_there_is(text: bool, tmp_path: Path) -> None:
    tables = make_tables()
    aware = check(tables, tmp_path / "aware")
    naive = pl.col("recorded_dttm").dt.replace_time_zone(None)
    edit("vitals", naive.dt.strftime("%Y-%m-%d %H:%M:%S") if text else naive)(tables)
    report = check(tables, tmp_path / "naive")
    assert report.survival == aware.survival
    assert [f.check for f in report.findings if f not in aware.findings] == ["no_zone"]
