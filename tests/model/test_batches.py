from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ehrfm_core.model.batches import groups_by_length, pad_right
from ehrfm_core.ragged import Ragged

lengths = st.lists(st.integers(1, 40), min_size=1, max_size=30).map(np.array)


@given(lengths, st.integers(1, 100))
def test_every_list_is_in_one_group_and_groups_keep_to_the_limit(sizes: np.ndarray, limit: int) -> None:
    groups = groups_by_length(sizes, batch_tokens=limit)
    assert sorted(np.concatenate(groups).tolist()) == list(range(len(sizes)))
    assert all(len(group) == 1 or len(group) * sizes[group].max() <= limit for group in groups)


def test_padding_is_on_the_right() -> None:
    lists = Ragged.from_lengths(np.array([1, 2, 3, 4]), np.array([1, 3]))
    assert pad_right(lists, np.array([1, 0]), fill=0).tolist() == [[2, 3, 4], [1, 0, 0]]
