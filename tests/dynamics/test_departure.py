from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from ehrfm_core.dynamics.departure import category_departures, component_departures, matched_inliers
from ehrfm_core.dynamics.space import Space, fit_space
from ehrfm_core.ragged import Ragged
from ehrfm_core.tokens import vocabulary as names

VOCABULARY = names.build(
    {"lab/lactate", "lab/lactate=Q1", "vital/map", "medication/norepinephrine", "location/icu"}, n_bins=2
)
ID = "hospitalization_id"


def inliers(n: int) -> pl.DataFrame:
    return pl.DataFrame({ID: [f"s{i:03d}" for i in range(n)], "n_tokens": np.arange(1, n + 1)})


def test_matches_have_the_nearest_number_of_tokens_and_never_the_stay_itself() -> None:
    got = matched_inliers(inliers(400), 100, k=3)
    assert got["n_tokens"].to_list() == [100, 101, 99], "on a log scale 101 is nearer than 99"
    assert "s099" not in matched_inliers(inliers(400), 100, without="s099", k=5)[ID].to_list()
    assert matched_inliers(inliers(400).reverse(), 100, k=40).equals(matched_inliers(inliers(400), 100, k=40))
    sizes = [matched_inliers(inliers(n), 5).height for n in (0, 8, 400, 1000, 9000)]
    assert sizes == [0, 8, 30, 50, 200]


def unit_space(width: int) -> Space:
    return Space(np.zeros(width), np.ones(width), np.eye(width), np.ones(width), np.full(width, 1 / width))


def test_the_component_moved_comes_first_with_its_z() -> None:
    rng = np.random.default_rng(0)
    others = rng.normal(size=(50, 4)).astype(np.float32)
    state = others.mean(axis=0)
    state[2] -= 5 * others[:, 2].std(ddof=1)
    state[0] += 2 * others[:, 0].std(ddof=1)
    found = component_departures(unit_space(4), state, others)
    assert found["component"].to_list()[:2] == [3, 1]
    assert found["z"].to_list() == pytest.approx([-5, 2, 0, 0], abs=1e-5)
    row = found.filter(component=3).row(0, named=True)
    assert row["mean"] == pytest.approx(others[:, 2].mean(), abs=1e-6)
    assert (row["low"], row["high"]) == pytest.approx(
        tuple(np.quantile(others[:, 2], [0.05, 0.95])), abs=1e-6
    )


def test_it_is_the_principal_component_of_the_training_states() -> None:
    rng = np.random.default_rng(1)
    train = rng.normal(size=(400, 6)).astype(np.float32)
    train[:, 1] = train[:, 0] + 0.05 * rng.normal(size=400)
    space = fit_space(train, seed=0)
    assert space is not None
    state = train.mean(axis=0)
    state[:2] += 6 * train[:, :2].std(axis=0)
    found = component_departures(space, state, train[:100])
    assert found["component"][0] == 1, "the two that go together are the first component"
    assert abs(found["z"][0]) > 5


def test_inliers_that_do_not_differ_give_no_z() -> None:
    others = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    others[:, 1] = 2
    found = component_departures(unit_space(3), np.array([9, 9, 0], dtype=np.float32), others)
    assert found["z"].is_null().to_list() == [False, False, True]
    assert found["component"].to_list()[-1] == 2
    assert component_departures(unit_space(3), np.zeros(3), others[:9]).is_empty()


def stays(*windows: list[str]) -> Ragged:
    ids = [[VOCABULARY[token] for token in window] for window in windows]
    return Ragged.from_lengths(
        np.array([i for own in ids for i in own], dtype=np.int32), np.array([len(own) for own in ids])
    )


def test_counts_are_compared_with_those_of_the_inliers() -> None:
    usual = ["TL_START", "Q0", "lab/lactate", "Q1", "vital/map", "Q0"]
    others = stays(*[usual + ["vital/map", "Q1"] * (i % 3) for i in range(30)])
    own = stays(usual + ["medication/norepinephrine"] * 6 + ["lab/lactate=Q1"])[0]
    found = category_departures(own, others, VOCABULARY)
    assert found.select("family", "name").rows()[0] == ("medication", "norepinephrine")
    assert set(found["name"]) == {"norepinephrine", "lactate", "map"}, "nobody has location/icu"
    rows = {row["name"]: row for row in found.iter_rows(named=True)}
    assert rows["lactate"]["count"] == 2, "a fused token counts with its category"
    assert (rows["lactate"]["mean"], rows["lactate"]["share_with"]) == (1, 1)
    assert (rows["map"]["count"], rows["map"]["mean"], rows["map"]["median"]) == (1, 2, 2)
    assert (rows["map"]["low"], rows["map"]["high"]) == (1, 3)
    a = lambda x: 2 * np.sqrt(np.asarray(x) + 3 / 8)  # noqa: E731
    assert rows["norepinephrine"]["effect"] == pytest.approx(a(6) - a(0))
    assert rows["norepinephrine"]["share_with"] == 0
    even = a([1, 2, 3] * 10)
    assert rows["map"]["effect"] == pytest.approx((a(1) - even.mean()) / max(1, even.std(ddof=1)))


def test_an_overdispersed_category_is_measured_by_its_own_spread() -> None:
    others = stays(*[["vital/map"] * (0 if i % 2 else 60) for i in range(40)])
    own = stays(["vital/map"] * 90)[0]
    (row,) = category_departures(own, others, VOCABULARY).to_dicts()
    even = 2 * np.sqrt(np.array([60, 0] * 20) + 0.375)
    assert even.std(ddof=1) > 5
    assert row["effect"] == pytest.approx((2 * np.sqrt(90.375) - even.mean()) / even.std(ddof=1))


def test_a_stay_like_the_others_departs_in_nothing() -> None:
    window = ["TL_START", "lab/lactate", "Q0", "vital/map"]
    found = category_departures(stays(window)[0], stays(*[window] * 20), VOCABULARY)
    assert found["effect"].abs().max() == pytest.approx(0)


def test_what_is_missing_here_departs_as_well() -> None:
    others = stays(*[["location/icu"] * 9] * 20)
    (row,) = category_departures(np.zeros(0, dtype=np.int32), others, VOCABULARY).to_dicts()
    assert (row["name"], row["count"]) == ("icu", 0)
    assert row["effect"] < -4


def test_too_few_inliers_or_none_give_no_rows() -> None:
    for n in (0, 9):
        assert category_departures(
            stays(["vital/map"])[0], stays(*[["vital/map"]] * n), VOCABULARY
        ).is_empty()
