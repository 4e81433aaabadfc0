"""Events of a site in compact form, in memory or, where there are many, on disk in partitions of stays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

PARTITION_EVENTS = 300_000  # events worked on at a time: few enough to stay in the cache
MEMORY_EVENTS = 8_000_000  # events held in memory (24 bytes each) before they go to disk


@dataclass(frozen=True)
class Item:
    """What an event is before any tokenizer: rank of its source, code, answer and unit of its value.

    `code` is family/name. Items sort as simultaneous events do.
    """

    rank: int
    code: str
    answer: str | None = None
    unit: str | None = None


class Events(NamedTuple):
    """Events (n each): stay is the row in the site's table of stays, item the place in `EventStore.items`.

    `micros` are µs since admission, `value` is NaN where there is none.
    """

    stay: np.ndarray
    item: np.ndarray
    micros: np.ndarray
    value: np.ndarray


class EventStore:
    """Takes events in any order, gives them back stay range by stay range.

    `expected` is how many events are to come, roughly: it decides the number of partitions. Files, if any,
    lie in `folder`, which the caller makes and removes.
    """

    def __init__(
        self, n_stays: int, *, expected: int, folder: Path, memory_events: int = MEMORY_EVENTS
    ) -> None:
        count = max(1, min(n_stays, -(-expected // PARTITION_EVENTS), 2**16 - 1))
        self.bounds = np.linspace(0, n_stays, count + 1).round().astype(np.int64)
        self._part_of = np.repeat(np.arange(count, dtype=np.uint16), np.diff(self.bounds))
        self.items: list[Item] = []
        self._places: dict[Item, int] = {}
        self.expected = expected
        self.expected = expected
        self._folder = folder
        self._memory_events = memory_events
        self._held: list[list[np.ndarray]] = [[] for _ in range(count)]  # pieces by partition
        self._n_held = 0
        self._n_by_item = np.zeros(0, dtype=np.int64)
        self._n_spilled = 0
        self._sizes: list[list[int]] = [[] for _ in range(count)]  # of the pieces on disk, by partition

    def place(self, item: Item) -> int:
        """The number of an item; new ones get the next."""
        if item not in self._places:
            self._places[item] = len(self.items)
            self.items.append(item)
        return self._places[item]

    def add(self, stay: np.ndarray, item: np.ndarray, micros: np.ndarray, value: np.ndarray | None) -> None:
        """Add events: stay (n), item (n), micros (n), value (n; None where the source has no values)."""
        n = len(stay)
        packed = np.empty((3, n), dtype=np.int64)  # stay and item in one; 24 bytes an event
        np.left_shift(stay, 32, out=packed[0], dtype=np.int64, casting="unsafe")
        packed[0] |= item
        packed[1] = micros
        packed[2].view(np.float64)[:] = np.nan if value is None else value
        if len(self._held) == 1:
            self._held[0].append(packed)
        else:
            parts = self._part_of[stay]
            packed = packed[:, np.argsort(parts, kind="stable")]
            edges = np.concatenate([[0], np.cumsum(np.bincount(parts, minlength=len(self._held)))])
            for part in np.flatnonzero(np.diff(edges)):
                self._held[part].append(packed[:, edges[part] : edges[part + 1]])
        self._n_held += n
        counts = np.bincount(item, minlength=len(self._n_by_item))
        counts[: len(self._n_by_item)] += self._n_by_item
        self._n_by_item = counts
        if self._n_held > self._memory_events:
            self._spill()

    @property
    def n_events(self) -> int:
        """Events taken so far."""
        return self._n_held + self._n_spilled

    @property
    def n_by_item(self) -> np.ndarray:
        """Events taken so far of each item."""
        return np.pad(self._n_by_item, (0, len(self.items) - len(self._n_by_item)))

    @property
    def spilled(self) -> bool:
        """Whether events lie on disk."""
        return self._n_spilled > 0

    @property
    def n_partitions(self) -> int:
        """Number of stay ranges."""
        return len(self._held)

    def partition(self, part: int) -> Events:
        """Events of the stays `bounds[part]` … `bounds[part + 1]` − 1, in no order."""
        pieces = [*self._held[part], np.empty((3, 0), dtype=np.int64)]
        if self._sizes[part]:
            flat = np.fromfile(self._file(part), dtype=np.int64)
            ends = 3 * np.cumsum(self._sizes[part])
            pieces += [own.reshape(3, -1) for own in np.split(flat, ends[:-1])]
        packed = np.concatenate(pieces, axis=1)
        return Events(packed[0] >> 32, packed[0] & (2**32 - 1), packed[1], packed[2].view(np.float64))

    def _spill(self) -> None:
        """Append what is held to the files of the partitions."""
        for part, pieces in enumerate(self._held):
            if pieces:
                with self._file(part).open("ab") as file:
                    for piece in pieces:
                        file.write(np.ascontiguousarray(piece).data)  # `tofile` does not say why it fails
                self._sizes[part] += [piece.shape[1] for piece in pieces]
                pieces.clear()
        self._n_spilled += self._n_held
        self._n_held = 0

    def _file(self, part: int) -> Path:
        return self._folder / f"events-{part}.bin"
