"""Events of a site in compact form, in memory or, where there are many, on disk in partitions of stays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

# stay: row in the site's table of stays; item: place in `EventStore.items`; micros: µs since admission;
# value: NaN where there is none
EVENT = np.dtype([("stay", "<u4"), ("item", "<u4"), ("micros", "<i8"), ("value", "<f8")])
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


class EventStore:
    """Takes events in any order, gives them back stay range by stay range.

    `expected` is how many events are to come, roughly: it decides the number of partitions. Files, if any, lie in
    `folder`, which the caller makes and removes.
    """

    def __init__(
        self, n_stays: int, *, expected: int, folder: Path, memory_events: int = MEMORY_EVENTS
    ) -> None:
        count = max(1, min(n_stays, -(-expected // PARTITION_EVENTS)))
        self.bounds = np.linspace(0, n_stays, count + 1).round().astype(np.int64)
        self.items: list[Item] = []
        self._places: dict[Item, int] = {}
        self._folder = folder
        self._memory_events = memory_events
        self._held: list[list[np.ndarray]] = [[] for _ in range(count)]  # pieces by partition
        self._n_held = 0
        self._n_by_item = np.zeros(0, dtype=np.int64)
        self._n_spilled = np.zeros(count, dtype=np.int64)

    def place(self, item: Item) -> int:
        """The number of an item; new ones get the next."""
        if item not in self._places:
            self._places[item] = len(self.items)
            self.items.append(item)
        return self._places[item]

    def add(self, stay: np.ndarray, item: np.ndarray, micros: np.ndarray, value: np.ndarray | None) -> None:
        """Add events: stay (n), item (n), micros (n), value (n; None where the source has no values)."""
        rows = np.empty(len(stay), dtype=EVENT)
        rows["stay"], rows["item"], rows["micros"] = stay, item, micros
        rows["value"] = np.nan if value is None else value
        parts = np.searchsorted(self.bounds[1:-1], rows["stay"], side="right").astype(np.uint16)
        if len(self._held) > 1 and (parts[1:] < parts[:-1]).any():
            order = np.argsort(parts, kind="stable")
            rows, parts = rows[order], parts[order]
        edges = np.searchsorted(parts, np.arange(len(self._held) + 1))
        for part in np.flatnonzero(np.diff(edges)):
            self._held[part].append(rows[edges[part] : edges[part + 1]])
        self._n_held += len(rows)
        counts = np.bincount(item, minlength=len(self._n_by_item))
        counts[: len(self._n_by_item)] += self._n_by_item
        self._n_by_item = counts
        if self._n_held > self._memory_events:
            self._spill()

    @property
    def n_events(self) -> int:
        """Events taken so far."""
        return self._n_held + int(self._n_spilled.sum())

    @property
    def n_by_item(self) -> np.ndarray:
        """Events taken so far of each item."""
        return np.pad(self._n_by_item, (0, len(self.items) - len(self._n_by_item)))

    @property
    def spilled(self) -> bool:
        """Whether events lie on disk."""
        return bool(self._n_spilled.any())

    @property
    def n_partitions(self) -> int:
        """Number of stay ranges."""
        return len(self._held)

    def partition(self, part: int) -> np.ndarray:
        """Events (`EVENT`) of the stays `bounds[part]` … `bounds[part + 1]` − 1, in no order."""
        pieces = [*self._held[part], np.empty(0, dtype=EVENT)]
        if self._n_spilled[part]:
            pieces.append(np.fromfile(self._file(part), dtype=EVENT))
        return np.concatenate(pieces)

    def _spill(self) -> None:
        """Append what is held to the files of the partitions."""
        for part, pieces in enumerate(self._held):
            if pieces:
                with self._file(part).open("ab") as file:
                    for piece in pieces:
                        piece.tofile(file)
                self._n_spilled[part] += sum(len(piece) for piece in pieces)
                pieces.clear()
        self._n_held = 0

    def _file(self, part: int) -> Path:
        return self._folder / f"events-{part}.bin"
