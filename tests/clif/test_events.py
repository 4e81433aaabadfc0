"""Every kind of event of the two maps that ship, and every form in which a site can write its tables."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from polars import selectors as cs

from ehrfm_core.clif import source as source_module
from ehrfm_core.errors import UserError
from ehrfm_core.tokens.settings import TokenSettings
from tests.make_clif import ID, Tables, make_all_tables, make_tables
from tests.make_site import Tokenized, happen, quiet, read, tokenize, write_tables

FIRST = "s0-0"


def story(tables: Tables, folder: Path, stay: str = FIRST, *, events: str = "all") -> list[str]:
    """The tokens of a stay under the map `all`, static ones left out; `minute token token` an event."""
    told: list[str] = []
    for minute, token in tokenize(tables, folder, events=events).between(stay):
        if "/" in token and not token.startswith("answer/"):
            told.append(f"{minute:g} {token}")
        else:
            told[-1] += f" {token}"
    return told


def test_transfers_in_and_out(tmp_path: Path) -> None:
    tables = quiet()
    happen(tables, "adt", [{"in_dttm": 1, "out_dttm": 3, "location_category": "ICU"}])
    happen(tables, "adt", [{"in_dttm": 3, "location_category": "ward"}])
    assert story(tables, tmp_path) == ["60 location/icu", "180 location/ward", "180 location_out/icu"]
    assert story(tables, tmp_path, events="paper") == ["60 location/icu", "180 location/ward"]


def test_a_lab_is_ordered_collected_and_resulted_and_only_the_result_has_a_value(tmp_path: Path) -> None:
    tables = quiet()
    lab = {"lab_category": "sodium", "lab_value_numeric": 140.0}
    times = {"lab_order_dttm": 1, "lab_collect_dttm": 2, "lab_result_dttm": 3}
    happen(tables, "labs", [lab | times, lab | times | {"lab_value_numeric": None}])
    expected = ["60 lab_order/sodium"] * 2 + ["120 lab_collect/sodium"] * 2
    assert story(tables, tmp_path) == [*expected, "180 lab/sodium Q0", "180 lab/sodium"]


@pytest.mark.parametrize("instead", ["lab_collect_dttm", "lab_order_dttm"])
def test_another_time_stands_in_for_the_result_and_is_told(tmp_path: Path, instead: str) -> None:
    tables = make_tables(patients=3)
    labs = tables["labs"]
    nothing = pl.lit(None, dtype=pl.Datetime("us", "UTC")).alias("lab_result_dttm")
    for column in ([], [nothing], [pl.lit(None).alias("lab_result_dttm")]):
        tables["labs"] = labs.rename({"lab_result_dttm": instead}).with_columns(*column)
        site = read(tables, tmp_path)
        assert any(f"clif_labs has no lab_result_dttm; {instead} stands in" in note for note in site.notes)
        counted = zip(site.store.items, site.store.n_by_item, strict=True)
        assert sum(n for item, n in counted if item.code.startswith("lab/")) == labs.height


def test_doses_of_one_drug_in_two_units_land_on_the_same_bins(tmp_path: Path) -> None:
    tables = quiet()
    rows = [
        {"admin_dttm": hour, "med_category": "Norepinephrine", "med_dose": dose, "med_dose_unit": unit}
        for hour, (dose, unit) in enumerate(
            [(1.0, "mg/hour"), (1000 / 60, "mcg/min"), (60.0, "mcg/min"), (3.6, "mg/hour"), (1.0, "mg/min")]
        )
    ]
    happen(tables, "medication_admin_continuous", rows)
    result = tokenize(tables, tmp_path, events="all")
    code = "medication/norepinephrine"
    assert result.tokenizer.units == {code: "mcg/min"}
    assert result.tokenizer.cut_points[code] == pytest.approx([60, 1000])
    bins = [token for _, token in result.between(FIRST) if token != code]
    assert bins == ["Q0", "Q0", "Q1", "Q1", "Q2"]


def test_a_dose_without_or_in_an_unknown_unit_loses_its_value_and_is_counted(tmp_path: Path) -> None:
    tables = quiet()
    rows = [
        {"admin_dttm": 1, "med_category": "x", "med_dose": 5.0, "med_dose_unit": unit}
        for unit in ("mcg/min", "spoons", "spoons", None)
    ]
    happen(tables, "medication_admin_continuous", rows)
    assert story(tables, tmp_path) == ["60 medication/x Q0", *["60 medication/x"] * 3]
    note = (
        "clif_medication_admin_continuous: 3 values have a unit that cannot be converted (spoons 2, none 1)"
    )
    assert any(note in n for n in read(tables, tmp_path, events="all").notes)


def test_per_kilogram_is_another_dose(tmp_path: Path) -> None:
    """The cut points are in the unit most values have; a dose in another cannot be compared with them."""
    tables = quiet()
    rows = [
        {"admin_dttm": 1, "med_category": "x", "med_dose": 5.0, "med_dose_unit": unit}
        for unit in ("mcg/kg/min", "mcg/kg/min", "mg/min")
    ]
    happen(tables, "medication_admin_continuous", rows)
    result = tokenize(tables, tmp_path, events="all")
    assert result.tokenizer.units == {"medication/x": "mcg/kg/min"}
    assert len([name for name in result.names(FIRST) if name == "medication/x"]) == 3
    assert [token for _, token in result.between(FIRST) if token.startswith("Q")] == ["Q0", "Q0"]


def test_a_stop_is_an_event_of_its_own_and_what_was_not_given_is_none(tmp_path: Path) -> None:
    tables = quiet()
    dose = {"med_category": "heparin", "med_dose": 2.0, "med_dose_unit": "mg"}
    happen(
        tables,
        "medication_admin_continuous",
        [
            dose | {"admin_dttm": 1, "mar_action_category": "start", "med_dose_unit": "mg/hour"},
            dose | {"admin_dttm": 2, "mar_action_category": None, "med_dose_unit": "mg/hour"},
            dose | {"admin_dttm": 3, "mar_action_category": "Stop", "med_dose": 0.0},
        ],
    )
    actions = ("given", "not_given", "Not Given", "bolus", None)
    happen(
        tables,
        "medication_admin_intermittent",
        [dose | {"admin_dttm": 4 + i, "mar_action_category": a} for i, a in enumerate(actions)],
    )
    assert story(tables, tmp_path) == [
        "60 medication/heparin Q0",
        "120 medication/heparin Q0",
        "180 medication_stop/heparin",
        *(f"{60 * hour} dose/heparin Q0" for hour in (4, 7, 8)),
    ]


def test_assessments_have_a_value_or_an_answer(tmp_path: Path) -> None:
    tables = quiet()
    rows: list[tuple[str, float | None, str | None]] = [
        ("gcs_total", 15.0, None),
        ("gcs_total", 9.0, "ignored"),
        ("cam_total", None, "Positive"),
        ("cam_total", float("nan"), "Negative"),
        ("sbt", None, None),
    ]
    happen(
        tables,
        "patient_assessments",
        [
            {"recorded_dttm": h, "assessment_category": c, "numerical_value": v, "categorical_value": a}
            for h, (c, v, a) in enumerate(rows)
        ],
    )
    assert story(tables, tmp_path) == [
        "0 assessment/gcs_total Q1",
        "60 assessment/gcs_total Q0",
        "120 assessment/cam_total answer/positive",
        "180 assessment/cam_total answer/negative",
        "240 assessment/sbt",
    ]
    site = read(tables, tmp_path, events="all")
    assert site.not_numbers == {}, "a NaN beside an answer is an empty cell"


def test_respiratory_support_mode_device_and_settings(tmp_path: Path) -> None:
    tables = quiet()
    happen(
        tables,
        "respiratory_support",
        [
            {
                "recorded_dttm": 1,
                "device_category": "IMV",
                "mode_category": "SIMV",
                "tracheostomy": 1,
                "fio2_set": 0.4,
                "peep_set": 5.0,
                "resp_rate_obs": 18.0,
            },
            {"recorded_dttm": 2, "device_category": "High Flow NC", "tracheostomy": 0, "lpm_set": 30.0},
            {"recorded_dttm": 3, "fio2_set": 0.5},
        ],
    )
    family = "respiratory"
    assert story(tables, tmp_path) == [
        *(f"60 {family}/simv", f"60 {family}/imv", f"60 {family}/tracheostomy", f"60 {family}/fio2_set Q0"),
        *(f"60 {family}/peep_set Q0", f"60 {family}/resp_rate_obs Q0"),
        *(f"120 {family}/hfnc", f"120 {family}/lpm_set Q0", f"180 {family}/fio2_set Q1"),
    ]
    assert story(tables, tmp_path, events="paper") == [
        f"60 {family}/simv",
        f"60 {family}/imv",
        f"120 {family}/hfnc",
    ]


def test_a_setting_that_is_never_charted_is_no_event(tmp_path: Path) -> None:
    tables = quiet()
    happen(tables, "respiratory_support", [{"recorded_dttm": 1, "device_category": "IMV"}])
    empty = pl.lit(None).alias("fio2_set")  # as pandas writes a column without a value
    tables["respiratory_support"] = tables["respiratory_support"].with_columns(empty)
    assert story(tables, tmp_path) == ["60 respiratory/imv"]


def test_position_and_renal_replacement(tmp_path: Path) -> None:
    tables = quiet()
    for hour, position in ((1, "prone"), (2, "not_prone")):
        happen(tables, "position", [{"recorded_dttm": hour, "position_category": position}])
    happen(
        tables,
        "crrt_therapy",
        [
            {"recorded_dttm": 3, "crrt_mode_category": "CVVHDF", "blood_flow_rate": 200.0},
            {"recorded_dttm": 4, "ultrafiltration_out": 80.0},
        ],
    )
    assert story(tables, tmp_path) == [
        *("60 position/prone", "120 position/not_prone", "180 crrt/cvvhdf", "180 crrt/blood_flow_rate Q0"),
        "240 crrt/ultrafiltration_out Q0",
    ]
    assert story(tables, tmp_path, events="paper") == ["60 position/prone"]


@pytest.mark.parametrize("stay", [0, 1])
def test_code_status_stands_at_its_time_in_the_stay_into_which_it_falls_and_in_no_other(
    tmp_path: Path, stay: int
) -> None:
    tables = quiet()
    happen(tables, "code_status", [{"start_dttm": 5, "code_status_category": "DNR/DNI"}], stay=stay)
    names = ("s0-0", "s0-1")
    assert story(tables, tmp_path, names[stay]) == ["300 code_status/dnr_or_dni"]
    assert story(tables, tmp_path, names[1 - stay]) == []


def close_stays(hours: float) -> Tables:
    """The first patient's second stay begins `hours` after the first ends; each lasts 48 h."""
    tables = quiet()
    first = tables["hospitalization"]["admission_dttm"][0]
    day = pl.duration(hours=48)
    second = pl.lit(first) + day + pl.duration(hours=hours)
    stays = tables["hospitalization"].with_columns(
        pl.when(pl.col(ID) == "s0-1").then(second).otherwise("admission_dttm").alias("admission_dttm")
    )
    tables["hospitalization"] = stays.with_columns((pl.col("admission_dttm") + day).alias("discharge_dttm"))
    return tables


