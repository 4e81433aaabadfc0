"""Lists of unequal length as two flat arrays: the form in which tokens travel between stages.

NumPy only, so that training and state extraction run where polars is not installed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Ragged:
    """`n` lists: list `i` is `values[offsets[i] : offsets[i + 1]]`.

    `offsets` has n + 1 entries, starts at 0 and never falls.

    >>> lists = Ragged.from_lengths(np.array([7, 8, 9]), np.array([2, 1]))
    >>> lists[1].tolist(), lists.lengths.tolist()
    ([9], [2, 1])
    """

    values: np.ndarray
    offsets: np.ndarray

    @classmethod
    def from_lengths(cls, values: np.ndarray, lengths: np.ndarray) -> Ragged:
        """Cut `values` into lists of the given lengths."""
        offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        assert offsets[-1] == len(values)
        return cls(values, offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> np.ndarray:
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    @property
    def lengths(self) -> np.ndarray:
        """Length of each list (n)."""
        return np.diff(self.offsets)

    @property
    def rows(self) -> np.ndarray:
        """For each value, the index of its list."""
        return np.repeat(np.arange(len(self)), self.lengths)

    @property
    def positions(self) -> np.ndarray:
        """For each value, its place within its list, from 0."""
        return np.arange(len(self.values)) - np.repeat(self.offsets[:-1], self.lengths)

    def take(self, indices: np.ndarray) -> Ragged:
        """The lists at `indices`, in that order."""
        return self.cut(self.offsets[:-1][indices], self.offsets[1:][indices])

    def cut(self, begins: np.ndarray, ends: np.ndarray) -> Ragged:
        """Lists made of `values[begins[i] : ends[i]]`, wherever these lie."""
        lengths = ends - begins
        starts = np.repeat(begins - (np.cumsum(lengths) - lengths), lengths)
        return Ragged.from_lengths(self.values[starts + np.arange(lengths.sum())], lengths)

    def joined(self, after: Ragged) -> Ragged:
        """Every list followed by that of `after` in the same place.

        >>> one = Ragged.from_lengths(np.array([1, 2]), np.array([2, 0]))
        >>> both = one.joined(Ragged.from_lengths(np.array([3, 4]), np.array([1, 1])))
        >>> both[0].tolist(), both[1].tolist()
        ([1, 2, 3], [4])
        """
        offsets = self.offsets + after.offsets
        values = np.empty(offsets[-1], dtype=np.result_type(self.values, after.values))
        values[np.arange(len(self.values)) + np.repeat(after.offsets[:-1], self.lengths)] = self.values
        values[np.arange(len(after.values)) + np.repeat(self.offsets[1:], after.lengths)] = after.values
        return Ragged(values, offsets)

    @classmethod
    def nothing(cls, n: int, dtype: type = np.int64) -> Ragged:
        """`n` empty lists."""
        return cls(np.empty(0, dtype=dtype), np.zeros(n + 1, dtype=np.int64))

    def keep(self, mask: np.ndarray) -> Ragged:
        """Every list without the values whose mask is false."""
        lengths = np.bincount(self.rows[mask], minlength=len(self))
        return Ragged.from_lengths(self.values[mask], lengths)
