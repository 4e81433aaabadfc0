from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from ehrfm_core.clif.event_map import load_map
from ehrfm_core.clif.validation.check import check_directory
from ehrfm_core.errors import UserError
from ehrfm_core.sources.cinc2012 import import_cinc2012
from ehrfm_core.sources.clif_writing import Imported, admission_of
from tests.make_site import read as read_site
from tests.sources.make_challenges import (
    FIRST,
    Files,
    as_folder,
    as_tar,
    as_zip,
    challenge_2012,
    challenge_2019,
    record_2012,
)

ID = "hospitalization_id"


def imported(tmp_path: Path, files: Files) -> tuple[dict[str, pl.DataFrame], Imported]:
    out = tmp_path / "out"
    done = import_cinc2012([as_folder(tmp_path / "src", files)], out)
    return tables(out), done


def tables(out: Path) -> dict[str, pl.DataFrame]:
    return {path.stem.removeprefix("clif_"): pl.read_parquet(path) for path in sorted(out.rglob("*.parquet"))}


def of(table: pl.DataFrame, record: int) -> pl.DataFrame:
    return table.filter(pl.col(ID) == str(record))


def told(done: Imported, words: str) -> str:
    return next(note for note in done.notes if words in note)


def test_a_record_by_hand(tmp_path: Path) -> None:
    clif, _ = imported(tmp_path, challenge_2012())
    admission = admission_of(str(FIRST))
    vitals = of(clif["vitals"], FIRST).filter(pl.col("recorded_dttm") == admission + timedelta(minutes=67))
    found = {row[0]: row[1:] for row in vitals.select("vital_name", "vital_category", "vital_value").rows()}
    assert found == {
        "SysABP": ("sbp", 121.0),
        "NISysABP": ("sbp", 117.0),
        "Temp": ("temp_c", 36.6),
    }
    assert vitals.filter(vital_name="SysABP")["meas_site_name"].item() == "arterial line"
    assert vitals.filter(vital_name="NISysABP")["meas_site_name"].item() == "cuff"
    labs = of(clif["labs"], FIRST).select(
        "lab_category", "lab_value_numeric", "reference_unit", "lab_order_category"
    )
    assert set(labs.rows()) == {
        ("potassium", 4.0, "mmol/L", "bmp"),
        ("troponin_t", 250.0, "ng/L", "misc"),
        ("so2_arterial", 97.0, "%", "blood_gas"),
        ("magnesium", 2.1, "mg/dL", "misc"),
    }
    breathing = of(clif["respiratory_support"], FIRST).select("recorded_dttm", "device_category", "fio2_set")
    assert breathing.rows() == [
        (admission + timedelta(minutes=130), "IMV", 0.5),
        (admission + timedelta(minutes=190), None, 0.4),
    ]
    gcs = of(clif["patient_assessments"], FIRST).select("assessment_category", "numerical_value")
    assert gcs.rows() == [("gcs_total", 14.0)]
    last = of(clif["vitals"], FIRST)["recorded_dttm"].max()
    assert last == admission + timedelta(hours=48)
    weight = of(clif["vitals"], FIRST).filter(vital_category="weight_kg")
    assert weight.select("recorded_dttm", "vital_value").rows() == [(admission, 80.0)]


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    clif, done = imported(tmp_path, challenge_2012())
    assert done.counts.left_out == {"Urine": 1, "HCT": 1}
    assert done.counts.missing == {"Height": 10, "Weight": 1, "pH": 1}
    assert done.counts.impossible == {"Temp": 1, "SysABP": 1}
    assert told(done, "no parameter").endswith("1 rows name no parameter; they are left out.")
    assert (
        sum(done.counts.kept.values())
        == sum(clif[name].height for name in ("vitals", "labs", "patient_assessments")) + 3
    )  # MechVent and two FiO2, in two rows
    assert "height_cm" not in clif["vitals"]["vital_category"]