def test_a_code_status_set_in_a_later_stay_never_enters_an_earlier_one(tmp_path: Path) -> None:
    tables = close_stays(5)
    happen(tables, "code_status", [{"start_dttm": 1, "code_status_category": "Full"}], stay=1)
    happen(tables, "code_status", [{"start_dttm": -1, "code_status_category": "DNR"}], stay=1)
    assert story(tables, tmp_path, "s0-0") == []
    assert story(tables, tmp_path, "s0-1") == ["0 code_status/dnr", "60 code_status/full"]


def test_a_code_status_set_in_an_earlier_stay_belongs_to_that_one_alone(tmp_path: Path) -> None:
    tables = close_stays(5)
    happen(tables, "code_status", [{"start_dttm": 40, "code_status_category": "DNR"}], stay=0)
    assert story(tables, tmp_path, "s0-0") == ["2400 code_status/dnr"]
    assert story(tables, tmp_path, "s0-1") == []


def test_static_fields(tmp_path: Path) -> None:
    tables = quiet()
    result = tokenize(tables, tmp_path, events="all")
    stay, patient = tables["hospitalization"].row(0, named=True), tables["patient"].row(0, named=True)
    assert result.names(FIRST)[:4] == [
        "TL_START",
        "race/" + patient["race_category"].lower().replace(" ", "_"),
        "ethnicity/" + patient["ethnicity_category"].lower().replace("-", "_"),
        "sex/" + patient["sex_category"].lower(),
    ]
    assert result.names(FIRST)[5:] == [
        "admission/" + stay["admission_type_category"],
        "discharge/" + stay["discharge_category"].lower(),
        "TL_END",
    ]


