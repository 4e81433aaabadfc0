"""Batches of stays of like length, padded on the right.

Shapes: B stays in a batch, T tokens in the longest of them. With causal attention nothing looks to its
right, so a real token never attends to padding, and no stay ever sees another.
"""

from __future__ import annotations

import numpy as np

from ehrfm_core.ragged import Ragged


def groups_by_length(lengths: np.ndarray, *, batch_tokens: int) -> list[np.ndarray]:
    """Group indices so that each group, padded to its longest, holds at most `batch_tokens`.

    Longest first; ties in the order given. Every index appears once; a list longer than `batch_tokens`
    is a group of its own.

    >>> [group.tolist() for group in groups_by_length(np.array([3, 9, 4]), batch_tokens=10)]
    [[1], [2, 0]]
    """
    order = np.argsort(-lengths, kind="stable")
    groups: list[np.ndarray] = []
    begin = 0
    while begin < len(order):
        size = max(1, int(batch_tokens // max(1, lengths[order[begin]])))
        groups.append(order[begin : begin + size])
        begin += size
    return groups


def pad_right(lists: Ragged, indices: np.ndarray, *, fill: int) -> np.ndarray:
    """The lists at `indices` as one array (B × T), filled up on the right."""
    chosen = lists.take(indices)
    batch = np.full((len(indices), int(chosen.lengths.max(initial=1))), fill, dtype=np.int64)
    batch[chosen.rows, chosen.positions] = chosen.values
    return batch
