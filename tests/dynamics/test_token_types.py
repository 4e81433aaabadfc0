"""Against a loop over stays that is told in plain Python."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from ehrfm_core.dynamics.token_types import ID, largest_jumps, token_types
from ehrfm_core.errors import UserError
from ehrfm_core.outcomes import OUTCOMES
from ehrfm_core.study.layout import RESULT_FILES, SITE_FILES
from ehrfm_core.tokens.decode import decode
from ehrfm_core.tokens.settings import TokenSettings
from ehrfm_core.tokens.tokenizer import Tokenizer
from ehrfm_core.tokens.vocabulary import build

CATEGORIES = ["lab/k", "lab/na", "vital/hr", "assessment/sbt"]
STATIC = ["race/white", "ethnicity/hispanic", "sex/female", "admission/ed"]
VOCABULARY = build({*CATEGORIES, *STATIC, "answer/pass"}, n_bins=3)
TOKENIZER = Tokenizer(TokenSettings(), {}, VOCABULARY)
PREFIX = ["TL_START", *STATIC[:3], "Q1", STATIC[3]]
EVENTS = [["lab/k", "Q0"], ["lab/na", "Q2"], ["vital/hr"], ["assessment/sbt", "answer/pass"], ["UNK"]]


def made(n: int, seed: int = 0) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Windows and jumps of `n` stays, the first with no event, in an order of their own."""
    rng = np.random.default_rng(seed)
    timelines = [
        PREFIX + [token for i in rng.integers(0, len(EVENTS), 3 * stay) for token in EVENTS[i]]
        for stay in range(n)
    ]
    ids = [f"s{i:03d}" for i in range(n)]
    windows = pl.DataFrame(
        {
            ID: ids,
            "tokens": [[VOCABULARY[token] for token in timeline] for timeline in timelines],
            "minutes": [np.sort(rng.uniform(0, 1440, len(timeline))).tolist() for timeline in timelines],
        },
        schema={ID: pl.String, "tokens": pl.List(pl.Int32), "minutes": pl.List(pl.Float32)},
    )
    lists = {
        "jump": [
            [0.0, *rng.integers(1, 9, len(t) - 1).tolist()] for t in timelines
        ],  # small whole numbers: ties
        "information": [[None, *rng.gamma(2, 1, len(t) - 1).tolist()] for t in timelines],
    } | {f"risk_{name}": [rng.random(len(t)).tolist() for t in timelines] for name in OUTCOMES}
    lists["risk_icu"] = [None if i % 2 else risk for i, risk in enumerate(lists["risk_icu"])]
    lists["risk_imv"] = [None] * n
    jumps = pl.DataFrame({ID: ids} | lists, schema=SITE_FILES["jumps"])
    return windows.sample(fraction=1, shuffle=True, seed=seed), jumps.sample(
        fraction=1, shuffle=True, seed=seed + 1
    )


def told(windows: pl.DataFrame, jumps: pl.DataFrame) -> pl.DataFrame:
    """Every token of every stay on a row, decoded stay by stay."""
    parts = []
    for row in windows.join(jumps, on=ID).sort(ID).iter_rows(named=True):
        decoded = decode(row["tokens"], row["minutes"], VOCABULARY)
        columns = {name: values for name, values in row.items() if name not in (ID, "tokens", "minutes")}
        parts.append(
            decoded.with_columns(
                pl.lit(row[ID]).alias(ID),
                *(
                    pl.Series(name, values if values else [None] * decoded.height, dtype=pl.Float32)
                    for name, values in columns.items()
                ),
            )
        )
    return pl.concat(parts)


def test_each_family_and_name_against_the_tokens_told_one_by_one() -> None:
    windows, jumps = made(12)
    table = token_types(windows, jumps, TOKENIZER)
    assert set(table.columns) == set(RESULT_FILES["token_types"]) - {"site"}
    rows = told(windows, jumps).filter(pl.col("position") > 0)
    event = pl.col("position") >= len(PREFIX)
    path, information = rows["jump"].sum(), rows["information"].sum()
    selections = [("prefix", None, ~event), ("prefix", "age", ~event & (pl.col("family") == "age"))]
    selections += [("lab", None, event & (pl.col("family") == "lab"))]
    selections += [("lab", "k", event & (pl.col("family") == "lab") & (pl.col("name") == "k"))]
    selections += [("special", "UNK", event & (pl.col("name") == "UNK"))]
    for family, name, where in selections:
        own = rows.filter(where)
        found = table.filter(pl.col("family") == family, pl.col("name").eq_missing(name))
        assert found.height == 1
        got = found.row(0, named=True)
        assert (got["n_tokens"], got["n_stays"]) == (own.height, own[ID].n_unique())
        assert got["prefix"] is (family == "prefix")
        for column, total, share in (
            ("jump", path, "path_share"),
            ("information", information, "information_share"),
        ):
            values = own[column].cast(pl.Float64).to_numpy()
            assert got[f"mean_{column}"] == pytest.approx(values.mean())
            assert got[f"median_{column}"] == pytest.approx(np.quantile(values, 0.5))
            assert got[f"p90_{column}"] == pytest.approx(np.quantile(values, 0.9))
            assert got[share] == pytest.approx(values.sum() / total)
    assert "start" not in set(table["name"].drop_nulls().str.to_lowercase())


