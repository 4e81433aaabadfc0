"""A tokenizer taken to another hospital: what it knew stays, what it lacks is appended."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ehrfm_core.clif.site import Site
from ehrfm_core.tokens.extend import extend, inherited
from ehrfm_core.tokens.fit import cuts, fit_tokenizer
from ehrfm_core.tokens.settings import TokenSettings
from ehrfm_core.tokens.tokenizer import Tokenizer, reference_ranges
from tests.make_clif import ID, Tables, make_all_tables
from tests.make_site import happen, quiet, read, tokenize, values_of

SOME = settings(max_examples=15, deadline=None)
FIRST = make_all_tables(patients=8)
LABS = st.lists(
    st.tuples(
        st.integers(0, 2),  # which stay; the last of three is the test split
        st.integers(0, 24 * 3600),
        st.sampled_from(["a", "b", "pt", "inr", "z"]),
        st.one_of(st.none(), st.floats(-1e6, 1e6), st.sampled_from([1.0, 2.0, 3.0])),
    ),
    max_size=20,
)
SETTINGS = st.builds(
    TokenSettings,
    scheme=st.sampled_from(["paper", "fused"]),
    n_bins=st.sampled_from([2, 10]),
    bins=st.sampled_from(["quantile", "reference"]),
)


def opened(tables: Tables, tokenizer: Tokenizer) -> Site:
    """A source read with the first hospital's event map."""
    with TemporaryDirectory() as folder:
        return read(tables, Path(folder), events=tokenizer.events, fine=tokenizer.settings.labs == "fine")


def fitted(tables: Tables, *, events: str = "all", **options: Any) -> Tokenizer:
    with TemporaryDirectory() as folder:
        return tokenize(tables, Path(folder), events=events, settings=TokenSettings(**options)).tokenizer


def labs_of(rows: list[tuple[int, int, str, float | None]]) -> Tables:
    tables = quiet()
    keys = ("lab_result_dttm", "lab_category", "lab_value_numeric")
    for stay in range(3):
        own = [dict(zip(keys, (s / 3600, c, v), strict=True)) for where, s, c, v in rows if where == stay]
        if own:
            happen(tables, "labs", own, stay=stay)
    return tables


def second_hospital(seed: int = 7) -> Tables:
    """Another hospital: some codes, answers, races, discharges and units that the first has never seen."""
    tables = make_all_tables(patients=11, seed=seed)
    labs, assessments = tables["labs"], tables["patient_assessments"]
    tables["labs"] = labs.with_columns(pl.col("lab_category").replace("sodium", "chloride"))
    tables["vitals"] = tables["vitals"].with_columns(pl.col("vital_category").replace("spo2", "map"))
    tables["patient_assessments"] = assessments.with_columns(
        pl.col("assessment_category").replace("gcs_total", "rass"),
        pl.when(pl.col("categorical_value").is_not_null()).then(pl.lit("Fail")).alias("categorical_value"),
    )
    doses = tables["medication_admin_continuous"]
    tables["medication_admin_continuous"] = doses.with_columns(
        pl.col("med_category").replace("heparin", "insulin")
    )
    tables["patient"] = tables["patient"].with_columns(pl.lit("Asian").alias("race_category"))
    return tables


@pytest.mark.parametrize("scheme", ["paper", "fused"])
def test_known_codes_keep_everything_and_new_ones_are_fitted(scheme: str) -> None:
    base = fitted(FIRST, scheme=scheme)
    site = opened(second_hospital(), base)
    found = extend(base, site)
    size = len(base.vocabulary)
    assert list(found.vocabulary.items())[:size] == list(base.vocabulary.items())
    added = list(found.vocabulary)[size:]
    assert added == sorted(added)
    assert list(found.vocabulary.values()) == list(range(len(found.vocabulary)))
    new = {"lab/chloride", "vital/map", "assessment/rass", "medication/insulin"}
    assert {code for code in found.cut_points if code not in base.cut_points} >= new
    for code in new:
        if code != "medication/insulin":  # whose values come in two units
            assert found.cut_points[code] == cuts(values_of(site, code), base.settings.n_bins)
    assert found.units["medication/insulin"] == "mcg/min"
    assert {code: found.cut_points[code] for code in base.cut_points} == base.cut_points
    assert {"race/asian", "medication/insulin"} <= set(added)
    if scheme == "paper":
        assert "answer/fail" in added
        assert not any(token.startswith("Q") for token in added)
    else:
        assert "assessment/sbt=fail" in added
        assert {"lab/chloride=Q0", "lab/chloride=Q9"} <= set(added)
        assert not any(token.startswith(("lab/potassium", "age/")) for token in added)
    assert Tokenizer.from_json(json.loads(json.dumps(found.to_json()))) == found
    assert inherited(found, size) == base


