"""No hidden count can be narrowed down, by all who may see what is told and know the rule's 1 to 10."""

from __future__ import annotations

from itertools import product

import numpy as np
import polars as pl
from hypothesis import assume, given
from hypothesis import strategies as st

from ehrfm_core import small_cells
from ehrfm_core.cohorts.compare import compare_characteristics
from ehrfm_core.small_cells import MIN_CELL, bounds, evened, hidden_levels, joined, small

COUNTS = st.integers(0, 40) | st.integers(0, 3) | st.integers(8, 13)


def values(told: np.ndarray, hidden: np.ndarray, total: int) -> list[set[int]]:
    """Every value that each hidden cell of one group can have, tried out one by one; zeros are told."""
    free = np.flatnonzero(hidden)
    left = total - int(told[~hidden].sum())
    found: list[set[int]] = [set() for _ in free]
    for some in product(range(1, left + 1), repeat=len(free) - 1):
        last = left - sum(some)
        if last >= 1:
            for one, value in zip(found, (*some, last), strict=True):
                one.add(value)
    return found


@given(st.lists(COUNTS, min_size=2, max_size=4))
def test_a_hidden_level_may_be_anything_from_one_to_ten(counts: list[int]) -> None:
    cells = np.array(counts)
    assume(cells.sum() >= MIN_CELL)  # of fewer stays nothing is told at all
    hidden = hidden_levels(cells)
    assert hidden[small(cells)].all()
    if hidden.all():  # zeros too: then each may be none or all
        return
    for possible in values(cells, hidden, int(cells.sum())) if hidden.any() else []:
        assert set(range(1, MIN_CELL)) <= possible


@given(st.lists(st.tuples(COUNTS, COUNTS), min_size=2, max_size=5))
def test_nor_in_two_groups_whose_levels_are_known_together(counts: list[tuple[int, int]]) -> None:
    cells = np.array(counts).T
    assume((cells.sum(axis=1) >= MIN_CELL).all())
    hidden = hidden_levels(cells)
    assert hidden[small(cells).any(axis=0)].all()
    low, high = bounds(cells, hidden)
    inside = hidden & (cells >= low) & (cells <= high)
    assert inside[:, hidden].all(), "what is true must be possible"
    if not hidden.all():
        assert (low[small(cells)] <= 1).all()
        assert (high[small(cells)] >= MIN_CELL - 1).all()


@given(
    st.lists(st.integers(0, 12), min_size=2, max_size=3), st.lists(st.integers(0, 12), min_size=2, max_size=3)
)
def test_the_bounds_are_those_that_trying_everything_gives(a: list[int], b: list[int]) -> None:
    k = min(len(a), len(b))
    cells = np.array([a[:k], b[:k]])
    hidden = np.ones(k, dtype=bool)
    both, left = cells.sum(axis=0), cells.sum(axis=1)
    assume(left.min() > 0)
    known = both >= MIN_CELL
    possible = [
        some
        for some in product(range(int(left[0]) + 1), repeat=k)
        if sum(some) == left[0] and all(x <= t for x, t, told in zip(some, both, known, strict=True) if told)
    ]
    low, high = bounds(cells, hidden)
    assert low[0].tolist() == [min(x[i] for x in possible) for i in range(k)]
    assert high[0].tolist() == [max(x[i] for x in possible) for i in range(k)]


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=12))
def test_joined_bins_hold_every_stay_and_no_small_cell(bins: list[tuple[int, int]]) -> None:
    events, others = (np.array([one[i] for one in bins], dtype=int) for i in (0, 1))
    group = joined(events + others, events)
    if not len(group):
        assert not len(bins) or small(events.sum()) or small(others.sum()) or sum(map(sum, bins)) < MIN_CELL
        return
    assert (np.diff(group) >= 0).all()
    assert (np.diff(group) <= 1).all()
    for part in (events, others):
        assert not small(np.bincount(group, weights=part)).any()


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.booleans()), min_size=40, max_size=160))
def test_what_is_told_of_a_is_not_everyone_less_the_others(stays: list[tuple[str, bool, bool]]) -> None:
    """Cohort A against everyone else, the levels of everyone known where they are told."""
    frame = pl.DataFrame(
        stays, schema={"sex": pl.String, "outlier": pl.Boolean, "in_a": pl.Boolean}, orient="row"
    )
    frame = frame.with_columns(
        site=pl.lit("x"), race=pl.lit("r"), ethnicity=pl.lit("e"), split=pl.lit("train"), age=pl.lit(50.0)
    )
    a, b = frame.filter("in_a"), frame.filter(~pl.col("in_a"))
    assume(min(len(a), len(b)) >= MIN_CELL)
    table = compare_characteristics(a, b)
    for level in "abc":
        found = table.filter(label=f"Sex: {level}")
        if found.is_empty():
            continue
        row = found.row(0, named=True)
        counts = [int((part["sex"] == level).sum()) for part in (a, b)]
        if small(np.array(counts)).any():
            assert all(
                row[name] is None
                for name in ("events_a", "events_b", "rate_a", "rate_b", "effect", "p_value")
            )
    rows = table.filter(pl.col("label").str.starts_with("Sex: "))
    few = [
        level for level in "abc" if small(np.array([(part["sex"] == level).sum() for part in (a, b)])).any()
    ]
    assert not few or rows["events_a"].null_count() >= 2, "one hidden level is all the others' rest"


def test_the_words_hold_to_the_rule() -> None:
    assert small_cells.unsafe(np.array([0, 5, 20, 55, 60]), 60).tolist() == [False, True, False, True, False]


@given(st.lists(COUNTS, min_size=1, max_size=12))
def test_a_histogram_is_drawn_in_steps_of_eleven_stays_and_loses_none(counts: list[int]) -> None:
    even = evened(np.array(counts))
    if 0 < sum(counts) < MIN_CELL:
        assert np.isnan(even).all()
        return
    assert np.isclose(even.sum(), sum(counts))
    edges = np.flatnonzero(np.diff(even)) + 1
    for step in np.split(even, edges):
        assert step.sum() == 0 or step.sum() > MIN_CELL - 1e-9
