from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
import yaml

from ehrfm_core.clif.event_map import MAPS, load_map
from ehrfm_core.clif.site import Site
from ehrfm_core.errors import UserError
from ehrfm_core.sources.meds import is_meds, open_meds, read_meds
from train.__main__ import main

BEGIN = datetime(2020, 1, 1)  # noqa: DTZ001 - MEDS times have no zone
Row = tuple[int, float | None, str, float | None]


def person(subject: int, *, stays: int = 1, days: float = 3, dies: bool = False) -> list[Row]:
    """Rows (subject, hours since BEGIN, code, value) of a person of 50 years with stays 30 days apart."""
    rows: list[Row] = [
        (subject, -50 * 365.25 * 24, "MEDS_BIRTH", None),
        (subject, None, "GENDER//F", None),
        (subject, None, "RACE//WHITE", None),
    ]
    for stay in range(stays):
        begin = 24.0 * (30 * stay + subject % 7)
        rows += [
            (subject, begin, "HOSPITAL_ADMISSION//EW EMER.", None),
            (subject, begin + 5, "LAB//50971//mEq/L", 4.0 + stay),
            (subject, begin + 6, "Heart Rate", 80.0 + subject),
            (subject, begin + 24 * days, "HOSPITAL_DISCHARGE//HOME", None),
        ]
    if dies:
        rows.append((subject, 24.0 * (30 * (stays - 1) + subject % 7) + 24 * days + 1, "MEDS_DEATH", None))
    return rows


def write(rows: list[Row], folder: Path, *, parts: int = 2) -> Path:
    frame = pl.DataFrame(
        {
            "subject_id": [row[0] for row in rows],
            "time": [None if row[1] is None else BEGIN + timedelta(hours=row[1]) for row in rows],
            "code": [row[2] for row in rows],
            "numeric_value": pl.Series([row[3] for row in rows], dtype=pl.Float32),
        },
        schema_overrides={"subject_id": pl.Int64, "time": pl.Datetime("us")},
    )
    (folder / "data" / "train").mkdir(parents=True, exist_ok=True)
    for part in range(parts):
        frame.filter(pl.int_range(pl.len()) % parts == part).write_parquet(
            folder / "data" / "train" / f"{part}.parquet"
        )
    return folder


def read(rows: list[Row], folder: Path, tmp_path: Path) -> Site:
    assert is_meds(write(rows, folder))
    return read_meds(open_meds(folder), load_map("paper"), tmp_path, window_hours=24)


def events_of(site: Site) -> list[tuple[int, str, float, float]]:
    """Stay, code, hours since admission, value; in order."""
    found = []
    for part in range(site.store.n_partitions):
        for stay, item, micros, value in zip(*site.store.partition(part), strict=True):
            found.append((int(stay), site.store.items[item].code, micros / 3.6e9, float(value)))
    return sorted(found, key=str)


def test_stays_events_and_outcomes_of_a_person(tmp_path: Path) -> None:
    rows = [*person(1, stays=2, days=8), *person(2, dies=True), (2, 48.0 + 7, "ICU_ADMISSION//MICU", None)]
    site = read(rows, tmp_path / "meds", tmp_path)
    assert site.stays["hospitalization_id"].to_list() == ["1-1", "1-2", "2-1"]
    assert site.stays["patient_id"].to_list() == ["1", "1", "2"]
    assert site.stays["sex"].to_list() == ["Female"] * 3
    assert site.stays["race"].to_list() == ["White"] * 3
    assert site.stays["death"].to_list() == [False, False, True]
    assert site.stays["long_los"].to_list() == [True, True, False]
    assert site.stays["icu"].to_list() == [False, False, True]
    assert site.stays["icu_24h"].to_list() == [False, False, True]
    assert site.stays["imv"].null_count() == 3  # no code tells of ventilation
    assert site.stays["age"].round(1).to_list() == [50.0, 50.1, 50.0]
    assert site.stays["static_discharge"].to_list() == ["home", "home", "expired"]
    assert site.stays["static_admission"].to_list() == ["ew_emer."] * 3
    assert [event for event in events_of(site) if event[1] != "icu_admission/micu"] == [
        (0, "code/heart_rate", 6.0, 81.0),
        (0, "lab/50971_meq_or_l", 5.0, 4.0),
        (1, "code/heart_rate", 6.0, 81.0),
        (1, "lab/50971_meq_or_l", 5.0, 5.0),
        (2, "code/heart_rate", 6.0, 82.0),
        (2, "lab/50971_meq_or_l", 5.0, 4.0),
    ]
    assert [event[:3] for event in events_of(site) if event[1] == "icu_admission/micu"] == [
        (2, "icu_admission/micu", 7.0)
    ]


def test_an_event_belongs_to_the_stay_it_falls_into_or_that_begins_within_a_day(tmp_path: Path) -> None:
    rows = person(7, stays=2, days=3)
    more = [("early", -23.0), ("too_early", -25.0), ("between", 24 * 15.0), ("before_second", 24 * 29.5)]
    rows += [(7, hours, f"X//{name}", 1.0) for name, hours in more]
    found = {(stay, code): hours for stay, code, hours, _ in events_of(read(rows, tmp_path / "m", tmp_path))}
    assert found[0, "x/early"] == -23
    assert found[1, "x/before_second"] == -12
    assert not {code for _, code in found} & {"x/too_early", "x/between"}