def test_rows_without_a_time_a_code_or_a_stay_are_left_out_and_counted(tmp_path: Path) -> None:
    tables = quiet()
    vital = {"recorded_dttm": 1, "vital_category": "sbp", "vital_value": 1.0}
    happen(tables, "vitals", [vital, vital | {"vital_category": None}, vital | {"vital_category": " "}])
    happen(tables, "vitals", [{"vital_category": "sbp"}])
    happen(tables, "vitals", [vital | {ID: "stranger"}, vital | {ID: None}])
    site = read(tables, tmp_path, events="all")
    assert "clif_vitals: 1 rows have no recorded_dttm; they are left out." in site.notes
    assert "clif_vitals: 2 rows have no vital_category; they are left out." in site.notes
    assert "clif_vitals: 4 of 5 rows belong to a stay of clif_hospitalization." in site.notes
    assert story(tables, tmp_path) == ["60 vital/sbp Q0"]


def test_values_that_are_no_numbers_are_counted_and_their_events_stay(tmp_path: Path) -> None:
    tables = quiet()
    tables["labs"] = tables["labs"].cast({"lab_value_numeric": pl.String})
    values = ("NaN", "inf", "<5", "5", "", None)
    lab = {"lab_category": "sodium", "lab_result_dttm": 1}
    happen(tables, "labs", [lab | {"lab_value_numeric": value} for value in values])
    for value in (float("nan"), float("inf"), -float("inf"), 3.0, None):
        happen(tables, "vitals", [{"recorded_dttm": 2, "vital_category": "sbp", "vital_value": value}])
    result = tokenize(tables, tmp_path)
    names = [token for _, token in result.between(FIRST)]
    assert names == [*("lab/sodium", "Q0"), *["lab/sodium"] * 5, *("vital/sbp", "Q0"), *["vital/sbp"] * 4]
    assert result.site.not_numbers == {"lab/sodium": 3, "vital/sbp": 3}
    assert any("clif_labs: 3 values of lab_value_numeric are no finite" in note for note in result.site.notes)
    assert any("(vital/sbp 3); their events have no value" in note for note in result.site.notes)
    assert result.tokenizer.cut_points["lab/sodium"] == []
    row = result.categories().filter(pl.col("code") == "lab/sodium").row(0, named=True)
    assert (row["n_events"], row["n_values"], row["not_numbers"]) == (6, 1, 3)


