"""When each optimizer step of a `transformers.Trainer` ended: the same clock for every loop that has one.

Imports transformers, numpy and the standard library alone, since it also runs in the environments of others.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

from transformers import TrainerCallback


class Clock(TrainerCallback):
    """Seconds of each step, from the end of the one before it: the fetching of its batch is part of it."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """The loop is about to fetch its first batch."""
        self.ends.append(time.perf_counter())

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """The optimizer has made its step."""
        self.ends.append(time.perf_counter())

    @property
    def step_seconds(self) -> list[float]:
        """Seconds of each step, the first one with what it warms up."""
        return [end - begin for begin, end in zip(self.ends, self.ends[1:], strict=False)]


def median_after_first(values: list[float]) -> float:
    """Median of all but the first, or of that one where there is no other.

    >>> median_after_first([9.0, 1.0, 2.0, 3.0])
    2.0
    """
    return statistics.median(values[1:] or values)
