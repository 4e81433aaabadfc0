from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from ehrfm_core.ragged import Ragged
from ehrfm_core.tokens.history import ID, Chains, earlier_stays
from ehrfm_core.tokens.vocabulary import SPACING_FAMILY, SPACINGS

EPOCH = datetime(2020, 1, 1)  # noqa: DTZ001
GAPS = {f"{SPACING_FAMILY}/{name}": 900 + i for i, name in enumerate(SPACINGS)}

# patient, start and length in hours
Stays = list[tuple[int, int, int]]
some_stays = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 60), st.integers(0, 30)), max_size=9)


def frame(stays: Stays) -> pl.DataFrame:
    rows = [
        (f"s{i}", f"p{p}", EPOCH + timedelta(hours=a), EPOCH + timedelta(hours=a + n))
        for i, (p, a, n) in enumerate(stays)
    ]
    schema = {ID: pl.String, "patient_id": pl.String, "start": pl.Datetime("us"), "end": pl.Datetime("us")}
    return pl.DataFrame(rows, schema=schema, orient="row")


def chains_of(stays: Stays, vocabulary: dict[str, int]) -> Chains:
    return Chains.of(earlier_stays(frame(stays)), vocabulary)


def timelines(stays: Stays) -> Ragged:
    """Stay i is i0, i1, …: whose token it is can be read off it."""
    lengths = np.array([2 + i % 3 for i in range(len(stays))], dtype=np.int64)
    values = [10 * i + k for i, n in enumerate(lengths) for k in range(n)]
    return Ragged.from_lengths(np.array(values, dtype=np.int64), lengths)


def earlier_by_hand(stays: Stays, i: int) -> int | None:
    patient, start, _ = stays[i]
    ended = [
        (a + n, f"s{j}", j) for j, (p, a, n) in enumerate(stays) if p == patient and a + n <= start and j != i
    ]
    return max(ended)[2] if ended else None


@given(some_stays)
def test_the_earlier_stay_is_the_patient_s_last_that_had_ended(stays: Stays) -> None:
    stays = [(p, a, n + 1) for p, a, n in stays]
    table = earlier_stays(frame(stays))
    assert table[ID].to_list() == [f"s{i}" for i in range(len(stays))]
    for i, (name, gap) in enumerate(table.select("earlier_id", "gap_hours").iter_rows()):
        j = earlier_by_hand(stays, i)
        assert name == (None if j is None else f"s{j}")
        assert gap == (None if j is None else stays[i][1] - stays[j][1] - stays[j][2])


def first_after(stays: Stays, j: int) -> int:
    after = [i for i in range(len(stays)) if earlier_by_hand(stays, i) == j]
    return min(after, key=lambda i: (stays[i][1], f"s{i}"))


@given(some_stays, st.integers(1, 30), st.booleans())
def test_a_context_is_the_tail_of_the_stays_before(stays: Stays, room: int, spaced: bool) -> None:
    stays = [(p, a, n + 1) for p, a, n in stays]
    lists, vocabulary = timelines(stays), GAPS if spaced else {}
    found = chains_of(stays, vocabulary).contexts(lists, room)
    for i in range(len(stays)):
        wanted: list[int] = []
        tail: list[int] = []
        j, at = earlier_by_hand(stays, i), i
        while j is not None:
            hours = stays[at][1] - stays[j][1] - stays[j][2]
            token = [t for t, s in zip(GAPS.values(), SPACINGS.values(), strict=True) if 3600 * hours >= s]
            tail = [*lists[j].tolist(), *(token[-1:] if spaced else [])]
            wanted = tail + wanted
            at, j = j, earlier_by_hand(stays, j)
            if j is not None and at != first_after(stays, j):  # another goes on from it
                break
        assert found[i].tolist() == wanted[-room:]


@given(some_stays)
def test_every_stay_stands_once_in_a_chain_after_its_earlier_one(stays: Stays) -> None:
    stays = [(p, a, n + 1) for p, a, n in stays]
    chains, lists = chains_of(stays, {}), timelines(stays)
    joined = chains.joined(lists)
    assert sorted(chains.order.tolist()) == list(range(len(stays)))
    assert sorted(joined.values.tolist()) == sorted(lists.values.tolist())
    for k in range(1, len(stays)):
        if not chains.begins[k]:
            assert earlier_by_hand(stays, int(chains.order[k])) == chains.order[k - 1]


def test_overlapping_stays_are_no_history_of_each_other() -> None:
    stays = [(0, 0, 10), (0, 5, 20), (0, 12, 5), (0, 30, 5)]
    assert earlier_stays(frame(stays))["earlier_id"].to_list() == [None, None, "s0", "s1"]


def test_one_stay_and_none() -> None:
    one = chains_of([(0, 0, 1)], {})
    assert one.contexts(timelines([(0, 0, 1)]), 5).lengths.tolist() == [0]
    none = chains_of([], {})
    assert len(none.contexts(timelines([]), 5)) == 0