def test_tables_and_columns_that_are_not_there_are_told(tmp_path: Path) -> None:
    tables = make_tables(patients=3)
    del tables["respiratory_support"]
    notes = read(tables, tmp_path, events="all").notes
    assert "No table clif_respiratory_support: its events are missing." in notes
    assert "No table clif_crrt_therapy: its events are missing." in notes
    assert "clif_adt has no out_dttm: its events are missing." in notes
    tables = make_all_tables(patients=3)
    tables["respiratory_support"] = tables["respiratory_support"].drop("fio2_set")
    tables["position"] = tables["position"].clear()
    notes = read(tables, tmp_path, events="all").notes
    assert "clif_respiratory_support has no fio2_set: respiratory/fio2_set is missing." in notes
    assert "clif_position has no rows." in notes


def test_free_text_is_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "MOST_CODES", 20)
    tables = quiet()
    for i in range(21):
        happen(tables, "vitals", [{"recorded_dttm": 1, "vital_category": f"note {i}", "vital_value": 1.0}])
    message = (
        "clif_vitals.parquet: column 'vital_category' has more than 20 distinct texts; that is no category"
    )
    with pytest.raises(UserError, match=message):
        read(tables, tmp_path)


def test_free_text_in_an_answer_is_blamed_on_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_module, "MOST_CODES", 20)
    tables = quiet()
    rows = [
        {"recorded_dttm": 1, "assessment_category": "sbt", "categorical_value": f"note {i}"}
        for i in range(21)
    ]
    happen(tables, "patient_assessments", rows)
    with pytest.raises(UserError, match="column 'categorical_value' has more than 20 distinct texts"):
        read(tables, tmp_path)


# the same site in other forms

ALL = make_all_tables(patients=6)


