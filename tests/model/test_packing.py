from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehrfm_core.model import packing
from ehrfm_core.model.packing import NOT_SCORED, Pieces, epoch_of_packs, make_pack
from ehrfm_core.ragged import Ragged

SITES = Path(__file__).parents[2] / "data_samples" / "studies" / "demo-two-hospitals" / "sites"
PAD = 0

lengths = st.lists(st.integers(1, 40), min_size=1, max_size=30).map(np.array)
long_lists = st.lists(st.integers(2, 40), min_size=1, max_size=600).map(np.array)


@given(lengths, st.integers(2, 9))
def test_pieces_lose_no_token_but_a_last_lonely_one(sizes: np.ndarray, limit: int) -> None:
    timelines = Ragged.from_lengths(np.arange(sizes.sum()), sizes)
    pieces = Pieces.of(timelines, max_tokens=limit)
    lonely = [timelines[i][-1] for i in range(len(sizes)) if sizes[i] % limit == 1]
    inside = [value for i in range(len(pieces)) for value in pieces[i].tolist()]
    assert sorted([*inside, *lonely]) == list(range(sizes.sum()))
    assert pieces.n_tokens == len(inside)
    assert ((pieces.lengths > 1) & (pieces.lengths <= limit)).all()


@given(lengths, st.integers(2, 9))
def test_no_piece_spans_two_timelines(sizes: np.ndarray, limit: int) -> None:
    timelines = Ragged.from_lengths(np.arange(sizes.sum()), sizes)
    pieces = Pieces.of(timelines, max_tokens=limit)
    for i in range(len(pieces)):
        assert (np.diff(pieces[i]) == 1).all()
        assert len(set(timelines.rows[pieces[i]])) == 1


@given(long_lists, st.integers(0, 60), st.integers(0, 9))
def test_every_piece_is_in_one_pack_and_packs_keep_to_the_limit(
    sizes: np.ndarray, more: int, seed: int
) -> None:
    limit = int(sizes.max()) + more
    packs = epoch_of_packs(sizes, pack_tokens=limit, generator=np.random.default_rng(seed))
    assert sorted(np.concatenate(packs).tolist()) == list(range(len(sizes)))
    assert all(0 < sizes[pack].sum() <= limit for pack in packs)
    for earlier, later in pairwise(packs):  # a pack is closed because nothing fits
        assert len(sizes) > packing.POOL or sizes[earlier].sum() + sizes[later].min() > limit


def test_an_epoch_follows_from_the_seed() -> None:
    sizes = np.random.default_rng(1).integers(2, 100, 700)

    def epoch(*seed: int) -> list[list[int]]:
        generator = np.random.default_rng(seed)
        return [pack.tolist() for pack in epoch_of_packs(sizes, pack_tokens=256, generator=generator)]

    assert epoch(3, 0) == epoch(3, 0)
    assert epoch(3, 0) != epoch(3, 1)
    assert {frozenset(pack) for pack in epoch(3, 0)}.isdisjoint({frozenset(pack) for pack in epoch(3, 1)})


def test_what_shares_a_pack_is_not_sorted_by_length() -> None:
    sizes = np.random.default_rng(1).integers(2, 100, 2_000)
    packs = epoch_of_packs(sizes, pack_tokens=1_024, generator=np.random.default_rng(0))
    means = np.array([sizes[pack].mean() for pack in packs[:-5]])
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.4
    assert abs(means[: len(means) // 2].mean() - sizes.mean()) < 5


@pytest.mark.parametrize(
    ("max_tokens", "pack_tokens"), [(1024, 2048), (1024, 4096), (1024, 32768), (512, 2048)]
)
@pytest.mark.parametrize("site", ["mimic", "ucmc"])
def test_packs_of_real_timelines_are_full(site: str, max_tokens: int, pack_tokens: int) -> None:
    tokens = pl.read_parquet(SITES / site / "timelines.parquet")["tokens"]
    timelines = Ragged.from_lengths(tokens.explode().to_numpy(), tokens.list.len().to_numpy())
    pieces = Pieces.of(timelines, max_tokens=max_tokens)
    packs = epoch_of_packs(pieces.lengths, pack_tokens=pack_tokens, generator=np.random.default_rng(0))
    fill = np.array([pieces.lengths[pack].sum() for pack in packs[:-1]]) / pack_tokens
    assert fill.mean() >= 0.99


def test_tokens_may_stay_on_the_disk(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(5, 60_000, 500).astype(np.uint16)
    np.save(tmp_path / "tokens.npy", values)
    sizes = np.full(25, 20)
    held = Pieces.of(Ragged.from_lengths(values.astype(np.int64), sizes), max_tokens=8)
    mapped = Pieces.of(
        Ragged.from_lengths(np.load(tmp_path / "tokens.npy", mmap_mode="r"), sizes), max_tokens=8
    )
    assert isinstance(mapped.values, np.memmap)
    chosen = np.array([7, 0, 74])
    one, other = (make_pack(pieces, chosen, pad=PAD, pad_to=40) for pieces in (held, mapped))
    assert other.tokens.dtype == np.int64
    for name in ("tokens", "positions", "targets", "bounds"):
        assert np.array_equal(getattr(one, name), getattr(other, name))


@given(lengths, st.data())
def test_a_pack_is_its_stays_side_by_side(sizes: np.ndarray, data: st.DataObject) -> None:
    pieces = Pieces.of(Ragged.from_lengths(np.arange(5, 5 + sizes.sum() * 2), sizes * 2), max_tokens=30)
    chosen = data.draw(st.permutations(range(len(pieces))).map(lambda order: order[:5]))
    real = int(pieces.lengths[chosen].sum())
    more = data.draw(st.integers(0, 100))
    pack = make_pack(pieces, np.array(chosen), pad=PAD, pad_to=real + more)
    assert len(pack.tokens) == len(pack.positions) == len(pack.targets) == pack.bounds[-1] == real + more
    assert pack.n_scored == real - len(chosen)
    for place, (begin, end) in enumerate(pairwise(pack.bounds)):
        assert pack.positions[begin:end].tolist() == list(range(end - begin))
        assert pack.targets[end - 1] == NOT_SCORED
        if place < len(chosen):
            assert pack.tokens[begin:end].tolist() == pieces[chosen[place]].tolist()
            assert pack.targets[begin : end - 1].tolist() == pack.tokens[begin + 1 : end].tolist()
        else:
            assert (pack.tokens[begin:end] == PAD).all()
            assert (pack.targets[begin:end] == NOT_SCORED).all()
            assert end - begin <= pieces.lengths.max()
    assert pack.bounds[len(chosen)] == real


def test_without_a_length_to_fill_there_is_no_padding() -> None:
    pieces = Pieces.of(Ragged.from_lengths(np.arange(9), np.array([4, 5])), max_tokens=5)
    assert make_pack(pieces, np.array([1, 0]), pad=PAD).tokens.tolist() == [4, 5, 6, 7, 8, 0, 1, 2, 3]