@SOME
@given(before=LABS, after=LABS, own=SETTINGS)
def test_whatever_happens_ids_and_cut_points_of_before_stay(
    before: list[tuple[int, int, str, float | None]],
    after: list[tuple[int, int, str, float | None]],
    own: TokenSettings,
) -> None:
    with TemporaryDirectory() as folder:
        base = tokenize(labs_of(before), Path(folder), settings=own).tokenizer
        site = read(labs_of(after), Path(folder))
        found, alone = extend(base, site), fit_tokenizer(site, own, base.events)
        size = len(base.vocabulary)
        assert list(found.vocabulary.items())[:size] == list(base.vocabulary.items())
        added = list(found.vocabulary)[size:]
        assert added == sorted(added)
        assert inherited(found, size) == base
        new = {code for code in found.vocabulary if code.startswith("lab/") and "=" not in code}
        new -= set(base.vocabulary)
        for table in ("cut_points", "reference", "units"):
            ours, theirs, first = (getattr(t, table) for t in (found, alone, base))
            assert ours == first | {code: value for code, value in theirs.items() if code in new}
        # every appended code has all that the ordinary fit gives it, and its values have tokens
        for code in new:
            values = found.value_tokens(code)
            assert values == alone.value_tokens(code)
            shown = [f"{code}={value}" for value in values] if own.scheme == "fused" else values
            assert set(shown) <= set(found.vocabulary)
        result = tokenize(site, Path(folder), found)
        plain = tokenize(site, Path(folder), base)
        train = site.stays.filter(pl.col("split") == "train")[ID]
        for stay in site.stays[ID]:
            if not set(added) & set(result.names(stay)):
                assert result.names(stay) == plain.names(stay)
            if stay in train:
                assert "UNK" not in result.names(stay)


@SOME
@given(seed=st.integers(0, 10**6), scheme=st.sampled_from(["paper", "fused"]))
def test_appending_sees_the_training_split_only(seed: int, scheme: str) -> None:
    base = fitted(FIRST, scheme=scheme)
    tables = second_hospital()
    site = opened(tables, base)
    before = extend(base, site)
    held_out = site.stays.filter(pl.col("split") != "train")
    hidden = pl.col(ID).is_in(held_out[ID].to_list())
    rng = np.random.default_rng(seed)
    for name, columns in {
        "labs": ("lab_category", "lab_value_numeric"),
        "vitals": ("vital_category", "vital_value"),
        "patient_assessments": ("categorical_value", "numerical_value"),
        "medication_admin_continuous": ("med_category", "med_dose"),
    }.items():
        table, (code, value) = tables[name], columns
        noise = pl.Series(rng.normal(0, 1e4, table.height))
        moved = pl.when(hidden).then(pl.lit(f"new {seed % 7}")).otherwise(code).alias(code)
        if seed % 2:  # the same codes with other values
            moved = pl.col(code)
        valued = hidden & pl.col(value).is_not_null()  # where there is none, there is an answer
        tables[name] = table.with_columns(moved, pl.when(valued).then(noise).otherwise(value).alias(value))
    people = pl.col("patient_id").is_in(held_out["patient_id"].to_list())
    tables["patient"] = tables["patient"].with_columns(
        pl.when(people).then(pl.lit("White")).otherwise("race_category").alias("race_category")
    )
    tables["hospitalization"] = tables["hospitalization"].with_columns(
        pl.when(people).then(pl.lit("AMA")).otherwise("discharge_category").alias("discharge_category")
    )
    again = opened(tables, base)
    assert extend(base, again).to_json() == before.to_json()
    assert set(values_of(again, "lab/lactate", split="test")) != set(
        values_of(site, "lab/lactate", split="test")
    )


def test_the_hospital_itself_adds_nothing() -> None:
    base = fitted(FIRST)
    assert extend(base, opened(FIRST, base)) == base


def test_reference_tokens_come_only_where_a_new_code_needs_them() -> None:
    def labs(*codes: str) -> Tables:
        return labs_of([(0, 3600 * place, code, 1.0) for place, code in enumerate(codes)])

    base = fitted(labs("a"), events="paper", bins="reference")
    assert "LOW" not in base.vocabulary
    found = extend(base, opened(labs("a", "b"), base))
    assert list(found.vocabulary)[len(base.vocabulary) :] == ["lab/b"]
    found = extend(base, opened(labs("a", "pt"), base))
    assert list(found.vocabulary)[len(base.vocabulary) :] == ["HIGH", "LOW", "NORMAL", "lab/pt"]
    assert found.reference == {"lab/pt": reference_ranges()["lab/pt"]}
    valueless = labs_of([(0, 3600, "pt", None)])
    known = fitted(valueless, events="paper", bins="reference")
    assert extend(known, opened(labs("pt"), known)) == known  # known without values: stays without


def test_further_windows_may_differ() -> None:
    base = fitted(FIRST)
    wider = replace(base, settings=replace(base.settings, more_windows=(48.0, None)))
    found = extend(wider, opened(second_hospital(), base))
    assert found.settings.more_windows == (48.0, None)
    assert found.vocabulary == extend(base, opened(second_hospital(), base)).vocabulary
