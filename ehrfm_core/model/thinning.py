"""Windows without some of their events: another choice in every epoch, against learning them by heart.

Needs numpy alone. Symbols: V the size of the vocabulary, n windows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ehrfm_core.ragged import Ragged
from ehrfm_core.tokens import vocabulary as names

LASTING = (names.PAD, names.TRUNC, names.START, names.END)


@dataclass(frozen=True, eq=False)
class Roles:
    """For each token id (V) whether it goes with the token before it, and whether it always stays."""

    attached: np.ndarray
    lasting: np.ndarray

    @classmethod
    def of(cls, vocabulary: Mapping[str, int]) -> Roles:
        """Bins and answers are attached to their category; times between events and special tokens stay."""
        attached, lasting = (np.zeros(max(vocabulary.values()) + 1, dtype=bool) for _ in range(2))
        for token, i in vocabulary.items():
            attached[i] = names.is_bin(token) or names.family(token) == names.ANSWER_FAMILY
            lasting[i] = token in LASTING or names.family(token) == names.SPACING_FAMILY
        return cls(attached, lasting)


def thinned(
    windows: Ragged, roles: Roles, share: float, *, prefix: int, generator: np.random.Generator
) -> Ragged:
    """The n windows, each without a share of its events that is drawn between none and `share`.

    An event goes with its value or stays with it; the first `prefix` tokens stay.
    """
    ids, before = windows.values, windows.positions < prefix
    attached = roles.attached[ids] & ~before
    attached[windows.offsets[:-1][windows.lengths > 0]] = False  # a window's first token begins an event
    event = np.cumsum(~attached) - 1
    rate = generator.uniform(0, share, len(windows))[windows.rows]
    left_out = generator.random(len(ids))[event] < rate
    keep = before | roles.lasting[ids] | ~left_out
    return windows.keep(keep)
