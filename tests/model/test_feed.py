from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ehrfm_core.model.feed import Feed, in_order, share, some
from ehrfm_core.model.packing import Pieces
from ehrfm_core.model.parallel import Group
from tests.model.made import timelines

PIECES = Pieces.of(timelines(40, 0), max_tokens=32)
Step = list[list[int]]


def feed(*, seed: int = 0, epoch: int = 0, pack: int = 0, packs_per_step: int = 3) -> Feed:
    return Feed(PIECES, pack_tokens=64, packs_per_step=packs_per_step, seed=seed, epoch=epoch, pack=pack)


def steps(of: Feed, n: int) -> list[Step]:
    return [[pack.tolist() for pack in of.next_step()] for _ in range(n)]


@given(st.integers(0, 30), st.integers(1, 30), st.integers(0, 5))
def test_a_feed_put_back_at_a_position_goes_on_as_if_nothing_had_been(
    before: int, after: int, seed: int
) -> None:
    first = feed(seed=seed)
    steps(first, before)
    second = feed(seed=seed, epoch=first.epoch, pack=first.pack)
    assert steps(first, after) == steps(second, after)


def test_every_epoch_has_every_piece_once_and_in_another_order() -> None:
    one_by_one = feed(packs_per_step=1)
    epochs: list[list[int]] = [[], [], []]
    while one_by_one.epoch < len(epochs):
        epochs[one_by_one.epoch] += one_by_one.next_step()[0].tolist()
    assert all(sorted(epoch) == list(range(len(PIECES))) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_the_seed_alone_says_what_comes() -> None:
    assert steps(feed(seed=1), 20) == steps(feed(seed=1), 20)
    assert steps(feed(seed=1), 20) != steps(feed(seed=2), 20)


def test_steps_are_full_across_the_end_of_an_epoch() -> None:
    of = feed()
    assert {len(step) for step in steps(of, 50)} == {3}
    assert of.epoch > 3


def test_evaluation_always_sees_the_same_packs() -> None:
    first, second = (in_order(PIECES, pack_tokens=64) for _ in range(2))
    assert [pack.tolist() for pack in first] == [pack.tolist() for pack in second]
    assert sorted(np.concatenate(first).tolist()) == list(range(len(PIECES)))


@given(st.integers(1, 2_000), st.integers(0, 9))
def test_a_part_of_the_pieces_keeps_to_its_limit(at_most: int, seed: int) -> None:
    part = some(PIECES, at_most=at_most, seed=seed)
    again = some(PIECES, at_most=at_most, seed=seed)
    assert np.array_equal(part.starts, again.starts)
    assert set(part.starts) <= set(PIECES.starts)
    assert len(set(part.starts)) == len(part) >= 1
    assert part.n_tokens <= at_most or len(part) == 1
    if at_most >= PIECES.n_tokens:
        assert part is PIECES
    else:  # no room for a further piece of the longest kind
        assert part.n_tokens > at_most - PIECES.lengths.max()


def test_another_seed_looks_at_other_pieces() -> None:
    first, second = (some(PIECES, at_most=200, seed=seed) for seed in (0, 1))
    assert set(first.starts) != set(second.starts)


@given(st.integers(1, 20), st.integers(1, 6))
def test_every_process_makes_as_many_passes_and_each_item_counts_once(n: int, world: int) -> None:
    shares = [share(list(range(n)), Group(rank, world)) for rank in range(world)]
    assert len({len(part) for part in shares}) == 1
    weighed = [item for part in shares for item in part]
    assert sorted(item for item, weight in weighed if weight == 1.0) == list(range(n))
    assert {weight for _, weight in weighed} <= {0.0, 1.0}
    assert len(weighed) < n + world