def same(folder: Path, tmp_path: Path) -> None:
    """The site in `folder` gives the tokenizer and the timelines of `ALL`, byte for byte."""
    expected, found = (
        tokenize(ALL, tmp_path / "expected", events="all"),
        tokenize(folder, tmp_path, events="all"),
    )
    assert [n for n in found.site.notes if n not in expected.site.notes] == []
    assert found.json == expected.json
    assert found.frame.equals(expected.frame)
    assert found.frame.schema == expected.frame.schema


def changed(change: Callable[[pl.DataFrame], pl.DataFrame], folder: Path) -> Path:
    return write_tables({name: change(table) for name, table in ALL.items()}, folder)


@pytest.mark.parametrize("unit", ["ns", "us", "ms"])
@pytest.mark.parametrize("zone", ["UTC", "America/Chicago"])
def test_times_of_any_unit_and_zone(tmp_path: Path, unit: str, zone: str) -> None:
    def change(table: pl.DataFrame) -> pl.DataFrame:
        return table.with_columns(cs.datetime().dt.cast_time_unit(unit).dt.convert_time_zone(zone))  # type: ignore[arg-type]

    same(changed(change, tmp_path / "site"), tmp_path)


def write_csv(folder: Path, ending: str, times: str | None = None) -> Path:
    folder.mkdir()
    for name, table in ALL.items():
        if times:
            table = table.with_columns(
                cs.datetime().dt.convert_time_zone("America/Chicago").dt.strftime(times)
            )
        text = table.write_csv().encode()
        (folder / f"clif_{name}{ending}").write_bytes(gzip.compress(text) if ending.endswith("gz") else text)
    return folder


@pytest.mark.parametrize("ending", [".csv", ".csv.gz"])
@pytest.mark.parametrize("times", [None, "%Y-%m-%d %H:%M:%S%:z", "%Y-%m-%dT%H:%M:%S.%f%z"])
def test_csv_with_offsets(tmp_path: Path, ending: str, times: str | None) -> None:
    same(write_csv(tmp_path / "site", ending, times), tmp_path)