def test_an_admission_without_a_discharge_is_left_out_and_told(tmp_path: Path) -> None:
    rows = [row for row in person(1, stays=2) if row[1] != 24 * 1 + 24 * 3]  # the first discharge is gone
    site = read([*rows, *person(2)], tmp_path / "m", tmp_path)
    assert site.stays["hospitalization_id"].to_list() == ["1-2", "2-1"]
    assert any("1 of 3 admissions have no discharge" in note for note in site.notes)


def test_without_a_death_the_outcome_is_unknown(tmp_path: Path) -> None:
    site = read(person(1), tmp_path / "m", tmp_path)
    assert site.stays["death"].to_list() == [None]
    assert any("outcome death is unknown" in note for note in site.notes)


def test_values_that_are_no_numbers_are_counted(tmp_path: Path) -> None:
    rows = [
        *person(1),
        (1, 30.0, "LAB//x", float("nan")),
        (1, 31.0, "LAB//x", float("inf")),
        (1, 32.0, "LAB//x", None),
    ]
    site = read(rows, tmp_path / "m", tmp_path)
    assert site.not_numbers == {"lab/x": 2}
    assert sum(code == "lab/x" for _, code, _, _ in events_of(site)) == 3


def test_a_map_of_ones_own(tmp_path: Path) -> None:
    rows = [(s, t, code.replace("HOSPITAL_ADMISSION", "ADM"), v) for s, t, code, v in person(1)]
    folder = write(rows, tmp_path / "m")
    with pytest.raises(UserError, match="no row has a code of the role admission"):
        read_meds(open_meds(folder), load_map("paper"), tmp_path, window_hours=24)
    value = yaml.safe_load((MAPS / "meds.yaml").read_text()) | {"admission": ["ADM"]}
    own = tmp_path / "own.yaml"
    own.write_text(yaml.safe_dump(value))
    site = read_meds(open_meds(folder, own), load_map("paper"), tmp_path, window_hours=24)
    assert site.stays.height == 1
    for wrong in ({"admission": []}, {"admission": "ADM"}, {"colour": ["x"]}):
        own.write_text(yaml.safe_dump(value | wrong))
        with pytest.raises(UserError, match="own.yaml"):
            open_meds(folder, own)
    with pytest.raises(UserError, match="gone.yaml"):
        open_meds(folder, tmp_path / "gone.yaml")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (pl.col("code").alias("concept"), "column 'code' is missing"),
        (pl.col("time").cast(pl.String), "column 'time' is String"),
        (pl.col("numeric_value").cast(pl.String), "column 'numeric_value' is String"),
    ],
)
def test_what_is_no_meds(tmp_path: Path, change: pl.Expr, message: str) -> None:
    folder = write(person(1), tmp_path, parts=1)
    part = folder / "data" / "train" / "0.parquet"
    frame = pl.read_parquet(part).with_columns(change)
    (frame.drop("code") if "missing" in message else frame).write_parquet(part)
    with pytest.raises(UserError, match=message):
        open_meds(folder)
    part.write_bytes(b"x")
    with pytest.raises(UserError, match="not readable as parquet"):
        open_meds(folder)


def test_a_meds_dataset_is_a_site_and_timelines_go_out_as_meds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [row for subject in range(1, 21) for row in person(subject, stays=1 + subject % 2)]
    folder = write(rows, tmp_path / "meds")
    study = tmp_path / "study"
    assert main(["tokenize", str(study), "--site", f"a={folder}"]) == 0
    timelines = pl.read_parquet(study / "sites/a/timelines.parquet")
    assert main(["tokenize", str(study), "--meds-out", str(tmp_path / "out")]) == 0
    out = tmp_path / "out"
    data = pl.read_parquet(out / "data" / "a.parquet")
    assert data.schema == {
        "subject_id": pl.Int64(),
        "time": pl.Datetime("us"),
        "code": pl.String(),
        "numeric_value": pl.Float32(),
    }
    assert data.height == timelines["tokens"].list.len().sum()
    assert data["subject_id"].n_unique() == timelines.height
    stays = pl.read_parquet(out / "metadata" / "stays.parquet")
    splits = pl.read_parquet(out / "metadata" / "subject_splits.parquet")
    assert set(splits["split"]) == {"train", "tuning", "held_out"}
    first = stays.filter(pl.col("hospitalization_id") == timelines["hospitalization_id"][0])["subject_id"][0]
    mine = data.filter(pl.col("subject_id") == first)
    assert mine["code"][0] == "TL_START"
    assert mine["time"][:6].null_count() == 6
    assert mine.filter(pl.col("code") == "lab/50971_meq_or_l")["time"].item() == datetime(2000, 1, 1, 5)  # noqa: DTZ001
    assert mine["code"][-1] == "TL_END"
    name = json.loads((out / "metadata" / "dataset.json").read_text())["dataset_name"]
    assert main(["tokenize", str(study), "--site", f"a={folder}", "--synthetic"]) == 0
    assert main(["tokenize", str(study), "--meds-out", str(tmp_path / "again")]) == 0
    again = json.loads((tmp_path / "again" / "metadata" / "dataset.json").read_text())["dataset_name"]
    assert (name, again) == ("study", "SYNTHETIC study")
    assert main(["tokenize", str(study), "--meds-out", str(out)]) == 1
    assert "not an empty folder" in capsys.readouterr().err
    assert main(["tokenize", str(study), "--stay", "1-1"]) == 0
    assert "lab/50971_meq_or_l" in capsys.readouterr().out
    assert main(["tokenize", str(study), "--stay", "nobody"]) == 1