def test_ends_and_deaths(tmp_path: Path) -> None:
    clif, done = imported(tmp_path, challenge_2012())
    stays = clif["hospitalization"].sort(ID)
    days = ((stays["discharge_dttm"] - stays["admission_dttm"]).dt.total_hours() / 24).to_list()
    assert days == [3, 2, 7, 9, 11, 13, 15, 17, None, None]
    ends = stays["discharge_category"].to_list()
    assert ends == ["Other"] * 3 + ["Expired"] * 2 + ["Other"] * 5
    told(done, "2 records have no length of stay")
    told(done, "1 records have a length under 48 h")
    told(done, "10 records, 2 deaths in hospital")
    told(done, "1 records have nothing charted")


def test_what_a_study_makes_of_it(tmp_path: Path) -> None:
    imported(tmp_path, challenge_2012())
    site = read_site(tmp_path / "out", tmp_path / "scratch")
    stays = site.stays.sort(ID)
    assert stays.height == 9  # the empty one of unknown length cannot be shown to last a day
    assert stays["death"].to_list() == [False] * 3 + [True] * 2 + [False] * 4
    assert stays["long_los"].to_list() == [False, False, False, True, True, True, True, True, None]
    assert stays["los_hours"].null_count() == 1
    assert stays["icu_24h"].all()
    assert stays["imv"].to_list() == [True, *[False] * 7, None]  # the last: nobody knows what came later


def test_nothing_in_the_window_tells_of_the_end(tmp_path: Path) -> None:
    files = challenge_2012()
    clif, _ = imported(tmp_path, files)
    files["Outcomes-a.txt"] = b"RecordID,Length_of_stay,In-hospital_death\n" + b"".join(
        f"{FIRST + i},60,1\n".encode() for i in range(10)
    )
    other, _ = imported(tmp_path / "other", files)
    for name in clif:
        if name != "hospitalization":
            assert_frame_equal(clif[name], other[name])
    ends = ("discharge_dttm", "discharge_category")
    assert_frame_equal(clif["hospitalization"].drop(ends), other["hospitalization"].drop(ends))
    assert clif["adt"]["out_dttm"].null_count() == 10


def test_it_is_valid_clif(tmp_path: Path) -> None:
    imported(tmp_path, challenge_2012())
    report = check_directory(tmp_path / "out", load_map("all"))
    assert report.clif_version == "2.1"
    assert report.count("error") == 0


def test_wherever_it_lies_and_in_whatever_order(tmp_path: Path) -> None:
    a, b = challenge_2012(), challenge_2012(letter="b", first=FIRST + 100)
    import_cinc2012([as_folder(tmp_path / "a", a | b)], tmp_path / "one")
    packed = as_zip(tmp_path / "set-b.zip", {k: v for k, v in b.items() if k.startswith("set")})
    beside = as_folder(tmp_path / "loose", {k: v for k, v in b.items() if not k.startswith("set")})
    import_cinc2012(
        [packed, as_tar(tmp_path / "set-a.tar.xz", dict(reversed(a.items()))), beside / "Outcomes-b.txt"],
        tmp_path / "two",
    )
    one, two = tables(tmp_path / "one"), tables(tmp_path / "two")
    assert one.keys() == two.keys()
    for name, table in one.items():
        assert_frame_equal(table, two[name])
    assert one["hospitalization"].height == 20


def test_invented_dates_depend_on_the_record_alone(tmp_path: Path) -> None:
    clif, done = imported(tmp_path, challenge_2012())
    alone, _ = imported(tmp_path / "b", {"x/1.txt": record_2012(FIRST + 3, "01:00,HR,80")})
    assert (
        alone["hospitalization"]["admission_dttm"][0]
        == of(clif["hospitalization"], FIRST + 3)["admission_dttm"].item()
    )
    order = clif["hospitalization"].sort("admission_dttm")[ID].to_list()
    assert order != sorted(order)
    assert all(datetime(2100, 1, 1, tzinfo=UTC) <= time for time in clif["hospitalization"]["admission_dttm"])
    told(done, "Dates are invented")


def test_one_directory_an_icu_type(tmp_path: Path) -> None:
    src = as_folder(tmp_path / "src", challenge_2012())
    done = import_cinc2012([src], tmp_path / "out", by_unit=True)
    types = {"coronary": 3, "cardiac_surgery": 3, "medical": 2, "surgical": 2}
    locations = {"coronary": "cardiac_icu", "cardiac_surgery": "cardiothoracic_surgical_icu"}
    for folder, n in types.items():
        adt = pl.read_parquet(tmp_path / "out" / folder / "clif_adt.parquet")
        assert adt.height == n == done.rows[f"{folder}/clif_hospitalization.parquet"]
        assert set(adt["location_type"]) == {locations.get(folder, f"{folder}_icu")}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(types)
    import_cinc2012([src], tmp_path / "out", by_unit=True)  # again, into what is there


