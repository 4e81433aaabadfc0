"""What must hold of every site, whatever happens in it."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ehrfm_core.errors import UserError
from ehrfm_core.tokens.decode import decode
from ehrfm_core.tokens.settings import PRESETS, TokenSettings
from tests.make_clif import ID, TIMES, Tables, make_all_tables, starts
from tests.make_site import Tokenized, happen, quiet, read, tokenize

SOME = settings(max_examples=15, deadline=None)
BASE = make_all_tables(patients=8)
VALUES = ("vital_value", "lab_value_numeric", "med_dose", "numerical_value", "fio2_set", "blood_flow_rate")


def made(tables: Tables, *more: Any, **options: Any) -> Tokenized:
    with TemporaryDirectory() as folder:
        return tokenize(tables, Path(folder), *more, **options)


@pytest.fixture(scope="module")
def base() -> Tokenized:
    return made(BASE, events="all")


@SOME
@given(seed=st.integers(0, 10**6))
def test_the_order_of_rows_in_any_table_changes_nothing(base: Tokenized, seed: int) -> None:
    shuffled = {
        name: table.sample(fraction=1, shuffle=True, seed=seed + place)
        for place, (name, table) in enumerate(BASE.items())
    }
    found = made(shuffled, events="all")
    assert found.json == base.json
    assert found.frame.equals(base.frame)
    assert found.categories().equals(base.categories())


def change_later(tables: Tables, hours: float, seed: int) -> Tables:
    """Rows all of whose times lie after the cut dropped, moved, given other values and codes, or doubled."""
    rng = np.random.default_rng(seed)
    begin = starts(tables)
    people = begin.join(tables["hospitalization"], on=ID).group_by("patient_id").agg(pl.max("start"))
    changed = dict(tables)
    for name in set(tables) - {"patient", "hospitalization"}:
        table = tables[name]
        key, own = (
            (ID, begin.drop("admission_dttm", strict=False))
            if ID in table.columns
            else ("patient_id", people)
        )
        table = table.join(own, on=key, how="left", maintain_order="left")
        times = [c for c in table.columns if c.endswith("_dttm")]
        late = pl.min_horizontal(times) > pl.col("start") + pl.duration(seconds=round(hours * 3600))
        table = table.with_columns(late.alias("late"), pl.Series("draw", rng.random(table.height)))
        table = table.filter(~pl.col("late") | (pl.col("draw") > 0.3))
        table = pl.concat([table, table.filter(pl.col("late") & (pl.col("draw") > 0.7))])
        numbers = [c for c in table.columns if c in VALUES]
        changed[name] = table.with_columns(
            *(pl.when("late").then(pl.col(c) + pl.duration(minutes=3)).otherwise(c).alias(c) for c in times),
            *(pl.when("late").then(pl.col(c) * 7 + 1).otherwise(c).alias(c) for c in numbers),
        ).drop("start", "late", "draw")
    return changed


@SOME
@given(seed=st.integers(0, 10**6), hours=st.sampled_from([1.0, 24.0, 60.0]))
def test_what_happens_after_the_cut_changes_no_window(base: Tokenized, seed: int, hours: float) -> None:
    after = made(change_later(BASE, hours, seed), base.tokenizer)
    assert not after.frame.equals(base.frame)
    assert after.window(hours=hours).equals(base.window(hours=hours))


@SOME
@given(seed=st.integers(0, 10**6))
def test_fitting_sees_the_training_split_only(base: Tokenized, seed: int) -> None:
    held_out = base.site.stays.filter(pl.col("split") != "train")
    stays, people = held_out[ID].to_list(), held_out["patient_id"].to_list()
    assert stays
    rng = np.random.default_rng(seed)
    tables = dict(BASE)
    for name, table in BASE.items():
        if name in ("patient", "hospitalization", "code_status"):
            continue
        hidden = pl.col(ID).is_in(stays)
        for column in table.columns:
            if column in VALUES:
                noise = pl.Series(rng.normal(0, 1e4, table.height))
                table = table.with_columns(pl.when(hidden).then(noise).otherwise(column).alias(column))
            elif column.endswith("_category") or column.endswith("_unit"):
                new = pl.lit(f"new {seed % 7}")
                table = table.with_columns(pl.when(hidden).then(new).otherwise(column).alias(column))
        tables[name] = table
    others = pl.col("patient_id").is_in(people)
    tables["patient"] = BASE["patient"].with_columns(
        pl.when(others).then(pl.lit("Asian")).otherwise(column).alias(column) for column in ("race_category",)
    )
    tables["hospitalization"] = BASE["hospitalization"].with_columns(
        pl.when(others).then(pl.lit("AMA")).otherwise("discharge_category").alias("discharge_category"),
        pl.when(others).then(90 - seed % 40).otherwise("age_at_admission").alias("age_at_admission"),
    )
    found = made(tables, events="all")
    assert found.json == base.json
    assert not found.frame.equals(base.frame)


LABS = st.lists(
    st.tuples(
        st.integers(0, 24 * 3600),
        st.sampled_from(["a", "b", "c"]),
        st.one_of(st.none(), st.floats(-1e6, 1e6), st.sampled_from([1.0, 2.0, 3.0])),
    ),
    max_size=25,
)


def labs_of(rows: list[tuple[int, str, float | None]]) -> Tables:
    tables = quiet()
    keys = ("lab_result_dttm", "lab_category", "lab_value_numeric")
    if rows:
        happen(tables, "labs", [dict(zip(keys, (s / 3600, c, v), strict=True)) for s, c, v in rows])
    return tables


@SOME
@given(rows=LABS, scheme=st.sampled_from(["paper", "fused"]), n_bins=st.sampled_from([2, 10, 20]))
def test_decoding_gives_codes_and_bins_back(
    rows: list[tuple[int, str, float | None]], scheme: str, n_bins: int
) -> None:
    result = made(labs_of(rows), settings=TokenSettings(scheme=scheme, n_bins=n_bins))
    tokenizer = result.tokenizer
    row = result.frame.filter(pl.col(ID) == "s0-0").row(0, named=True)
    table = decode(row["tokens"], row["minutes"], tokenizer.vocabulary, age_position=tokenizer.age_position)
    found = (
        table.filter(pl.col("family") == "lab")
        .group_by("event", maintain_order=True)
        .agg(pl.col("name").first(), pl.col("minute").first(), pl.col("bin").max())
    )
    expected = []
    for second, code, value in rows:
        cuts = tokenizer.cut_points.get(f"lab/{code}", [])
        place = None if value is None else int(np.digitize(value, cuts))
        expected.append((float(np.float32(second / 60)), code, place))
    got = [(minute, code, place) for code, minute, place in found.drop("event").iter_rows()]
    key = lambda event: (event[0], event[1], -1 if event[2] is None else event[2])  # noqa: E731
    assert sorted(got, key=key) == sorted(expected, key=key)
    assert [event[0] for event in got] == sorted(event[0] for event in expected)


@SOME
@given(
    st.lists(st.one_of(st.floats(-1e9, 1e9), st.sampled_from([0.0, 1.0])), min_size=2, max_size=40),
    st.sampled_from(sorted(PRESETS)),
)
def test_a_larger_value_never_has_a_smaller_bin(values: list[float], preset: str) -> None:
    rows = [(60 * place, "a", value) for place, value in enumerate(sorted(values))]
    result = made(labs_of(rows), settings=PRESETS[preset])
    row = result.frame.filter(pl.col(ID) == "s0-0").row(0, named=True)
    place = result.tokenizer.age_position
    table = decode(row["tokens"], row["minutes"], result.tokenizer.vocabulary, age_position=place)
    bins = table.filter((pl.col("family") == "lab") & pl.col("bin").is_not_null())["bin"].to_list()
    assert len(bins) == len(values)
    assert bins == sorted(bins)
    n_distinct, n_bins = len(set(values)), result.tokenizer.settings.n_bins
    if n_distinct <= n_bins:
        assert len(set(bins)) == n_distinct
    assert max(bins) < n_bins


GARBAGE = {
    "text": [None, "", " ", "nonsense", "Ü☃", "null", "x" * 300],
    "number": [None, float("nan"), float("inf"), -float("inf"), 1e300, -1e300, 0.0],
    "time": [
        "0001-01-01T00:00:00",
        "9999-12-31T23:59:59",
        None,
        "1970-01-01T00:00:00",
        "2300-01-01T00:00:00",
    ],
}


def spoilt(data: st.DataObject, name: str) -> tuple[pl.DataFrame, int, str]:
    """A table of `BASE` with garbage in one cell; the row and the column."""
    table = BASE[name]
    row = data.draw(st.integers(0, table.height - 1))
    column = data.draw(st.sampled_from(table.columns))
    dtype = table.schema[column]
    kind = "time" if isinstance(dtype, pl.Datetime) else "number" if dtype.is_numeric() else "text"
    bad = pl.Series([data.draw(st.sampled_from(GARBAGE[kind]))])
    if kind == "time":
        bad = bad.cast(pl.String).str.to_datetime(time_unit="us", time_zone="UTC")
    else:
        bad = bad.cast(pl.Float64 if kind == "number" else pl.String)
    cell = pl.when(pl.int_range(pl.len()) == row).then(pl.lit(bad.item(), dtype=bad.dtype))
    return table.with_columns(cell.otherwise(column).alias(column)), row, column


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_garbage_in_one_row_never_costs_another_row_its_event(base: Tokenized, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([n for n in BASE if n not in ("patient", "hospitalization")]))
    changed, row, column = spoilt(data, name)
    table, here = BASE[name], pl.int_range(pl.len()) == row
    without = dict(BASE) | {name: table.filter(~here)}
    tokenizer = base.tokenizer
    whole, less = made(dict(BASE) | {name: changed}, tokenizer), made(without, tokenizer)
    own = table[row][ID].item() if ID in table.columns else None
    for result in (whole, less):
        assert result.frame.height == base.frame.height
    if own is None:
        people = dict(BASE["hospitalization"].select(ID, "patient_id").iter_rows())
        hit = {stay for stay, person in people.items() if person == table[row]["patient_id"].item()}
    else:
        hit = {own}
    kept = ~pl.col(ID).is_in(list(hit))
    assert whole.frame.filter(kept).equals(base.frame.filter(kept)), "other stays are as they were"
    if name in ("vitals",) and column == "recorded_dttm":
        return  # the first vital moves the start of its own stay, and every minute with it
    for stay in hit:
        names = [n for n in less.names(stay) if "/" in n and not n.startswith("answer/")]
        found = [n for n in whole.names(stay) if "/" in n and not n.startswith("answer/")]
        for code in set(names):
            assert found.count(code) >= names.count(code), f"{code} was lost"


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_garbage_in_a_stay_or_patient_costs_no_other_patient_a_token(
    base: Tokenized, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(["patient", "hospitalization"]))
    changed, row, _ = spoilt(data, name)
    patient = BASE[name]["patient_id"][row]
    found = made(dict(BASE) | {name: changed}, base.tokenizer)
    others = BASE["hospitalization"].filter(pl.col("patient_id") != patient)[ID].to_list()
    kept = pl.col(ID).is_in(others)
    assert found.frame.filter(kept).equals(base.frame.filter(kept))


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_a_second_site_is_tokenized_as_the_first_says(base: Tokenized, seed: int) -> None:
    other = make_all_tables(patients=4, seed=seed)
    before = base.json
    first, second = made(other, base.tokenizer), made(other, base.tokenizer)
    assert base.json == before
    assert first.frame.equals(second.frame)
    assert first.frame["tokens"].explode().max() < len(base.tokenizer.vocabulary)
    assert first.frame.select((pl.col("minutes").list.diff().list.min() >= 0).all()).item()


def test_ids_of_nobody_do_not_stop_a_site(base: Tokenized) -> None:
    tables = dict(BASE)
    for name in TIMES:
        stranger = tables[name].head(1).with_columns(pl.lit("nobody").alias(ID))
        tables[name] = pl.concat([tables[name], stranger])
    found = made(tables, events="all")
    assert found.json == base.json
    assert found.frame.equals(base.frame)


def test_only_a_whole_table_of_strangers_stops_a_site(tmp_path: Path) -> None:
    tables = dict(BASE) | {"labs": BASE["labs"].with_columns(pl.lit("nobody").alias(ID))}
    with pytest.raises(UserError, match="clif_labs.parquet: none of"):
        read(tables, tmp_path)
