import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from ehrfm_core.evaluation.deciles import deciles
from ehrfm_core.evaluation.features import FEATURES
from ehrfm_core.evaluation.sites import Stays, align
from ehrfm_core.outcomes import OUTCOMES
from ehrfm_core.study.layout import RESULT_FILES

from .data import make_site


def stays(n: int = 500) -> Stays:
    return align(make_site("a", n))[0]


def with_values(values: object, n: int) -> Stays:
    site = stays(n)
    return Stays(site.site, site.frame.with_columns(pl.Series("max_jump", values)), site.states, site.tokens)


def test_ten_groups_of_the_stays_that_count_with_wilsons_interval() -> None:
    site = stays()
    table = deciles(site, OUTCOMES["icu"])
    assert dict(table.schema) == RESULT_FILES["deciles"]
    assert table.height == 10 * len(FEATURES)
    used = site.frame.filter(~pl.col("icu_24h"))
    for feature in FEATURES:
        rows = table.filter(feature=feature)
        assert rows["decile"].to_list() == list(range(1, 11))
        for got in rows.iter_rows(named=True):
            inside = used.filter(pl.col(feature).is_between(got["low"], got["high"]))
            assert inside.height == got["n"] == pytest.approx(used.height / 10, abs=1)
            events = inside["icu"].sum()
            assert got["n_events"] == events
            assert got["rate"] == pytest.approx(events / got["n"])
            low, high = proportion_confint(events, got["n"], method="wilson")
            assert (got["ci_low"], got["ci_high"]) == pytest.approx((low, high))
            assert got["mean_tokens"] == pytest.approx(inside["n_tokens"].mean())
        assert (rows["low"][1:] > rows["high"][:-1]).all()


VALUES = st.lists(st.one_of(st.integers(-3, 3).map(float), st.floats(-1e6, 1e6)), min_size=1, max_size=60)


@settings(max_examples=60, deadline=None)
@given(values=VALUES)
def test_every_stay_is_in_one_group_and_equal_values_are_together(values: list[float]) -> None:
    rows = deciles(with_values(values, len(values)), OUTCOMES["death"]).filter(feature="max_jump")
    assert rows["n"].sum() == len(values)
    assert rows["decile"].is_between(1, 10).all()
    assert rows["decile"].is_sorted()
    assert rows["decile"].is_unique().all()
    assert (rows["low"] <= rows["high"]).all()
    assert (rows["low"][1:] > rows["high"][:-1]).all()
    tolerance = 1e-12
    assert (rows["ci_low"] <= rows["rate"] + tolerance).all()
    assert (rows["ci_high"] >= rows["rate"] - tolerance).all()


def test_a_feature_that_never_varies_is_one_group_and_ties_leave_fewer() -> None:
    rows = deciles(with_values([0.1] * 200, 200), OUTCOMES["death"]).filter(feature="max_jump")
    assert rows.select("n", "low", "high").rows() == [(200, 0.1, 0.1)]
    half = deciles(with_values([0.0] * 100 + list(range(1, 101)), 200), OUTCOMES["death"])
    rows = half.filter(feature="max_jump")
    assert rows["n"][0] == 100
    assert rows["decile"].to_list() == [1, 6, 7, 8, 9, 10]


def test_unknown_values_are_left_out_and_nobody_gives_no_rows() -> None:
    values = [None if i < 50 else np.nan if i < 60 else float(i) for i in range(200)]
    rows = deciles(with_values(values, 200), OUTCOMES["death"])
    assert rows.filter(feature="max_jump")["n"].sum() == 140
    assert rows.filter(feature="path_length")["n"].sum() == 200
    nobody = deciles(with_values([None] * 200, 200), OUTCOMES["death"])
    assert nobody.filter(feature="max_jump").is_empty()
    for site in (stays().split("no such split"), Stays("a", stays().frame.drop(*FEATURES), *_rest())):
        empty = deciles(site, OUTCOMES["death"])
        assert empty.is_empty()
        assert dict(empty.schema) == RESULT_FILES["deciles"]


def _rest() -> tuple[object, object]:
    site = stays()
    return site.states, site.tokens


@pytest.mark.parametrize("value", [True, False])
def test_one_class_and_one_stay(value: bool) -> None:
    site = stays(1)
    one = Stays("a", site.frame.with_columns(pl.lit(value).alias("death")), site.states, site.tokens)
    rows = deciles(one, OUTCOMES["death"])
    assert set(rows["n"]) == {1}
    assert set(rows["rate"]) == {float(value)}
    assert (rows["ci_high"] - rows["ci_low"] > 0.5).all()
