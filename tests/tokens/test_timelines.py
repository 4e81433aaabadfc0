from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ehrfm_core.clif.events import scan_events
from ehrfm_core.clif.tables import ID, check_directory
from ehrfm_core.cohort import SOURCE_SPLIT, add_split, read_stays
from ehrfm_core.errors import UserError
from ehrfm_core.tokens.decode import decode
from ehrfm_core.tokens.timelines import Timelines, build_timelines
from ehrfm_core.tokens.tokenizer import Tokenizer, TokenSettings, fit_tokenizer
from ehrfm_core.tokens.window import cut_window
from tests.make_clif import TIMES, Tables, change_after, make_tables, write_tables

ON_DISK = settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def site(tables: Tables, folder: Path) -> tuple[pl.DataFrame, pl.LazyFrame]:
    write_tables(tables, folder)
    present = check_directory(folder)
    stays = add_split(read_stays(folder, present)[0], SOURCE_SPLIT)
    return stays, scan_events(folder, present)[0]


def tokenize(tables: Tables, folder: Path, tokenizer: Tokenizer | None = None) -> tuple[Tokenizer, Timelines]:
    stays, events = site(tables, folder)
    tokenizer = tokenizer or fit_tokenizer(stays, events, TokenSettings())
    return tokenizer, build_timelines(stays, events, tokenizer)


def window(timelines: Timelines, tokenizer: Tokenizer) -> pl.DataFrame:
    return cut_window(timelines.frame, tokenizer.vocabulary, hours=24, max_tokens=1024)


def test_a_timeline_written_out_by_hand(tmp_path: Path) -> None:
    tables = make_tables(patients=3)
    for name in TIMES:
        tables[name] = tables[name].clear()
    stay = tables["hospitalization"].row(0, named=True)
    begin = stay["admission_dttm"]
    tables["labs"] = pl.DataFrame(
        {
            ID: [stay[ID]] * 3,
            "lab_result_dttm": [begin.replace(minute=m) for m in (30, 10, 10)],
            "lab_category": ["Potassium", "sodium", "potassium"],
            "lab_value_numeric": [9.0, None, 1.0],
        }
    )
    tokenizer, timelines = tokenize(tables, tmp_path)
    row = timelines.frame.filter(pl.col(ID) == stay[ID]).row(0, named=True)
    names = {i: token for token, i in tokenizer.vocabulary.items()}
    patient = tables["patient"].filter(pl.col("patient_id") == stay["patient_id"]).row(0, named=True)
    assert [names[i] for i in row["tokens"]] == [
        "TL_START",
        "race/" + patient["race_category"].lower().replace(" ", "_"),
        "ethnicity/" + patient["ethnicity_category"].lower(),
        "sex/" + patient["sex_category"].lower(),
        names[row["tokens"][4]],
        "admission/" + stay["admission_type_category"],
        "lab/potassium",
        "Q0",
        "lab/sodium",
        "lab/potassium",
        "Q9",
        "discharge/" + stay["discharge_category"].lower(),
        "TL_END",
    ]
    assert names[row["tokens"][4]].startswith("Q")
    assert row["minutes"][:11] == [0, 0, 0, 0, 0, 0, 10, 10, 10, 30, 30]


@ON_DISK
@given(seed=st.integers(0, 10**6))
def test_the_order_of_rows_in_any_table_changes_nothing(tmp_path: Path, seed: int) -> None:
    tables = make_tables()
    tokenizer, before = tokenize(tables, tmp_path)
    shuffled = {name: table.sample(fraction=1, shuffle=True, seed=seed) for name, table in tables.items()}
    again, after = tokenize(shuffled, tmp_path)
    assert again.to_json() == tokenizer.to_json()
    assert after.frame.equals(before.frame)


@ON_DISK
@given(seed=st.integers(0, 10**6))
def test_what_happens_after_the_cut_changes_no_window(tmp_path: Path, seed: int) -> None:
    tables = make_tables()
    tokenizer, before = tokenize(tables, tmp_path)
    _, after = tokenize(change_after(tables, 24, seed=seed), tmp_path, tokenizer)
    assert not after.frame.equals(before.frame)
    assert window(after, tokenizer).equals(window(before, tokenizer))


@ON_DISK
@given(seed=st.integers(0, 10**6))
def test_fitting_sees_the_training_split_only(tmp_path: Path, seed: int) -> None:
    tables = make_tables()
    stays, _ = site(tables, tmp_path)
    tokenizer, _ = tokenize(tables, tmp_path)
    held_out = stays.filter(pl.col("split") != "train")
    others, people = held_out[ID].to_list(), held_out["patient_id"].to_list()
    rng = np.random.default_rng(seed)
    for name, value, code in (
        ("vitals", "vital_value", "vital_category"),
        ("labs", "lab_value_numeric", "lab_category"),
        ("medication_admin_continuous", "med_dose", "med_category"),
    ):
        table, hidden = tables[name], pl.col(ID).is_in(others)
        noise = pl.Series(rng.normal(0, 1e4, table.height))
        tables[name] = table.with_columns(
            pl.when(hidden).then(noise).otherwise(pl.col(value)).alias(value),
            pl.when(hidden).then(pl.lit("never_seen")).otherwise(pl.col(code)).alias(code),
        )
    tables["patient"] = tables["patient"].with_columns(
        pl.when(pl.col("patient_id").is_in(people))
        .then(pl.lit("Asian"))
        .otherwise(pl.col("race_category"))
        .alias("race_category")
    )
    again, timelines = tokenize(tables, tmp_path)
    assert again.to_json() == tokenizer.to_json()
    assert set(timelines.unknown["code"]) == {"vital/never_seen", "lab/never_seen", "medication/never_seen"}


