from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ehrfm_core.clif import event_store
from ehrfm_core.clif.event_store import Events, EventStore, Item


def add(store: EventStore, rows: Events, pieces: int = 1) -> None:
    for part in np.array_split(np.arange(len(rows.stay)), pieces):
        store.add(*(column[part] for column in rows))


def random_rows(n: int, n_stays: int) -> Events:
    rng = np.random.default_rng(0)
    stay, item = rng.integers(n_stays, size=n), rng.integers(3, size=n)
    return Events(stay, item, rng.integers(-(10**12), 10**12, n), rng.normal(size=n))


def as_rows(*events: Events) -> list[tuple[int, int, int, float]]:
    columns = (np.concatenate(column).tolist() for column in zip(*events, strict=True))
    return sorted(zip(*columns, strict=True))


@settings(deadline=None, max_examples=25)
@given(
    n=st.integers(0, 200),
    n_stays=st.integers(1, 9),
    size=st.integers(1, 60),
    memory=st.integers(0, 200),
    pieces=st.integers(1, 5),
)
def test_every_event_comes_back_once_in_the_partition_of_its_stay(
    tmp_path_factory: pytest.TempPathFactory, n: int, n_stays: int, size: int, memory: int, pieces: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(event_store, "PARTITION_EVENTS", size)
        store = EventStore(n_stays, expected=n, folder=tmp_path_factory.mktemp("s"), memory_events=memory)
    assert store.n_partitions == max(1, min(n_stays, -(-n // size)))
    assert (store.bounds[0], store.bounds[-1]) == (0, n_stays)
    for name in "abc":
        store.place(Item(0, name))
    rows = random_rows(n, n_stays)
    add(store, rows, pieces)
    assert store.n_events == n
    assert store.n_by_item.tolist() == np.bincount(rows.item, minlength=3).tolist()
    found = []
    for part in range(store.n_partitions):
        own = store.partition(part)
        first, last = store.bounds[part : part + 2]
        assert ((own.stay >= first) & (own.stay < last)).all()
        found.append(own)
    assert as_rows(*found) == as_rows(rows)
    assert store.spilled == (n > memory)


def test_events_beyond_memory_lie_in_the_folder_given(tmp_path: Path) -> None:
    store = EventStore(4, expected=10, folder=tmp_path, memory_events=50)
    rows = random_rows(40, 4)
    add(store, rows)
    assert not store.spilled
    assert not list(tmp_path.iterdir())
    add(store, rows)
    assert store.spilled
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) == 80 * 24
    add(store, Events(*(column[:3] for column in rows)))
    assert store.n_events == 83
    assert len(store.partition(0).stay) == 83


def test_items_are_numbered_once() -> None:
    store = EventStore(1, expected=0, folder=Path())
    places = [store.place(item) for item in (Item(0, "a"), Item(1, "a"), Item(0, "a"), Item(0, "a", "yes"))]
    assert places == [0, 1, 0, 2]
    assert store.n_by_item.tolist() == [0, 0, 0]


def test_a_source_without_values_has_none(tmp_path: Path) -> None:
    store = EventStore(2, expected=1, folder=tmp_path)
    store.place(Item(0, "a"))
    store.add(np.array([1]), np.array([0]), np.array([5]), None)
    assert np.isnan(store.partition(0).value).tolist() == [True]
