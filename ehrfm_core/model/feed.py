"""Which packs a step gets: a position in a sequence that the seed alone determines."""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from ehrfm_core.model.packing import Pieces, epoch_of_packs
from ehrfm_core.model.parallel import Group

T = TypeVar("T")


class Feed:
    """Packs of pieces, epoch after epoch, from a position (epoch, pack within it)."""

    def __init__(
        self,
        pieces: Pieces,
        *,
        pack_tokens: int,
        packs_per_step: int,
        seed: int,
        epoch: int = 0,
        pack: int = 0,
    ) -> None:
        self.pieces = pieces
        self.epoch, self.pack = epoch, pack
        self._pack_tokens, self._packs_per_step, self._seed = pack_tokens, packs_per_step, seed
        self._packs: list[np.ndarray] = []

    def next_step(self) -> list[np.ndarray]:
        """Indices of the pieces of each pack of the next step."""
        chosen: list[np.ndarray] = []
        while len(chosen) < self._packs_per_step:
            if not self._packs:
                generator = np.random.default_rng([self._seed, self.epoch])
                self._packs = epoch_of_packs(
                    self.pieces.lengths, pack_tokens=self._pack_tokens, generator=generator
                )
            chosen.append(self._packs[self.pack])
            self.pack += 1
            if self.pack == len(self._packs):
                self.epoch, self.pack, self._packs = self.epoch + 1, 0, []
        return chosen


def in_order(pieces: Pieces, *, pack_tokens: int) -> list[np.ndarray]:
    """Packs of pieces always put together in the same way, for evaluation."""
    return epoch_of_packs(pieces.lengths, pack_tokens=pack_tokens, generator=np.random.default_rng(0))


def some(pieces: Pieces, *, at_most: int, seed: int) -> Pieces:
    """A random part of the pieces, of at most so many tokens (but at least one piece)."""
    if pieces.n_tokens <= at_most:
        return pieces
    order = np.random.default_rng(seed).permutation(len(pieces))
    fits = np.cumsum(pieces.lengths[order]) <= at_most
    return pieces.take(np.sort(order[: max(1, int(fits.sum()))]))


def share(items: list[T], group: Group) -> list[tuple[T, float]]:
    """The items of one process with their weights; all processes get as many.

    Where they do not come out even, an item is done again with weight 0: processes must do the same number of
    passes to meet in the sum.

    >>> share(["a", "b", "c"], Group(1, 2))
    [('b', 1.0), ('a', 0.0)]
    """
    rounds = -(-len(items) // group.world)
    places = [step * group.world + group.rank for step in range(rounds)]
    return [(items[i], 1.0) if i < len(items) else (items[0], 0.0) for i in places]