def test_what_is_broken_is_told_and_the_rest_goes_on(tmp_path: Path) -> None:
    files = challenge_2012()
    number = FIRST + 20
    files |= {
        "set-a/900021.txt": record_2012(number, "01:00,HR,80", "02:00,HR")[:-1],
        "set-a/900022.txt": b"Time,Parameter\n00:00,Age\n",
        "set-a/900023.txt": b"",
        "set-a/900024.txt": record_2012(FIRST + 23, "soon,HR,80", "01:00,HR,eighty", "02:00,HR,81"),
        "set-b/900001.txt": record_2012(FIRST, "01:00,HR,12"),
        "p000001.psv": challenge_2019()["training_setA/p000001.psv"],
        "README.md": b"# Challenge\n",
        "Outcomes-b.txt": b"RecordID,Length_of_stay,In-hospital_death\n42,3,0\n",
        "Outcomes-c.txt": b"RecordID,Length_of_stay\n43,3\n",
    }
    clif, done = imported(tmp_path, files)
    notes = "\n".join(done.notes)
    assert "900021.txt: 1 rows are cut off" in notes
    assert "900022.txt: column 'Value' is missing; left out." in notes
    assert "900023.txt: empty file; left out." in notes
    assert "1 rows have no time such as 07:37" in notes
    assert "1 values are no numbers" in notes
    assert "900001.txt: there already, under the same RecordID" in notes
    assert "1 files are of the Challenge 2019" in notes
    assert "1 outcomes are of records that are not there" in notes
    assert "2 records have no outcome" in notes
    assert "Outcomes-c.txt: column 'In-hospital_death' is missing" in notes
    assert clif["hospitalization"].height == 12
    assert of(clif["hospitalization"], number)["discharge_category"].item() is None
    assert of(clif["vitals"], FIRST + 23).filter(vital_category="heart_rate")["vital_value"].to_list() == [81]
    assert 12.0 not in of(clif["vitals"], FIRST)["vital_value"]


def test_two_outcomes_of_one_record(tmp_path: Path) -> None:
    files = challenge_2012()
    files["Outcomes-z.txt"] = f"RecordID,Length_of_stay,In-hospital_death\n{FIRST},9,1\n".encode()
    clif, done = imported(tmp_path, files)
    told(done, "1 records have two different outcomes")
    assert clif["hospitalization"].height == 10


@pytest.mark.parametrize("sources", ["files of 2019", "nothing", "a text"])
def test_nothing_to_import(tmp_path: Path, sources: str) -> None:
    files = {"files of 2019": challenge_2019(), "nothing": {}, "a text": {"notes.txt": b"hello\n"}}[sources]
    src = as_folder(tmp_path / "src", files)
    src.mkdir(exist_ok=True)
    words = "10 files are of the Challenge 2019; use `python -m train import cinc2019`"
    with pytest.raises(UserError, match=words if files and len(files) == 10 else "holds no record"):
        import_cinc2012([src], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    src, out = as_folder(tmp_path / "src", challenge_2012()), tmp_path / "out"
    out.mkdir()
    (out / "thesis.docx").write_text("mine")
    with pytest.raises(UserError, match=r"holds thesis.docx, which is not from this import"):
        import_cinc2012([src], out)
    (out / "thesis.docx").rename(out / "clif_labs.parquet")
    with pytest.raises(UserError, match=r"holds clif_labs.parquet, which is not from this import"):
        import_cinc2012([src], out)
    assert (out / "clif_labs.parquet").read_text() == "mine"
    assert len(list(out.iterdir())) == 1


def test_importing_twice_changes_nothing(tmp_path: Path) -> None:
    src, out = as_folder(tmp_path / "src", challenge_2012()), tmp_path / "out"
    import_cinc2012([src], out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    import_cinc2012([src], out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