def test_an_unseen_code_is_one_unknown_token_without_a_value(tmp_path: Path) -> None:
    tables = make_tables()
    tokenizer, before = tokenize(tables, tmp_path)
    tables["labs"] = tables["labs"].with_columns(pl.lit("troponin").alias("lab_category"))
    _, after = tokenize(tables, tmp_path, tokenizer)
    n_labs = after.unknown.filter(pl.col("code") == "lab/troponin")["n"].item()
    tokens = after.frame["tokens"].explode()
    assert (tokens == tokenizer.vocabulary["UNK"]).sum() == n_labs
    assert len(tokens) == len(before.frame["tokens"].explode()) - n_labs


def test_an_ending_nobody_has_seen_before_is_no_part_of_the_window(tmp_path: Path) -> None:
    tables = make_tables()
    tokenizer, _ = tokenize(tables, tmp_path)
    tables["hospitalization"] = tables["hospitalization"].with_columns(
        (pl.col("admission_dttm") + pl.duration(hours=24)).alias("discharge_dttm"),
        pl.lit("Abducted").alias("discharge_category"),
    )
    for name in TIMES:
        tables[name] = tables[name].clear()
    _, timelines = tokenize(tables, tmp_path, tokenizer)
    assert set(timelines.frame["minutes"].list.last()) == {1440.0}
    assert set(window(timelines, tokenizer)["tokens"].list.len()) == {6}
    assert tokenizer.vocabulary["UNK"] not in window(timelines, tokenizer)["tokens"].explode()


def test_a_larger_value_never_gets_a_smaller_bin(tmp_path: Path) -> None:
    tables = make_tables()
    tables["vitals"] = tables["vitals"].with_columns(pl.lit("heart_rate").alias("vital_category"))
    stays, events = site(tables, tmp_path)
    tokenizer = fit_tokenizer(stays, events, TokenSettings())
    cuts = tokenizer.cut_points["vital/heart_rate"]
    assert cuts == sorted(cuts)
    train = stays.filter(pl.col("split") == "train")
    values = (
        events.filter(pl.col("code") == "vital/heart_rate")
        .join(train.lazy().select(ID, "start", "end"), on=ID)
        .filter(pl.col("time").is_between(pl.col("start") - pl.duration(hours=24), pl.col("end")))
        .collect()["value"]
    )
    assert np.allclose(cuts, np.quantile(values, np.arange(1, 10) / 10))
    only = (
        tables["vitals"]
        .head(1)
        .with_columns(pl.lit(train[ID][0]).alias(ID), recorded_dttm=train["start"][0] + pl.duration(hours=1))
    )
    bins = []
    for value in np.linspace(min(cuts) - 5, max(cuts) + 5, 40):
        tables["vitals"] = only.with_columns(pl.lit(value).alias("vital_value"))
        _, timelines = tokenize(tables, tmp_path, tokenizer)
        row = timelines.frame.filter(pl.col(ID) == train[ID][0])
        table = decode(row["tokens"][0].to_list(), row["minutes"][0].to_list(), tokenizer.vocabulary)
        bins.append(table.filter((pl.col("family") == "vital") & pl.col("bin").is_not_null())["bin"].item())
        assert bins[-1] == np.digitize(value, cuts)
    assert bins == sorted(bins)
    assert (bins[0], bins[-1]) == (0, 9)


def test_every_timeline_starts_and_ends_as_it_should_and_never_goes_back_in_time(demo: Path) -> None:
    present = check_directory(demo)
    stays = add_split(read_stays(demo, present)[0], SOURCE_SPLIT)
    events, _ = scan_events(demo, present)
    tokenizer = fit_tokenizer(stays, events, TokenSettings())
    frame = build_timelines(stays, events, tokenizer).frame
    assert frame[ID].to_list() == sorted(stays[ID])
    assert set(frame["tokens"].list.first()) == {tokenizer.vocabulary["TL_START"]}
    assert set(frame["tokens"].list.last()) == {tokenizer.vocabulary["TL_END"]}
    assert frame.select((pl.col("minutes").list.diff().list.min() >= 0).all()).item()
    assert (frame["tokens"].list.len() == frame["minutes"].list.len()).all()
    expired = frame["tokens"].list.contains(tokenizer.vocabulary["discharge/expired"])
    assert expired.to_list() == stays.sort(ID)["death"].to_list()
    cut = cut_window(frame, tokenizer.vocabulary, hours=24, max_tokens=1024)
    forbidden = [
        i for token, i in tokenizer.vocabulary.items() if token.startswith("discharge/") or token == "TL_END"
    ]
    assert not cut["tokens"].explode().is_in(forbidden).any()
    assert cut["minutes"].explode().max() <= 1440


def test_no_training_stay() -> None:
    frame = pl.DataFrame({"split": ["test"]})
    with pytest.raises(UserError, match="no stay in its training split"):
        fit_tokenizer(frame, pl.LazyFrame(), TokenSettings())


def test_tokenizer_survives_json(tmp_path: Path) -> None:
    tokenizer, _ = tokenize(make_tables(), tmp_path)
    assert Tokenizer.from_json(tokenizer.to_json()) == tokenizer
    with pytest.raises(UserError, match="lacks 'vocabulary'"):
        Tokenizer.from_json({key: value for key, value in tokenizer.to_json().items() if key != "vocabulary"})
