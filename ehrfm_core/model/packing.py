"""Packs: whole stays side by side in one sequence, without padding between them.

Symbols: N tokens in a pack, S stays in it. Which stays share a pack is drawn anew in every epoch from the
seed alone, so that a position (epoch, pack) is all that an exact resumption needs of the data.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from ehrfm_core.ragged import Ragged

NOT_SCORED = -100  # the target that torch's cross-entropy leaves out
PAD_UNIT = 256  # packs come in few lengths: for each new one, kernels of matrix products are made anew
POOL = 256  # stays among which the one is sought that fills a pack best


@dataclass(frozen=True)
class Pieces:
    """Timelines cut into pieces of at most the model's length, as views into the flat tokens.

    Piece i is `values[starts[i] : starts[i] + lengths[i]]`; `values` may be a memory-mapped array. Pieces of
    one token are left out, since nothing in them is predicted.

    >>> pieces = Pieces.of(Ragged.from_lengths(np.arange(8), np.array([5, 2, 1])), max_tokens=3)
    >>> [pieces[i].tolist() for i in range(len(pieces))]
    [[0, 1, 2], [3, 4], [5, 6]]
    """

    values: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray

    @classmethod
    def of(cls, timelines: Ragged, *, max_tokens: int) -> Pieces:
        """Cut every timeline; a piece never spans two."""
        counts = -(-timelines.lengths // max_tokens)
        place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        starts = np.repeat(timelines.offsets[:-1], counts) + place * max_tokens
        ends = np.minimum(starts + max_tokens, np.repeat(timelines.offsets[1:], counts))
        long_enough = ends - starts > 1
        return cls(timelines.values, starts[long_enough], (ends - starts)[long_enough])

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.values[self.starts[index] : self.starts[index] + self.lengths[index]]

    def take(self, indices: np.ndarray) -> Pieces:
        """The pieces at `indices`, in that order."""
        return Pieces(self.values, self.starts[indices], self.lengths[indices])

    @property
    def n_tokens(self) -> int:
        """Tokens of all pieces together."""
        return int(self.lengths.sum())


@dataclass(frozen=True)
class Pack:
    """One sequence of N tokens of S stays.

    `tokens` (N), `positions` (N, from 0 in every stay), `targets` (N: the stay's next token, NOT_SCORED at
    its last one and in padding), `bounds` (S + 1: where stays begin, the last entry is N).
    """

    tokens: np.ndarray
    positions: np.ndarray
    targets: np.ndarray
    bounds: np.ndarray

    @property
    def n_scored(self) -> int:
        """How many tokens are predicted."""
        return int((self.targets != NOT_SCORED).sum())


def epoch_of_packs(
    lengths: np.ndarray, *, pack_tokens: int, generator: np.random.Generator
) -> list[np.ndarray]:
    """Which pieces share a pack: every index once, in random order, at most `pack_tokens` a pack.

    Stays come in random order while they fit; then the gap is filled with the longest that fits among the
    next POOL. On real timelines packs are more than 99 % full, but for the last of an epoch.

    >>> packs = epoch_of_packs(np.array([5, 4, 3, 3]), pack_tokens=8, generator=np.random.default_rng(0))
    >>> sorted(int(np.array([5, 4, 3, 3])[pack].sum()) for pack in packs)
    [7, 8]
    """
    assert lengths.max(initial=0) <= pack_tokens, "pieces are no longer than a pack"
    return list(_fill(lengths.tolist(), generator.permutation(len(lengths)).tolist(), pack_tokens))


def _fill(lengths: list[int], order: list[int], room: int) -> Iterator[np.ndarray]:
    later = iter(order)
    queue = deque(islice(later, POOL))  # in the order drawn; what has been taken is skipped
    pool = sorted((lengths[i], i) for i in queue)
    taken: set[int] = set()
    while pool:
        pack: list[int] = []
        left = room
        while pool:
            while queue[0] in taken:
                taken.remove(queue.popleft())
            chosen = queue[0]
            if lengths[chosen] > left:
                place = bisect_right(pool, (left, len(lengths))) - 1
                if place < 0:
                    break
                chosen = pool[place][1]
            pool.pop(bisect_right(pool, (lengths[chosen], chosen)) - 1)
            taken.add(chosen)
            pack.append(chosen)
            left -= lengths[chosen]
            if (following := next(later, None)) is not None:
                queue.append(following)
                insort(pool, (lengths[following], following))
        yield np.array(pack)


def make_pack(pieces: Pieces, indices: np.ndarray, *, pad: int, pad_to: int | None = None) -> Pack:
    """The pieces at `indices` as one pack; with `pad_to`, filled up to that many tokens.

    Padding stands in "stays" of its own at the end, none longer than the longest piece allowed: nothing real
    attends to it and it is never scored.
    """
    lengths = pieces.lengths[indices]
    real = int(lengths.sum())
    gap = max(0, (pad_to or real) - real)
    longest = int(pieces.lengths.max())
    fillers = [longest] * (gap // longest) + ([gap % longest] if gap % longest else [])
    bounds = np.concatenate([[0], np.cumsum([*lengths.tolist(), *fillers])]).astype(np.int32)
    tokens = np.full(real + gap, pad, dtype=np.int64)
    np.concatenate([pieces[i] for i in indices], out=tokens[:real], casting="unsafe")
    positions = np.arange(len(tokens)) - np.repeat(bounds[:-1], np.diff(bounds))
    targets = np.full(len(tokens), NOT_SCORED, dtype=np.int64)
    targets[: real - 1] = tokens[1:real]
    targets[bounds[1:] - 1] = NOT_SCORED
    return Pack(tokens, positions, targets, bounds)