def test_the_shares_of_the_families_and_of_their_names_add_up() -> None:
    table = token_types(*made(9), TOKENIZER)
    families = table.filter(pl.col("name").is_null())
    for share in ("path_share", "information_share"):
        assert families[share].sum() == pytest.approx(1)
        names = table.filter(pl.col("name").is_not_null()).group_by("family").agg(pl.col(share).sum())
        assert_frame_equal(families.select("family", share).sort("family"), names.sort("family"))
    assert families["n_tokens"].sum() == told(*made(9)).filter(pl.col("position") > 0).height


@settings(max_examples=8, deadline=None)
@given(n=st.integers(1, 8), k=st.integers(1, 7), seed=st.integers(0, 1000))
def test_the_largest_jumps_are_those_of_each_stay_sorted(n: int, k: int, seed: int) -> None:
    windows, jumps = made(n, seed)
    table = largest_jumps(windows, jumps, TOKENIZER, k=k)
    assert dict(table.schema).keys() == SITE_FILES["largest_jumps"].keys()
    rows = told(windows, jumps)
    risks = [f"risk_{name}" for name in OUTCOMES]
    expected = (
        rows.with_columns(
            (pl.col(risk) - pl.col(risk).shift(1).over(ID)).alias(risk.replace("risk", "change"))
            for risk in risks
        )
        .filter(pl.col("position") >= len(PREFIX))
        .sort(ID, "jump", "position", descending=[False, True, False])
        .group_by(ID, maintain_order=True)
        .head(k)
        .with_columns(pl.int_range(1, pl.len() + 1).over(ID).alias("rank"))
        .select(table.columns)
    )
    assert_frame_equal(table, expected.cast(dict(table.schema)), check_exact=True)
    assert (table.group_by(ID).len()["len"] <= k).all()


def test_what_a_value_is_about_and_how_the_risk_moves() -> None:
    tokens = [*PREFIX, "lab/k", "Q2"]
    n = len(tokens)
    windows = pl.DataFrame({ID: ["a"], "tokens": [[VOCABULARY[t] for t in tokens]], "minutes": [[30.0] * n]})
    lists = {"jump": [[90.0] * 6 + [1.0, 5.0]], "information": [[None, *[1.0] * (n - 1)]]}
    jumps = pl.DataFrame({ID: ["a"]} | lists | {"risk_death": [[0.1] * 7 + [0.35]]})
    top = largest_jumps(windows, jumps.cast({"risk_death": pl.List(pl.Float32)}), TOKENIZER, k=1)
    got = top.row(0, named=True)
    assert (got["position"], got["token"], got["family"], got["name"], got["bin"]) == (7, "Q2", "lab", "k", 2)
    assert got["change_death"] == pytest.approx(0.25)
    assert got["change_icu"] is None


def test_no_stay_and_stays_without_events() -> None:
    windows, jumps = made(4)
    empty = token_types(windows.clear(), jumps, TOKENIZER)
    assert empty.is_empty()
    assert set(empty.columns) == set(RESULT_FILES["token_types"]) - {"site"}
    assert largest_jumps(windows.clear(), jumps, TOKENIZER).is_empty()
    first = windows.filter(pl.col(ID) == "s000")
    assert largest_jumps(first, jumps, TOKENIZER).is_empty()
    assert set(token_types(first, jumps, TOKENIZER)["family"]) == {"prefix"}


def test_lists_of_another_length_are_a_sentence() -> None:
    windows, jumps = made(4)
    short = jumps.with_columns(pl.col("jump").list.head(3))
    with pytest.raises(UserError, match="not one entry a token of the window for 4 stays; run embed again"):
        token_types(windows, short, TOKENIZER)
    with pytest.raises(UserError, match="run embed again"):
        largest_jumps(windows, short, TOKENIZER)
