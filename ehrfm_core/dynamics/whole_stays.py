"""Stays from start to end, as the pass over what comes after the window takes them; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ehrfm_core.ragged import Ragged


@dataclass(frozen=True, eq=False)
class WholeStays:
    """Where each of n stays stands among `tokens` in a row, and what the model may see of them.

    `origin` (n): its first token; `floor` (n): the first token in its sight, before `origin` where earlier
    stays are read; `minutes` (n lists): of its tokens, since its start, discharge left out; `n_window` (n):
    how many of these lie within the first `hours`.
    """

    tokens: np.ndarray
    origin: np.ndarray
    floor: np.ndarray
    minutes: Ragged
    n_window: np.ndarray
    hours: int

    def __len__(self) -> int:
        return len(self.origin)

    @property
    def rest(self) -> np.ndarray:
        """How many tokens of each stay come after the window (n)."""
        return self.minutes.lengths - self.n_window

    def part(self, stays: slice) -> WholeStays:
        """Some of the stays, the tokens shared."""
        minutes = self.minutes.take(np.arange(len(self))[stays])
        cut = (self.origin[stays], self.floor[stays], minutes, self.n_window[stays])
        return WholeStays(self.tokens, *cut, self.hours)
