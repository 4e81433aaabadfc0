from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehrfm_core.model import entropy
from ehrfm_core.model.entropy import simple_losses
from ehrfm_core.model.packing import Pieces
from ehrfm_core.ragged import Ragged
from tests.model.made import pieces_of

SIZE = 5
lists = st.lists(st.lists(st.integers(0, SIZE - 1), min_size=2, max_size=6), min_size=1, max_size=6)


def by_hand(train: list[list[int]], held_out: list[list[int]], mix: float) -> tuple[float, float]:
    after = Counter(token for stay in train for token in stay[1:])
    pairs = Counter(pair for stay in train for pair in pairwise(stay))
    before = Counter(token for stay in train for token in stay[:-1])
    n = sum(after.values())
    alone = paired = count = 0.0
    for stay in held_out:
        for first, second in pairwise(stay):
            p = (after[second] + 1) / (n + SIZE)
            follows = pairs[first, second] / before[first] if before[first] else 0.0
            alone -= math.log(p)
            paired -= math.log(mix * follows + (1 - mix) * p)
            count += 1
    return alone / count, paired / count


@given(lists, lists, st.sampled_from([0.5, 0.9]))
def test_losses_are_those_counted_by_hand(
    train: list[list[int]], held_out: list[list[int]], mix: float
) -> None:
    found = simple_losses(pieces_of(train), pieces_of(held_out), vocabulary_size=SIZE, mix=mix)
    assert found == pytest.approx(by_hand(train, held_out, mix))


@given(lists, lists, st.integers(1, 4))
def test_they_do_not_hang_on_how_many_pieces_are_held(
    train: list[list[int]], held_out: list[list[int]], at_a_time: int
) -> None:
    whole = simple_losses(pieces_of(train), pieces_of(held_out), vocabulary_size=SIZE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(entropy, "PIECES_AT_A_TIME", at_a_time)
        parts = simple_losses(pieces_of(train), pieces_of(held_out), vocabulary_size=SIZE)
    assert parts == pytest.approx(whole)


def test_small_integers_from_the_disk_do_not_overflow() -> None:
    values = np.random.default_rng(0).integers(0, 700, 3_000)
    sizes = np.full(300, 10)
    wide, narrow = (
        Pieces.of(Ragged.from_lengths(values.astype(dtype), sizes), max_tokens=10)
        for dtype in (np.int64, np.uint16)
    )
    assert simple_losses(narrow, narrow, vocabulary_size=700) == simple_losses(
        wide, wide, vocabulary_size=700
    )
