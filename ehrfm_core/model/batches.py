"""Batches of stays of like length, padded on the right.

Shapes: B stays in a batch, T tokens in the longest of them. With causal attention nothing looks to its
right, so a real token never attends to padding, and no stay ever sees another.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ehrfm_core.ragged import Ragged


def segments(timelines: Ragged, *, max_tokens: int) -> Ragged:
    """Cut every timeline into pieces of at most `max_tokens`; pieces of one token are left out.

    >>> pieces = segments(Ragged.from_lengths(np.arange(7), np.array([5, 2])), max_tokens=3)
    >>> [pieces[i].tolist() for i in range(len(pieces))]
    [[0, 1, 2], [3, 4], [5, 6]]
    """
    counts = -(-timelines.lengths // max_tokens)
    place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    lengths = np.minimum(np.repeat(timelines.lengths, counts) - place * max_tokens, max_tokens)
    pieces = Ragged.from_lengths(timelines.values, lengths)
    return pieces.take(np.flatnonzero(lengths > 1))


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


def shuffled_epoch(
    lengths: np.ndarray, *, batch_tokens: int, generator: np.random.Generator
) -> Iterator[np.ndarray]:
    """One epoch of groups: neighbours in length vary from epoch to epoch, groups come in random order."""
    jitter = lengths * generator.uniform(0.9, 1.1, len(lengths))
    order = np.argsort(-jitter, kind="stable")
    groups: list[np.ndarray] = []
    begin = 0
    while begin < len(order):
        ahead = lengths[order[begin:]]
        longest = np.maximum.accumulate(ahead)
        fits = longest * np.arange(1, len(ahead) + 1) <= batch_tokens
        size = max(1, int(fits.argmin()) if not fits.all() else len(ahead))
        groups.append(order[begin : begin + size])
        begin += size
    yield from (groups[i] for i in generator.permutation(len(groups)))
