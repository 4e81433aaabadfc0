from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from ehrfm_core.clif.event_map import load_map
from ehrfm_core.clif.outcome_file import load_outcomes
from ehrfm_core.clif.own_outcomes import add_own_outcomes, outcome_tables
from ehrfm_core.clif.validation.check import check_directory
from ehrfm_core.errors import UserError
from ehrfm_core.sources.cinc2019 import import_cinc2019
from ehrfm_core.sources.clif_writing import Imported, admission_of
from tests.make_site import read as read_site
from tests.make_site import tokenize
from tests.sources.make_challenges import (
    COLUMNS,
    as_folder,
    as_tar,
    as_zip,
    challenge_2012,
    challenge_2019,
    record_2019,
    row_2019,
)

ID = "hospitalization_id"


def tables(out: Path, hospital: str = "hospital_a") -> dict[str, pl.DataFrame]:
    return {
        path.stem.removeprefix("clif_"): pl.read_parquet(path) for path in (out / hospital).glob("*.parquet")
    }


def imported(tmp_path: Path, files: dict[str, bytes]) -> tuple[dict[str, pl.DataFrame], Imported]:
    done = import_cinc2019([as_folder(tmp_path / "src", files)], tmp_path / "out")
    return tables(tmp_path / "out"), done


def test_a_record_by_hand(tmp_path: Path) -> None:
    clif, _ = imported(tmp_path, challenge_2019())
    admission = admission_of("p00001")
    assert clif["hospitalization"][ID].to_list() == [f"p0{i:05d}" for i in range(1, 11)]
    admission = admission_of("p000001")
    fifth = admission + timedelta(hours=5)
    vitals = clif["vitals"].filter((pl.col(ID) == "p000001") & (pl.col("recorded_dttm") == fifth))
    assert set(vitals.select("vital_category", "vital_value").rows()) == {("heart_rate", 88), ("spo2", 96)}
    labs = clif["labs"].filter(pl.col(ID) == "p000001")
    assert set(labs.select("lab_category", "lab_value_numeric", "reference_unit").rows()) == {
        ("troponin_i", 20.0, "ng/L"),
        ("lactate", 1.7, "mmol/L"),
        ("bilirubin_conjugated", 0.3, "mg/dL"),
    }
    assert labs["lab_result_dttm"].unique().to_list() == [fifth]
    oxygen = clif["respiratory_support"]
    assert oxygen.select("recorded_dttm", "device_category", "fio2_set").rows() == [(fifth, None, 0.4)]
    stay = clif["hospitalization"].row(0, named=True)
    assert stay["discharge_dttm"] == admission + timedelta(hours=48)
    assert (stay["discharge_category"], stay["age_at_admission"]) == ("Still Admitted", 63)
    assert clif["adt"]["location_type"].to_list()[:3] == [None, "medical_icu", "surgical_icu"]
    assert clif["adt"]["out_dttm"].null_count() == 10


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    _, done = imported(tmp_path, challenge_2019())
    assert done.counts.left_out == {"Hct": 1}
    assert done.counts.impossible == {"HR": 1, "FiO2": 1, "Calcium": 1}
    rows = 8 * 48 + 33 + 10
    assert done.counts.kept["HR"] == rows - 1
    assert done.counts.missing["Lactate"] == rows - 1


def test_the_window_holds_the_first_24_hours_and_nothing_later(tmp_path: Path) -> None:
    files = {f"p00000{i}.psv": record_2019(*(row_2019(h, HR=50 + h) for h in range(1, 49))) for i in (1, 2)}
    imported(tmp_path, files)
    made = tokenize(tmp_path / "out" / "hospital_a", tmp_path / "scratch", events="all")
    window = made.window().filter(pl.col(ID) == "p000001")
    names = {number: name for name, number in made.tokenizer.vocabulary.items()}
    hours = [
        minute / 60
        for token, minute in zip(window["tokens"].item(), window["minutes"].item(), strict=True)
        if names[token] == "vital/heart_rate"
    ]
    assert hours == list(range(1, 25))
    assert "location_out/icu" not in names.values()


@pytest.mark.parametrize(("positive", "early"), [(18, True), (19, False)])
def test_onset_is_six_hours_after_the_first_positive_row(tmp_path: Path, positive: int, early: bool) -> None:
    rows = [row_2019(h, int(h >= positive), HR=80) for h in range(1, positive + 9)]
    well = record_2019(*(row_2019(h, HR=80) for h in range(1, 40)))
    imported(tmp_path, {"p000001.psv": record_2019(*rows), "p000002.psv": well})
    out = tmp_path / "out"
    outcomes = pl.read_parquet(out / "hospital_a" / "outcomes.parquet").sort(ID)
    onset = admission_of("p000001") + timedelta(hours=positive + 6)
    assert outcomes.rows() == [("p000001", "sepsis", onset), ("p000002", "sepsis", None)]
    own = load_outcomes(out / "outcomes.yaml")
    stays = read_site(out / "hospital_a", tmp_path / "scratch").stays
    stays, _ = add_own_outcomes(stays, None, outcome_tables(out / "hospital_a", own), own, window_hours=24)
    assert stays.sort(ID).select("sepsis", "sepsis_24h").rows() == [(True, early), (False, False)]


