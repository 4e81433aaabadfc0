"""Progress on the terminal: rate and remaining time, and the peak memory of the process."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from tqdm import tqdm

Progress = Callable[[int, int, str], None]
LONG_SECONDS = 2.0  # shorter work shows no bar
BAR = "  {desc}: {percentage:3.0f} %|{bar:20}| {n_fmt}/{total_fmt}, {rate_fmt}, {remaining} left{postfix}"


def bar_options(title: str, unit: str) -> dict[str, Any]:
    """Options of a bar with rate and remaining time: redrawn often on a terminal, rarely in a log file."""
    interval = 0.2 if sys.stderr.isatty() else 10.0
    return {"desc": title, "unit": unit, "mininterval": interval, "maxinterval": 60, "bar_format": BAR}


@contextmanager
def progress_bar(title: str, unit: str) -> Iterator[Progress]:
    """Yield a function (done, total, note) that draws the bar."""
    bar = tqdm(**bar_options(title, unit), unit_scale=unit in (" tokens", " events"))

    def update(done: int, total: int, note: str = "") -> None:
        bar.total = total
        if note:
            bar.set_postfix_str(note, refresh=False)
        bar.update(done - bar.n)

    try:
        yield update
    finally:
        bar.close()


@contextmanager
def bar_if_long(title: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function (done, total) that draws a bar where the work turns out to be long."""
    begun = time.monotonic()
    with ExitStack() as stack:
        bar: Callable[..., None] | None = None
        last = 0

        def progress(done: int, total: int) -> None:
            nonlocal bar, last
            last = done
            if bar is None and time.monotonic() - begun > LONG_SECONDS:
                bar = stack.enter_context(progress_bar(title, unit))
            if bar is not None:
                bar(done, max(done, total))

        yield progress
        if bar is not None:
            bar(last, last)  # how many there would be was a guess


def say(text: str) -> None:
    """Print a line for the user, at once."""
    print(text, flush=True)


def peak_memory_gb() -> float:
    """Peak resident memory of this process in GB (10⁹ bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e9
