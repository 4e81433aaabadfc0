from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ehrfm_core.ragged import Ragged

lists = st.lists(st.lists(st.integers(0, 99), max_size=6), min_size=1, max_size=8)


def ragged(values: list[list[int]]) -> Ragged:
    flat = np.array([value for part in values for value in part], dtype=np.int64)
    return Ragged.from_lengths(flat, np.array([len(part) for part in values]))


@given(lists, st.data())
def test_take_and_keep_do_what_lists_do(values: list[list[int]], data: st.DataObject) -> None:
    whole = ragged(values)
    indices = data.draw(st.lists(st.integers(0, len(values) - 1), max_size=8))
    taken = whole.take(np.array(indices, dtype=np.int64))
    assert [taken[i].tolist() for i in range(len(taken))] == [values[i] for i in indices]
    kept = whole.keep(whole.values % 2 == 0)
    assert [kept[i].tolist() for i in range(len(kept))] == [
        [v for v in part if v % 2 == 0] for part in values
    ]
    assert whole.positions.tolist() == [i for part in values for i in range(len(part))]
