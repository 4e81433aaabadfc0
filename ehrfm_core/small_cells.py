"""Counts of 1 to 10 stays are not told, nor what they follow from by subtraction.

One rule for every table, figure, export and sentence, of synthetic studies as of others. A count is told
where it is none or at least `MIN_CELL`, and so is what it leaves of its total. In a table whose totals are
known further cells are hidden, the smallest first, until each hidden one may be anything from 1 to 10, as
far as the totals allow (complementary suppression; Willenborg & de Waal, Elements of Statistical Disclosure
Control, 2001). What remains open: two rules for a cohort that differ by a few stays, each told its size.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

MIN_CELL = 11


def small(count: np.ndarray | int) -> np.ndarray:
    """Which counts are from 1 to 10.

    >>> small(np.array([0, 1, 10, 11])).tolist()
    [False, True, True, False]
    """
    count = np.asarray(count)
    return np.asarray((count > 0) & (count < MIN_CELL))


def unsafe(part: np.ndarray | int, whole: np.ndarray | int) -> np.ndarray:
    """Which parts of a known whole are not told: small ones, and those that leave a small one.

    >>> unsafe(np.array([0, 2, 20, 95, 100]), 100).tolist()
    [False, True, False, True, False]
    """
    return np.asarray(small(part) | small(np.asarray(whole) - np.asarray(part)))


def hidden_levels(cells: np.ndarray) -> np.ndarray:
    """Which levels (k) of a characteristic are not told, in no group.

    `cells` (g × k) are stays of one or two groups by level, every stay in one level, the size of each group
    known; of two groups the levels of both together count as known where they are no small cells.

    >>> hidden_levels(np.array([[50, 30, 2]])).tolist()  # 2 would be the total less the others
    [False, True, True]
    >>> hidden_levels(np.array([[50, 30, 0], [40, 20, 0]])).tolist()
    [False, False, False]
    """
    cells = np.atleast_2d(np.asarray(cells, dtype=np.int64))
    hidden = np.asarray(small(cells).any(axis=0))
    total = cells.sum(axis=0)
    for level in np.argsort(total, kind="stable"):
        if _open(cells, hidden):
            return hidden
        if not hidden[level] and total[level]:
            hidden[level] = True
    if not _open(cells, hidden):
        hidden[:] = True
    return hidden


def _open(cells: np.ndarray, hidden: np.ndarray) -> bool:
    """Whether every small cell among the hidden levels may be anything from 1 to 10."""
    if not hidden.any():
        return True
    return all(
        low[cell] <= 1 and high[cell] >= MIN_CELL - 1
        for row, low, high in zip(cells, *bounds(cells, hidden), strict=True)
        for cell in np.flatnonzero(hidden & small(row))
    )


def bounds(cells: np.ndarray, hidden: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest value (g × k each) of the hidden cells, given all that is told.

    A hidden level is not empty in all groups, since zeros are told: with one group each of its cells is at
    least 1.
    """
    groups, k = cells.shape
    left = (cells * hidden).sum(axis=1, keepdims=True)
    least = int(groups == 1)
    both = cells.sum(axis=0)
    most = np.where(both < MIN_CELL, left, np.minimum(both, left)) if groups > 1 else left + np.zeros(k, int)
    most = np.where(hidden, most, 0)
    others_most = most.sum(axis=1, keepdims=True) - most
    others_least = least * (hidden.sum() - 1)
    return np.maximum(least, left - others_most), np.minimum(most, left - others_least)


def levels(frame: pl.DataFrame, column: str, names: Sequence[object]) -> tuple[np.ndarray, np.ndarray]:
    """Stays of each level `names` and, last, of those where it is not known; and which of these are hidden.

    `frame` has `split`: the test split is told elsewhere, so that what it leaves is held to the rule too.
    """
    value, test = frame[column], frame["split"] == "test"
    flags = [(value == level).fill_null(value=False) for level in names] + [value.is_null()]
    counts = np.array([int(flag.sum()) for flag in flags])
    others = np.array([int((flag & ~test).sum()) for flag in flags])
    return counts, hidden_levels(counts) | hidden_levels(others)


def evened(counts: np.ndarray) -> np.ndarray:
    """A histogram (k) as it may be drawn: neighbouring bins are made alike until they hold 11 stays together.

    Bins that are empty and need not be joined stay so. Not a number everywhere where there are fewer stays.

    >>> evened(np.array([0, 2, 4, 6, 30, 3, 0])).tolist()
    [0.0, 4.0, 4.0, 4.0, 16.5, 16.5, 0.0]
    """
    counts = np.asarray(counts, dtype=np.float64)
    if counts.sum() < MIN_CELL:
        return np.full(len(counts), np.nan) if counts.any() else counts
    groups: list[tuple[int, int]] = []
    start: int | None = None
    for bin_, count in enumerate(counts):
        start = bin_ if start is None and count else start
        if start is not None and counts[start : bin_ + 1].sum() >= MIN_CELL:
            groups.append((start, bin_ + 1))
            start = None
    if start is not None:  # what is left over goes to the last group
        last = int(np.flatnonzero(counts)[-1])
        groups[-1] = (groups[-1][0], last + 1)
    even = np.zeros(len(counts))
    for begin, end in groups:
        even[begin:end] = counts[begin:end].mean()
    return even


def joined(n: np.ndarray, n_events: np.ndarray) -> np.ndarray:
    """Number (from 0) of the group of each of k neighbouring bins, so that every group may be told.

    As few neighbours as need be are joined, from the left. Empty where all of them together are too few.

    >>> joined(np.array([30, 30, 30, 30]), np.array([2, 9, 20, 1])).tolist()
    [0, 0, 1, 1]
    >>> joined(np.array([30, 30]), np.array([2, 3])).tolist()
    []
    """
    ends: list[int] = []
    start = 0
    for end in range(1, len(n) + 1):
        if _told_bin(n[start:end], n_events[start:end]):
            ends.append(end)
            start = end
    while start < len(n) and ends:  # what is left over goes to the last group, or to the last two, …
        ends.pop()
        start = ends[-1] if ends else 0
        if _told_bin(n[start:], n_events[start:]):
            ends.append(len(n))
            start = len(n)
    return np.searchsorted(np.array(ends), np.arange(len(n)), side="right") if ends else np.zeros(0, int)


def _told_bin(n: np.ndarray, n_events: np.ndarray) -> bool:
    size = int(np.sum(n))
    return size >= MIN_CELL and not unsafe(int(np.sum(n_events)), size)
