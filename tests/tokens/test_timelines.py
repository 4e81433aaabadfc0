"""From tables to timelines: by hand, in order, cut, spilled to disk, and by the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from ehrfm_core.clif import event_store
from ehrfm_core.clif.event_map import EventMap, load_map
from ehrfm_core.clif.event_store import EventStore
from ehrfm_core.tokens.settings import PRESETS, TokenSettings
from ehrfm_core.tokens.vocabulary import SPACINGS
from tests.make_clif import ID, TIMES, Tables, change_after, make_all_tables, make_tables, write_tables
from tests.make_site import Tokenized, happen, quiet, read, tokenize
from train.__main__ import main

FIRST = "s0-0"


def lab(hours: float, value: float | None, code: str = "potassium") -> dict[str, object]:
    return {"lab_result_dttm": hours, "lab_category": code, "lab_value_numeric": value}


def vital(seconds: float, code: str = "sbp", value: float | None = None) -> dict[str, object]:
    return {"recorded_dttm": seconds / 3600, "vital_category": code, "vital_value": value}


def tokens_of(tables: Tables, folder: Path, **options: Any) -> list[str]:
    return [token for _, token in tokenize(tables, folder, **options).between(FIRST)]


def test_a_timeline_written_out_by_hand(tmp_path: Path) -> None:
    tables = quiet()
    rows = [lab(0.5, 9.0, "Potassium"), lab(1 / 6, None, "sodium"), lab(1 / 6, 1.0), lab(1 / 6, None)]
    happen(tables, "labs", rows)
    result = tokenize(tables, tmp_path)
    stay, patient = tables["hospitalization"].row(0, named=True), tables["patient"].row(0, named=True)
    names = result.names(FIRST)
    assert names == [
        "TL_START",
        "race/" + patient["race_category"].lower().replace(" ", "_"),
        "ethnicity/" + patient["ethnicity_category"].lower().replace("-", "_"),
        "sex/" + patient["sex_category"].lower(),
        names[4],
        "admission/" + stay["admission_type_category"],
        *("lab/potassium", "Q0", "lab/potassium", "lab/sodium", "lab/potassium", "Q1"),
        "discharge/" + stay["discharge_category"].lower(),
        "TL_END",
    ]
    ages = result.site.stays.filter(pl.col("split") == "train")["age"].sort().to_list()
    age = result.site.stays.filter(pl.col(ID) == FIRST)["age"].item()
    assert names[4] == f"Q{ages.index(age)}", "with fewer stays than bins each age has a bin"
    hours = result.site.stays.filter(pl.col(ID) == FIRST)["los_hours"].item()
    assert result.minutes(FIRST) == [0] * 6 + [10] * 4 + [30] * 2 + [pytest.approx(hours * 60)] * 2


def test_the_paper_s_scheme_by_hand(tmp_path: Path) -> None:
    """Twenty-one values, ten bins: the cut points are the quantiles .1 … .9 of the training split."""
    tables = quiet()
    happen(tables, "labs", [lab(hour, float(hour)) for hour in range(21)])
    happen(tables, "labs", [lab(1, 1000.0)] * 30, stay=3)  # of the last patient, who is no training patient
    result = tokenize(tables, tmp_path)
    assert dict(result.site.stays.select(ID, "split").iter_rows())["s2-0"] != "train"
    assert result.tokenizer.cut_points["lab/potassium"] == pytest.approx([2, 4, 6, 8, 10, 12, 14, 16, 18])
    bins = [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 9]
    expected = [token for b in bins for token in ("lab/potassium", f"Q{b}")]
    assert [token for _, token in result.between(FIRST)] == expected
    assert PRESETS["paper"] == TokenSettings() == result.tokenizer.settings


def test_the_fused_scheme_says_the_same_in_one_token(tmp_path: Path) -> None:
    tables = make_all_tables(patients=6)
    paper = tokenize(tables, tmp_path, events="all")
    fused = tokenize(tables, tmp_path, events="all", settings=PRESETS["fused"])
    assert not [token for token in fused.tokenizer.vocabulary if token.startswith(("Q", "answer/"))]
    for stay in paper.frame[ID]:
        joined: list[str] = []
        for place, token in enumerate(paper.names(stay)):
            if place == paper.tokenizer.age_position:
                joined.append(f"age/years={token}")
            elif token.startswith(("Q", "answer/")):
                joined[-1] += "=" + token.removeprefix("answer/")
            else:
                joined.append(token)
        assert fused.names(stay) == joined


def test_fine_labs_keep_specimen_and_order_apart(tmp_path: Path) -> None:
    tables = quiet()
    fine = {"lab_specimen_category": "blood/plasma/serum", "lab_order_category": "BMP"}
    happen(tables, "labs", [lab(1, 4.0) | fine, lab(2, 5.0) | {"lab_order_category": "cbc"}])
    assert tokens_of(tables, tmp_path) == ["lab/potassium", "Q0", "lab/potassium", "Q1"]
    assert tokens_of(tables, tmp_path, settings=PRESETS["fine-labs"]) == [
        *("lab/potassium:plasma_blood:bmp", "Q0", "lab/potassium:unknown:cbc", "Q0"),
    ]


def test_a_site_without_specimens_has_codes_like_those_of_the_source(tmp_path: Path) -> None:
    source = quiet()
    happen(source, "labs", [lab(1, 4.0) | {"lab_order_category": "cbc"}])
    fitted = tokenize(source, tmp_path / "a", settings=PRESETS["fine-labs"])
    target = dict(source) | {"labs": source["labs"].drop("lab_specimen_category")}
    again = tokenize(target, tmp_path / "b", fitted.tokenizer)
    assert [token for _, token in again.between(FIRST)] == ["lab/potassium:unknown:cbc", "Q0"]


def test_gaps_have_their_spacing_token(tmp_path: Path) -> None:
    tables = quiet()
    gaps = [299, 300, 899, 900, 3599, 3600, 7199, 7200, 21599, 21600]
    gaps += [43199, 43200]
    happen(tables, "vitals", [vital(second) for second in np.cumsum(gaps)])
    hours = float(np.cumsum(gaps)[-1]) / 3600
    stays = tables["hospitalization"].with_columns(
        (pl.col("admission_dttm") + pl.duration(hours=int(hours) + 1000)).alias("discharge_dttm")
    )
    tables["hospitalization"] = stays
    spaced: list[str] = []
    for token in tokens_of(tables, tmp_path, settings=PRESETS["spacing"]):
        if token == "vital/sbp":
            spaced.append("")
        else:
            spaced.append(token.removeprefix("time/"))
    expected = ["", "5m-15m", "5m-15m", "15m-1h", "15m-1h", "1h-2h", "1h-2h", "2h-6h", "2h-6h", "6h-12h"]
    expected += ["6h-12h", "12h-1d"]
    assert spaced == [part for gap in expected for part in ([gap, ""] if gap else [""])]


@pytest.mark.parametrize(("name", "seconds"), SPACINGS.items())
def test_a_gap_begins_at_its_boundary_and_the_first_event_follows_the_start(
    tmp_path: Path, name: str, seconds: int
) -> None:
    tables = quiet()
    tables["hospitalization"] = tables["hospitalization"].with_columns(
        (pl.col("admission_dttm") + pl.duration(days=40)).alias("discharge_dttm")
    )
    happen(tables, "labs", [lab(seconds / 3600, None)])
    result = tokenize(tables, tmp_path, settings=PRESETS["spacing"])
    minute = pytest.approx(seconds / 60)
    assert result.between(FIRST) == [(minute, f"time/{name}"), (minute, "lab/potassium")], "none at the end"
    happen(tables, "labs", [lab(seconds / 3600, None)])
    again = tokenize(tables, tmp_path, settings=PRESETS["spacing"])
    assert [token for _, token in again.between(FIRST)][1:] == ["lab/potassium"] * 2


def test_what_comes_before_the_start_stands_at_minute_0_in_its_order(tmp_path: Path) -> None:
    tables = quiet()
    for hour, place in ((-1, "ward"), (-3, "ed"), (-23.9, "icu"), (-24.1, "stepdown"), (0, "procedural")):
        happen(tables, "adt", [{"in_dttm": hour, "location_category": place}])
    result = tokenize(tables, tmp_path, settings=PRESETS["spacing"])
    assert result.between(FIRST) == [
        (0.0, f"location/{place}") for place in ("icu", "ed", "ward", "procedural")
    ], "no gap is told before the start"
    assert result.counts.n_outside == 1


def test_simultaneous_events_stand_in_the_order_of_the_map_then_by_token(tmp_path: Path) -> None:
    tables = quiet()
    happen(tables, "position", [{"recorded_dttm": 1, "position_category": "prone"}])
    happen(tables, "vitals", [vital(3600, "spo2", 9.0), vital(3600, "sbp", 3.0), vital(3600, "spo2", 1.0)])
    happen(tables, "labs", [lab(1, None, "sodium"), lab(1, 1.0, "sodium"), lab(1, 3.0, "albumin")])
    happen(tables, "adt", [{"in_dttm": 1, "location_category": "icu"}])
    assert tokens_of(tables, tmp_path) == [
        *("location/icu", "lab/albumin", "Q0", "lab/sodium", "Q0", "lab/sodium"),
        *("vital/sbp", "Q0", "vital/spo2", "Q0", "vital/spo2", "Q1", "position/prone"),
    ]


def test_minutes_are_whole_seconds_rounded_up(tmp_path: Path) -> None:
    tables = quiet()
    happen(
        tables, "labs", [lab(1, None), lab(1 + 0.5 / 3600, None), lab(24, None), lab(24 + 1e-4 / 3600, None)]
    )
    result = tokenize(tables, tmp_path)
    assert [minute * 60 for minute, _ in result.between(FIRST)] == pytest.approx([3600, 3601, 86400, 86401])
    assert len(result.window()["tokens"][0]) == 6 + 3, (
        "a ten-thousandth of a second after the cut is after it"
    )


def test_an_ending_nobody_has_seen_before_is_no_part_of_the_window(tmp_path: Path) -> None:
    tables = make_tables()
    tokenizer = tokenize(tables, tmp_path).tokenizer
    tables["hospitalization"] = tables["hospitalization"].with_columns(
        (pl.col("admission_dttm") + pl.duration(hours=24)).alias("discharge_dttm"),
        pl.lit("Abducted").alias("discharge_category"),
    )
    for name in TIMES:
        tables[name] = tables[name].clear()
    result = tokenize(tables, tmp_path, tokenizer)
    assert set(result.frame["minutes"].list.last()) == {1440.0}
    assert result.names(FIRST)[-2:] == ["discharge/unknown", "TL_END"]
    assert set(result.window()["tokens"].list.len()) == {6}
    assert tokenizer.vocabulary["UNK"] not in result.window()["tokens"].explode()


def test_an_unseen_code_is_one_unknown_token_without_a_value(tmp_path: Path) -> None:
    tables = make_tables()
    before = tokenize(tables, tmp_path)
    new = pl.Series(["troponin", "bilirubin"] * (tables["labs"].height // 2))
    tables["labs"] = tables["labs"].with_columns(new.alias("lab_category"))
    after = tokenize(tables, tmp_path, before.tokenizer)
    n_labs = sum(after.counts.unknown.values())
    assert set(after.counts.unknown) == {"lab/troponin", "lab/bilirubin"}
    tokens = after.frame["tokens"].explode()
    assert (tokens == before.tokenizer.vocabulary["UNK"]).sum() == n_labs
    assert len(tokens) == len(before.frame["tokens"].explode()) - n_labs


@pytest.mark.parametrize("hours", [0.5, 6.0, 24.0, 100.0])
def test_nothing_after_the_cut_changes_the_window(tmp_path: Path, hours: float) -> None:
    tables = make_tables()
    before = tokenize(tables, tmp_path)
    after = tokenize(change_after(tables, hours, seed=1), tmp_path, before.tokenizer)
    assert not after.frame.equals(before.frame)
    assert after.window(hours=hours).equals(before.window(hours=hours))


def check_shape(result: Tokenized) -> None:
    """What holds of every timeline and every window."""
    vocabulary, frame = result.tokenizer.vocabulary, result.frame
    assert frame[ID].to_list() == sorted(result.site.stays[ID])
    assert set(frame["tokens"].list.first()) == {vocabulary["TL_START"]}
    assert set(frame["tokens"].list.last()) == {vocabulary["TL_END"]}
    ending = [i for token, i in vocabulary.items() if token.startswith("discharge/")]
    assert frame.select(pl.col("tokens").list.get(-2).is_in(ending).all()).item()
    assert frame.select((pl.col("minutes").list.diff().list.min() >= 0).all()).item()
    assert (frame["tokens"].list.len() == frame["minutes"].list.len()).all()
    for hours in (1, 24, 8000):
        cut = result.window(hours=hours)
        assert not cut["tokens"].explode().is_in([*ending, vocabulary["TL_END"]]).any()
        assert cut["minutes"].explode().max() <= hours * 60


@pytest.mark.parametrize("preset", PRESETS)
def test_timelines_of_the_demo_hold_their_promises(demo: Path, tmp_path: Path, preset: str) -> None:
    result = tokenize(demo, tmp_path, events="all", settings=PRESETS[preset])
    check_shape(result)
    expired = result.frame["tokens"].list.contains(result.tokenizer.vocabulary["discharge/expired"])
    assert expired.to_list() == result.site.stays.sort(ID)["death"].to_list()


@pytest.mark.parametrize("size", [50, 300])
@pytest.mark.parametrize("memory", [0, 100, 10**9])
def test_partitions_and_spilling_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, memory: int
) -> None:
    tables = make_all_tables(patients=9)
    settings = TokenSettings(spacing=True)
    expected = tokenize(tables, tmp_path / "a", events="all", settings=settings)
    assert expected.site.store.n_partitions == 1
    monkeypatch.setattr(event_store, "PARTITION_EVENTS", size)
    monkeypatch.setitem(EventStore.__init__.__kwdefaults__, "memory_events", memory)
    found = tokenize(tables, tmp_path / "b", events="all", settings=settings)
    assert found.site.store.n_partitions > 1
    assert found.site.store.spilled == (memory < 10**9)
    assert found.json == expected.json
    assert found.frame.equals(expected.frame)
    assert found.categories().equals(expected.categories())


# by the command line


@pytest.fixture
def sites(tmp_path: Path) -> list[str]:
    source = write_tables(make_all_tables(patients=12), tmp_path / "source")
    target = write_tables(make_all_tables(patients=8, seed=1), tmp_path / "target")
    return ["--site", f"a={source}", "--site", f"b={target}"]


def table(study: Path, name: str, site: str = "a") -> pl.DataFrame:
    return pl.read_parquet(study / "sites" / site / f"{name}.parquet")


def test_every_window_is_counted_as_it_is_cut(tmp_path: Path, sites: list[str]) -> None:
    from ehrfm_core.study.files import read_json
    from ehrfm_core.tokens.tokenizer import Tokenizer
    from ehrfm_core.tokens.window import cut_window

    study = tmp_path / "study"
    windows = ["--window", "24", "6", "48", "all", "--max-tokens", "60", "--spacing", "--events", "all"]
    assert main(["tokenize", str(study), *sites, *windows]) == 0
    tokenizer = Tokenizer.from_json(read_json(study / "tokenizer.json"))
    assert tokenizer.settings == TokenSettings(spacing=True, more_windows=(6.0, 48.0, None), max_tokens=60)
    for site in "ab":
        timelines, counted = table(study, "timelines", site), table(study, "windows", site)
        assert counted["window_hours"].unique(maintain_order=True).to_list() == [24.0, 6.0, 48.0, None]
        for (hours,), own in counted.group_by("window_hours", maintain_order=True):
            limit = 1e5 if hours is None else float(hours)  # type: ignore[arg-type]
            whole = cut_window(timelines, tokenizer.vocabulary, hours=limit, max_tokens=10**6)
            cut = cut_window(timelines, tokenizer.vocabulary, hours=limit, max_tokens=60)
            assert own["n_tokens"].to_list() == whole["tokens"].list.len().to_list()
            assert (
                own["truncated"].to_list()
                == cut["tokens"].list.contains(tokenizer.vocabulary["TRUNC"]).to_list()
            )
            if hours == 24:
                stays = table(study, "stays", site)
                assert stays["n_tokens"].to_list() == cut["tokens"].list.len().to_list()
            if hours is None:
                assert (whole["tokens"].list.len() == timelines["tokens"].list.len() - 2).all()
                assert own["truncated"].sum() > 0
    stage = read_json(study / "study.json")["stages"]["tokenize"]
    truncated = table(study, "windows").group_by("window_hours", maintain_order=True).agg(pl.sum("truncated"))
    told = stage["summary"]["sites"]["a"]["windows"]
    assert [row["truncated_stays"] for row in told] == truncated["truncated"].to_list()
    n = truncated["truncated"][-1]
    assert any(f"a: {n} stays have more than 60 tokens in the whole stay" in note for note in stage["notes"])


def leftovers(study: Path) -> list[str]:
    return [path.name for path in study.glob(".*")]


def test_scratch_files_are_gone_and_so_are_those_of_a_killed_run(
    tmp_path: Path, sites: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(EventStore.__init__.__kwdefaults__, "memory_events", 10)
    spilled: list[Path] = []
    spill = EventStore._spill

    def watched(store: EventStore) -> None:
        spill(store)
        spilled.append(store._folder)

    monkeypatch.setattr(EventStore, "_spill", watched)
    study = tmp_path / "study"
    killed = study / ".tokenize.partial/events-killed/a"
    killed.mkdir(parents=True)
    (killed / "events-0.bin").touch()
    assert main(["tokenize", str(study), *sites]) == 0
    assert spilled
    assert all(study in folder.parents and not folder.exists() for folder in spilled)
    assert leftovers(study) == []


def test_scratch_files_are_gone_after_an_error(
    tmp_path: Path, sites: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(EventStore.__init__.__kwdefaults__, "memory_events", 10)
    study = tmp_path / "study"
    broken = tmp_path / "target" / "clif_vitals.parquet"
    content = bytearray(broken.read_bytes())
    content[200:600] = bytes(400)  # the footer is whole: found out only when the rows are read
    broken.write_bytes(content)
    assert main(["tokenize", str(study), *sites]) == 1
    assert leftovers(study) == []
    assert not (study / "tokenizer.json").exists(), "nothing was written"


def test_a_file_broken_in_the_middle_is_named(
    tmp_path: Path, sites: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "source" / "clif_labs.parquet"
    content = bytearray(broken.read_bytes())
    content[200:600] = bytes(400)
    broken.write_bytes(content)
    assert main(["tokenize", str(tmp_path / "study"), *sites]) == 1
    error = capsys.readouterr().err
    assert "clif_labs.parquet cannot be read to its end" in error
    assert "; export the table" in error
    assert "Traceback" not in error


@pytest.mark.parametrize("times_are_text", [False, True])
def test_a_csv_row_with_too_many_cells_is_no_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], times_are_text: bool
) -> None:
    folder = write_tables(make_tables(patients=4), tmp_path / "site")
    name = "vitals" if times_are_text else "patient"
    frame = pl.read_parquet(folder / f"clif_{name}.parquet")
    (folder / f"clif_{name}.parquet").unlink()
    (folder / f"clif_{name}.csv").write_text(frame.write_csv() + "a,b,c,d,e,f,g\n")
    assert main(["tokenize", str(tmp_path / "study"), "--site", f"a={folder}"]) == 1
    assert f"clif_{name}.csv" in capsys.readouterr().err


def test_events_outside_their_stay_are_counted(tmp_path: Path) -> None:
    tables = quiet()
    happen(tables, "labs", [lab(-30, None), lab(1, None)])
    assert tokenize(tables, tmp_path).counts.n_outside == 1


def test_events_far_outside_their_stay_are_counted_as_well(tmp_path: Path) -> None:
    tables = quiet()
    happen(tables, "labs", [lab(-30, None), lab(-300, None), lab(9000, None), lab(1, None)])
    result = tokenize(tables, tmp_path)
    assert result.counts.n_outside + result.site.n_far == 3


def test_shuffled_tables_give_the_same_files(tmp_path: Path, sites: list[str]) -> None:
    assert main(["tokenize", str(tmp_path / "one"), *sites, "--events", "all"]) == 0
    for path in [*tmp_path.glob("source/*"), *tmp_path.glob("target/*")]:
        pl.read_parquet(path).sample(fraction=1, shuffle=True, seed=3).write_parquet(path)
    assert main(["tokenize", str(tmp_path / "two"), *sites, "--events", "all"]) == 0
    files = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file()]
    assert len(files) == 13
    for file in files:
        if file.name not in ("study.json", "log.jsonl"):
            assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes(), file


def test_no_training_stay_and_no_adult(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables = make_tables(patients=4)
    tables["hospitalization"] = tables["hospitalization"].with_columns(pl.lit(3).alias("age_at_admission"))
    folder = write_tables(tables, tmp_path / "site")
    assert main(["tokenize", str(tmp_path / "study"), "--site", f"a={folder}"]) == 1
    error = capsys.readouterr().err
    assert (
        "clif_hospitalization.parquet: none of 6 stays is of an adult and lasts 24 h or more; check" in error
    )


def test_a_split_of_one_site_does_not_know_the_other(tmp_path: Path, sites: list[str]) -> None:
    assert main(["tokenize", str(tmp_path / "two"), *sites]) == 0
    assert main(["tokenize", str(tmp_path / "one"), *sites[:2]]) == 0
    for file in (
        "tokenizer.json",
        *(f"sites/a/{name}.parquet" for name in ("stays", "timelines", "categories")),
    ):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    assert "train" not in table(tmp_path / "two", "stays", "b")["split"], "five in a hundred of 8 are none"


def test_the_map_of_a_finished_study_is_kept(tmp_path: Path, sites: list[str]) -> None:
    from ehrfm_core.study.files import read_json

    study = tmp_path / "study"
    assert main(["tokenize", str(study), *sites, "--events", "all", "--n-bins", "4"]) == 0
    before = (study / "tokenizer.json").read_bytes()
    assert main(["tokenize", str(study), *sites]) == 0
    assert (study / "tokenizer.json").read_bytes() == before
    assert EventMap.from_json(read_json(study / "tokenizer.json")["events"]) == load_map("all")


def test_a_site_read_twice_is_the_same(tmp_path: Path) -> None:
    first, second = (read(make_all_tables(), tmp_path / name, events="all") for name in "ab")
    assert first.stays.equals(second.stays)
    assert first.notes == second.notes


def test_a_dose_per_kilogram_is_weighed_by_the_last_weight_before_it(tmp_path: Path) -> None:
    tables = quiet()
    dose = {"med_category": "x", "med_dose": 1.0}
    doses = [
        dose | {"admin_dttm": h, "med_dose_unit": "mcg/min", "med_dose": v}
        for h, v in ((5, 60.0), (6, 80.0), (7, 90.0), (8, 90.0))
    ]
    happen(tables, "medication_admin_continuous", doses)
    per_kg = [dose | {"admin_dttm": h, "med_dose_unit": "mcg/kg/min"} for h in (1, 2, 10)]
    happen(tables, "medication_admin_continuous", per_kg[:2])
    weights = [vital(3600 * h, "weight_kg", w) for h, w in ((1.5, 82.0), (9, 95.0), (11, 40.0))]
    happen(tables, "vitals", weights)
    happen(tables, "vitals", [vital(0, "weight_kg", 200.0)], stay=1)
    happen(tables, "medication_admin_continuous", per_kg[2:])
    result = tokenize(tables, tmp_path, events="all")
    assert result.tokenizer.units == {"medication/x": "mcg/min"}
    assert result.tokenizer.cut_points["medication/x"] == [80.0, 90.0]
    found = [(m, t) for m, t in result.between(FIRST) if "weight" not in t and m in (60, 120, 600)]
    medication = "medication/x"
    assert found == [(60, medication), (120, medication), (120, "Q1"), (600, medication), (600, "Q2")]


def test_a_window_that_just_fits_is_not_cut_off(tmp_path: Path) -> None:
    tables = quiet()
    happen(tables, "labs", [lab(1, None), lab(2, None), lab(3, None)])
    result = tokenize(tables, tmp_path)
    trunc = result.tokenizer.vocabulary["TRUNC"]
    fits, cut = (result.window(max_tokens=n)["tokens"][0].to_list() for n in (9, 8))
    assert fits == result.frame["tokens"][0].to_list()[:9]
    assert cut == [*fits[:7], trunc]
    assert trunc not in fits