def test_what_a_study_makes_of_it(tmp_path: Path) -> None:
    imported(tmp_path, challenge_2019())
    site = read_site(tmp_path / "out" / "hospital_a", tmp_path / "scratch")
    stays = site.stays
    assert stays.height == 9  # one lasts ten hours
    for column in ("death", "long_los", "los_hours", "imv", "imv_24h"):
        assert stays[column].null_count() == 9, column
    assert stays["icu_24h"].all()
    assert any("9 stays have not ended" in note for note in site.notes)


def test_two_hospitals_wherever_they_lie(tmp_path: Path) -> None:
    a, b = challenge_2019(), challenge_2019(letter="B")
    as_folder(tmp_path / "src", {f"training/{k.split('/')[1]}": v for k, v in (a | b).items()})
    done = import_cinc2019([tmp_path / "src"], tmp_path / "one")
    zipped, tarred = as_zip(tmp_path / "b.zip", b), as_tar(tmp_path / "a.tar.gz", a)
    import_cinc2019([zipped, tarred], tmp_path / "two")
    for hospital in ("hospital_a", "hospital_b"):
        one, two = tables(tmp_path / "one", hospital), tables(tmp_path / "two", hospital)
        assert one.keys() == two.keys()
        for name, table in one.items():
            assert_frame_equal(table, two[name])
        assert set(one["adt"]["hospital_id"]) == {hospital}
        report = check_directory(tmp_path / "one" / hospital, load_map("all"))
        assert (report.clif_version, report.count("error")) == ("2.1", 0)
    told = "hospital_b: 10 records, 2 with sepsis (1 positive from the first row on"
    assert any(note.startswith(told) for note in done.notes)
    import_cinc2019([zipped, tarred], tmp_path / "one")  # again, into what is there


def test_nothing_charted_tells_where_the_record_ends(tmp_path: Path) -> None:
    long, short = (record_2019(*(row_2019(h, HR=70 + h) for h in range(1, n))) for n in (60, 30))
    one, _ = imported(tmp_path, {"p000001.psv": long})
    two, _ = imported(tmp_path / "b", {"p000001.psv": short})
    cut = admission_of("p000001") + timedelta(hours=24)
    assert_frame_equal(one["adt"], two["adt"])
    assert_frame_equal(one["patient"], two["patient"])
    first = (table["vitals"].filter(pl.col("recorded_dttm") <= cut) for table in (one, two))
    assert_frame_equal(*first)


def test_what_is_broken_is_told_and_the_rest_goes_on(tmp_path: Path) -> None:
    files = challenge_2019()
    lacking = record_2019(row_2019(1, HR=70)).replace(b"|Fibrinogen|", b"|Fibre|")
    unlabelled = record_2019(row_2019(1, HR=70)).replace(b"|SepsisLabel", b"|Label")
    hourless = record_2019(row_2019(1, HR=71), row_2019(2).replace("|2|0", "|NaN|0"))
    files |= {
        "a/p000021.psv": record_2019(row_2019(1, HR=70), row_2019(2, HR=71))[:-9],
        "a/p000022.psv": lacking,
        "a/p000023.psv": unlabelled,
        "a/p000024.psv": b"",
        "a/p000025.psv": record_2019(),
        "a/p000026.psv": record_2019(row_2019(1, HR=70).replace("70", "seventy"), row_2019(2, HR=72)),
        "a/p000027.psv": hourless,
        "a/patient.psv": record_2019(row_2019(1)),
        "z/p000001.psv": record_2019(row_2019(1, HR=33)),
        "c/132539.txt": challenge_2012()["set-a/900001.txt"],
        "LICENSE.txt": b"CC-BY\n",
    }
    clif, done = imported(tmp_path, files)
    notes = "\n".join(done.notes)
    assert "p000021.psv: 1 rows are cut off" in notes
    assert "p000022.psv: column 'Fibrinogen' is missing (1 in all); the rest is read." in notes
    assert "p000023.psv: column 'SepsisLabel' is missing; left out." in notes
    assert "p000024.psv: empty file; left out." in notes
    assert "p000025.psv: no row; left out." in notes
    assert "1 values are no numbers" in notes
    assert "1 rows have no ICULOS" in notes
    assert "patient.psv: no name such as p000001.psv" in notes
    assert "p000001.psv: there already, under the same name" in notes
    assert "1 files are of the Challenge 2012" in notes
    assert clif["hospitalization"].height == 14
    rates = clif["vitals"].filter(pl.col(ID) == "p000026")["vital_value"].to_list()
    assert rates == [72]
    assert 33.0 not in clif["vitals"]["vital_value"]


@pytest.mark.parametrize("kind", ["files of 2012", "a headless file", "nothing"])
def test_nothing_to_import(tmp_path: Path, kind: str) -> None:
    headless = {"p000001.psv": "|".join(COLUMNS).encode()}
    files = {"files of 2012": challenge_2012(), "a headless file": headless, "nothing": {}}[kind]
    src = as_folder(tmp_path / "src", files)
    src.mkdir(exist_ok=True)
    words = {"files of 2012": "use `python -m train import cinc2012`", "a headless file": "no row; left out"}
    with pytest.raises(UserError, match=words.get(kind, "holds no record of the Challenge 2019")):
        import_cinc2019([src], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    src, out = as_folder(tmp_path / "src", challenge_2019()), tmp_path / "out"
    (out / "hospital_a").mkdir(parents=True)
    (out / "hospital_a" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"hospital_a holds notes.txt, which is not from this import"):
        import_cinc2019([src], out)
    assert not (out / "outcomes.yaml").exists()
    (out / "mine").mkdir()
    with pytest.raises(UserError, match=r"holds mine, which is not from this import"):
        import_cinc2019([src], out)