def test_csv_from_pandas(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    for name, table in ALL.items():
        table.to_pandas().to_csv(tmp_path / "site" / f"clif_{name}.csv", index=False)
    same(tmp_path / "site", tmp_path)


def test_true_and_false_in_csv_are_those_of_parquet(tmp_path: Path) -> None:
    trach = (pl.col("tracheostomy") == 1).alias("tracheostomy")
    support = ALL["respiratory_support"].with_columns(trach)
    folder = write_tables(ALL, tmp_path / "a")
    support.write_parquet(folder / "clif_respiratory_support.parquet")
    assert "respiratory/tracheostomy" in tokenize(folder, tmp_path, events="all").tokenizer.vocabulary
    (folder / "clif_respiratory_support.parquet").unlink()
    support.write_csv(folder / "clif_respiratory_support.csv")
    same(folder, tmp_path)


def parts(folder: Path, table: str, frames: list[pl.DataFrame]) -> Path:
    write_tables(ALL, folder)
    (folder / f"clif_{table}.parquet").unlink()
    (folder / f"clif_{table}").mkdir()
    for i, frame in enumerate(frames):
        frame.write_parquet(folder / f"clif_{table}" / f"part-{i}.parquet")
    return folder


@pytest.mark.parametrize("table", [name for name in ALL if name != "patient"])
def test_a_folder_of_parts_of_different_types_with_an_empty_one(tmp_path: Path, table: str) -> None:
    frame = ALL[table]
    half = frame.height // 2
    other = frame.tail(frame.height - half).with_columns(
        cs.datetime().dt.cast_time_unit("ms").dt.convert_time_zone("America/Chicago"),
        cs.string().cast(pl.Categorical),
        cs.integer().cast(pl.Float64),
    )
    frames = [frame.clear(), frame.head(half), other.select(reversed(frame.columns)), frame.clear()]
    same(parts(tmp_path / "site", table, frames), tmp_path)


def test_a_first_part_without_types_takes_nothing_away(tmp_path: Path) -> None:
    labs = ALL["labs"]
    nothing = labs.select(pl.lit(None).alias(column) for column in labs.columns).clear()
    same(parts(tmp_path / "site", "labs", [nothing, labs]), tmp_path)


def numbered(dtype: pl.DataType) -> Tables:
    """`ALL` with numbers as ids, of a given type, in the order of the texts."""
    stays = ALL["hospitalization"].select("patient_id", ID)
    new = {
        column: {old: 10**9 + i for i, old in enumerate(sorted(set(stays[column])))}
        for column in stays.columns
    }
    columns = [pl.col(c).replace_strict(own, return_dtype=pl.Int64).cast(dtype) for c, own in new.items()]
    return {
        name: table.with_columns(column for column in columns if column.meta.output_name() in table.columns)
        for name, table in ALL.items()
    }


def test_ids_as_text_integers_or_floats(tmp_path: Path) -> None:
    results: list[Tokenized] = []
    for i, dtype in enumerate((pl.String(), pl.Int64(), pl.Int32(), pl.Float64())):
        results.append(tokenize(numbered(dtype), tmp_path / str(i), events="all"))
    mixed = numbered(pl.Int64()) | {"vitals": numbered(pl.Float64())["vitals"]}
    mixed["labs"] = numbered(pl.String())["labs"]
    results.append(tokenize(mixed, tmp_path / "mixed", events="all"))
    assert results[0].frame.height == ALL["hospitalization"].height
    for result in results[1:]:
        assert result.json == results[0].json
        assert result.frame.equals(results[0].frame)


def test_leading_zeros_of_ids_are_kept_in_csv(tmp_path: Path) -> None:
    tables = {
        name: table.with_columns(
            ("00" + pl.col(c)).alias(c) for c in ("patient_id", ID) if c in table.columns
        )
        for name, table in numbered(pl.String()).items()
    }
    (tmp_path / "csv").mkdir()
    for name, table in tables.items():
        table.write_csv(tmp_path / "csv" / f"clif_{name}.csv")
    found = tokenize(tmp_path / "csv", tmp_path, events="all")
    assert found.frame[ID].str.starts_with("001").all()
    assert found.frame.equals(tokenize(tables, tmp_path / "p", events="all").frame)


def spelled_3_0(tables: Tables) -> Tables:
    from clifpy.utils.crosswalk import crosswalk_table_2_1_to_3_0

    return {name: crosswalk_table_2_1_to_3_0(table, name)[0] for name, table in tables.items()}


@pytest.mark.parametrize("events", ["paper", "all"])
@pytest.mark.parametrize("labs", ["coarse", "fine"])
def test_clif_2_1_and_3_0_give_the_same_tokens(tmp_path: Path, events: str, labs: str) -> None:
    tables = dict(ALL)
    n = tables["respiratory_support"].height
    devices = ["High Flow NC", "IMV", "Nasal Cannula", "Room Air"]
    modes = ["Assist Control-Volume Control", "Pressure Support/CPAP", None]
    tables["respiratory_support"] = tables["respiratory_support"].with_columns(
        pl.Series("device_category", [devices[i % 4] for i in range(n)]),
        pl.Series("mode_category", [modes[i % 3] for i in range(n)]),
    )
    tables["hospitalization"] = tables["hospitalization"].with_columns(
        pl.when(pl.int_range(pl.len()) % 2 == 0)
        .then(pl.lit("Skilled Nursing Facility (SNF)"))
        .otherwise("discharge_category")
        .alias("discharge_category")
    )
    new = spelled_3_0(tables)
    differ = [name for name in tables if not new[name].equals(tables[name])]
    assert {"patient", "hospitalization", "respiratory_support"} <= set(differ)
    settings = TokenSettings(labs=labs)
    old_result = tokenize(tables, tmp_path / "a", events=events, settings=settings)
    new_result = tokenize(new, tmp_path / "b", events=events, settings=settings)
    assert new_result.json == old_result.json
    assert new_result.frame.equals(old_result.frame)
    assert {"respiratory/hfnc", "respiratory/acvc", "discharge/snf"} <= set(old_result.tokenizer.vocabulary)


def test_a_row_of_a_patient_without_a_time_is_one_row_however_many_stays_there_are(tmp_path: Path) -> None:
    tables = quiet()
    stays = tables["hospitalization"].group_by("patient_id").len().filter(pl.col("len") > 1)
    assert stays.height, "a patient with two stays"
    tables["code_status"] = pl.DataFrame(
        {
            "patient_id": [stays["patient_id"][0]],
            "start_dttm": pl.Series([None], dtype=pl.Datetime("us", "UTC")),
            "code_status_category": ["Full"],
        }
    )
    notes = read(tables, tmp_path, events="all").notes
    assert "clif_code_status: 1 rows have no start_dttm; they are left out." in notes
