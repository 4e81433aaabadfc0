from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ehrfm_core.model.batches import groups_by_length, pad_right, segments, shuffled_epoch
from ehrfm_core.ragged import Ragged

lengths = st.lists(st.integers(1, 40), min_size=1, max_size=30).map(np.array)


@given(lengths, st.integers(1, 100))
def test_every_list_is_in_one_group_and_groups_keep_to_the_limit(sizes: np.ndarray, limit: int) -> None:
    for groups in (
        groups_by_length(sizes, batch_tokens=limit),
        list(shuffled_epoch(sizes, batch_tokens=limit, generator=np.random.default_rng(0))),
    ):
        assert sorted(np.concatenate(groups).tolist()) == list(range(len(sizes)))
        assert all(len(group) == 1 or len(group) * sizes[group].max() <= limit for group in groups)


@given(lengths, st.integers(2, 9))
def test_pieces_lose_no_token_but_a_last_lonely_one(sizes: np.ndarray, limit: int) -> None:
    timelines = Ragged.from_lengths(np.arange(sizes.sum()), sizes)
    pieces = segments(timelines, max_tokens=limit)
    lonely = [timelines[i][-1] for i in range(len(sizes)) if sizes[i] % limit == 1]
    assert sorted([*pieces.values.tolist(), *lonely]) == list(range(sizes.sum()))
    assert ((pieces.lengths > 1) & (pieces.lengths <= limit)).all()
    for i in range(len(pieces)):
        assert (np.diff(pieces[i]) == 1).all()
        assert len({int(np.searchsorted(timelines.offsets, v, side="right")) for v in pieces[i]}) == 1


def test_padding_is_on_the_right() -> None:
    lists = Ragged.from_lengths(np.array([1, 2, 3, 4]), np.array([1, 3]))
    assert pad_right(lists, np.array([1, 0]), fill=0).tolist() == [[2, 3, 4], [1, 0, 0]]
