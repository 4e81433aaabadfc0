"""Two cohorts beside each other: figures against statsmodels, and small cells that stay untold."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import confint_proportions_2indep, proportions_ztest

from ehrfm_core.cohorts.charted import Charted, charted
from ehrfm_core.cohorts.compare import compare_characteristics, compare_charted, compare_outcomes, disjoint
from ehrfm_core.outcomes import OUTCOMES
from ehrfm_core.study import open_study
from ehrfm_core.tokens.decode import decode
from ehrfm_core.tokens.tokenizer import Tokenizer
from tests.e2e.conftest import BUNDLED

ID = "hospitalization_id"


def cohort(n: int, deaths: int, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pl.DataFrame(
        {
            "site": "mimic",
            ID: [f"{seed}-{i}" for i in range(n)],
            "age": rng.normal(60 + seed, 10, n),
            "los_hours": rng.exponential(90, n),
            "n_tokens": rng.integers(20, 300, n),
            "sex": ["Female"] * 5 + ["Male"] * (n - 5),
            "race": "White",
            "ethnicity": None,
            "outlier": rng.random(n) < 0.3,
            "icu_24h": rng.random(n) < 0.2,
            "imv_24h": rng.random(n) < 0.2,
            "death": [True] * deaths + [False] * (n - deaths),
            "long_los": [None] * n,
            "icu": [True] * 30 + [False] * (n - 30),
            "imv": [False] * n,
        },
        schema_overrides={"long_los": pl.Boolean, "ethnicity": pl.String},
    )
    return frame.with_columns(o.counts().alias(f"counts_{name}") for name, o in OUTCOMES.items())


A, B = cohort(150, 40, 1), cohort(300, 30, 2)


def test_outcomes_are_those_of_statsmodels() -> None:
    death = compare_outcomes(A, B, OUTCOMES).row(0, named=True)
    low, high = confint_proportions_2indep(40, 150, 30, 300, compare="diff", method="newcomb")
    assert (death["diff_low"], death["diff_high"]) == pytest.approx((low, high))
    assert death["p_value"] == pytest.approx(proportions_ztest([40, 30], [150, 300])[1])
    assert death["effect"] == pytest.approx((40 / 150 - 0.1) / np.sqrt((4 / 15 * 11 / 15 + 0.09) / 2))
    assert death["low"] < death["effect"] < death["high"]


def test_an_outcome_that_is_not_known_has_no_figures() -> None:
    table = compare_outcomes(A, B, OUTCOMES)
    assert table["n_a"].to_list()[1] == 0
    assert table.row(1, named=True)["effect"] is None
    assert table.row(3, named=True)["rate_a"] == 0  # nobody: nothing to hide, and nothing to test
    assert table.row(3, named=True)["p_value"] is None


def test_small_counts_are_not_told_and_nothing_is_computed_from_them() -> None:
    few = compare_outcomes(cohort(150, 10, 1), B, OUTCOMES).row(0, named=True)
    assert few["hidden_a"]
    assert few["hidden_b"], "B may be everyone else"
    for name in (
        "events_b",
        "rate_b",
        "events_a",
        "rate_a",
        "difference",
        "diff_low",
        "effect",
        "low",
        "p_value",
        "q_value",
    ):
        assert few[name] is None, name
    women = compare_characteristics(A, B).filter(label="Sex: Female").row(0, named=True)
    assert women["events_a"] is None
    assert women["effect"] is None


def test_characteristics_have_means_and_one_discovery_rate() -> None:
    table = compare_characteristics(A, B)
    assert "Site: mimic" not in table["label"]  # all of both
    age = table.filter(label="Age, years").row(0, named=True)
    assert age["rate_a"] == pytest.approx(A["age"].mean())
    known = table.drop_nulls("p_value")
    assert known["q_value"].to_list() == pytest.approx(multipletests(known["p_value"], method="fdr_bh")[1])


def test_shared_stays_count_for_a_alone() -> None:
    rest, shared = disjoint(A, pl.concat([A.head(20), B]))
    assert shared == 20
    assert rest.equals(B)


def test_categories_are_counted_as_a_reader_would() -> None:
    study = open_study(BUNDLED)
    tokenizer = Tokenizer.from_json(study.tokenizer())
    timelines = study.site_table("mimic", "timelines")
    table = charted(timelines, tokenizer)
    chosen = timelines[ID].head(15)
    counted = dict(zip(table.names.rows(), table.with_category(chosen).tolist(), strict=True))
    expected: dict[tuple[str, str], int] = dict.fromkeys(counted, 0)
    for tokens, minutes in timelines.head(15).select("tokens", "minutes").rows():
        events = decode(tokens, minutes, tokenizer.vocabulary, age_position=tokenizer.age_position)
        seen = events.filter(pl.col("minute") <= 24 * 60, pl.col("position") > len(tokenizer.prefix))
        for name in seen.select("family", "name").unique().rows():
            if name in expected:
                expected[name] += 1
    assert counted == expected
    assert sum(counted.values()) > 100


def test_charted_differences_are_sorted_and_controlled() -> None:
    names = pl.DataFrame({"family": ["lab"] * 4, "name": list("wxyz")})
    rng = np.random.default_rng(0)
    ids = pl.Series([str(i) for i in range(400)])
    has = rng.random((400, 4)) < np.array([0.5, 0.9, 0.02, 0.0])
    has[:200, 0] = rng.random(200) < 0.9
    rows, columns = np.nonzero(has)
    table = compare_charted([ids[:200]], [ids[200:]], [Charted(ids, rows, columns, names)])
    assert table["label"].to_list()[0] == "w"
    assert set(table["label"]) == {"w", "x", "y"}
    assert table.filter(label="y")["q_value"].to_list() == [None]  # fewer than eleven
    assert table["n_a"].unique().to_list() == [200]
