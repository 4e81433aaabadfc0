from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from ehrfm_core.parallel import MOST_WORKERS, in_order


def test_results_come_in_the_order_of_the_pieces() -> None:
    def slow_first(x: int) -> int:
        time.sleep(0.02 if x % 4 == 0 else 0)
        return x

    assert list(in_order(slow_first, range(20))) == list(range(20))
    assert list(in_order(slow_first, [])) == []


def test_work_is_spread_over_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    barrier = threading.Barrier(2, timeout=5)
    assert list(in_order(lambda _: barrier.wait() >= 0, range(4))) == [True] * 4


def test_few_pieces_are_taken_ahead() -> None:
    taken: list[int] = []

    def pieces() -> Iterator[int]:
        for i in range(100):
            taken.append(i)
            yield i

    results = in_order(lambda x: x, pieces())
    assert next(results) == 0
    assert len(taken) <= MOST_WORKERS + 1
    results.close()  # type: ignore[attr-defined]
    assert len(taken) <= MOST_WORKERS + 1


def test_an_error_reaches_the_caller_and_ends_the_work() -> None:
    def work(x: int) -> int:
        if x == 3:
            raise ValueError("three")
        return x

    found: list[int] = []
    with pytest.raises(ValueError, match="three"):
        found.extend(in_order(work, range(1000)))
    assert found == [0, 1, 2]
