"""Many visitors for many minutes: what one of them waits for, and whether the server's memory stays flat."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from train.bench.dashboard_browser import first_paint
from train.bench.dashboard_gestures import gestures
from train.bench.dashboard_visitors import HURRIED, STORY, Visitor, walking
from train.bench.dashboard_waiting import Measured

FEW = 10  # visitors up to whom a page may take twice the budget of one alone, and three times above
GROWTH_MB = 50  # that memory may move by from noise: sessions that end and begin
WARM = 0.3  # share of the minutes after which everything is in memory once
FORGOTTEN = 75  # seconds after which the server has let a closed session go (disconnectedSessionTTL)
VISIT = ("story", "map", "patient", "transfer")
FIRST_VISITS = 20  # until every cache is filled


def crowd(
    browser: Any,
    address: str,
    memory: Callable[[], float],
    *,
    users: int,
    minutes: int | None,
    repeats: int,
    seed: int,
) -> list[Measured]:
    """What one visitor in a browser waits for while the others walk through the pages.

    `memory` gives the server's resident MB. Without `minutes` the others hurry, and only as long as the
    visitor needs; with them they do the story at its pace, and the visitor starts again and again.
    """
    slower = 2 if users <= FEW else 3
    begun = time.monotonic()
    opened: list[float] = []
    rounds: list[list[Measured]] = []
    samples: list[tuple[float, float]] = []  # seconds, MB
    with walking(address, users - 1, seed=seed, pause=STORY if minutes else HURRIED) as seen:
        while not rounds or time.monotonic() - begun < 60 * (minutes or 0):
            opened.append(first_paint(browser, address, "map"))
            rounds.append(gestures(browser, address, repeats=repeats, slower=slower))
            samples.append((time.monotonic() - begun, memory()))
            print(
                f"{users} visitors, minute {samples[-1][0] / 60:.1f}: {samples[-1][1]:.0f} MB",
                file=sys.stderr,
                flush=True,
            )
    waits = statistics.quantiles([*seen.seconds, *seen.first], n=20)
    who = f"with {users} visitors"
    found = [Measured(f"{who}: map, all at once", opened[0], "s", 5.0 * slower)]
    if len(rounds) > 1:
        found.append(
            Measured(f"{who}: map, median of {len(opened)}", statistics.median(opened), "s", 5.0 * slower)
        )
    found += [
        Measured(
            f"{who}: {turns[0].what}",
            statistics.median(one.value for one in turns),
            turns[0].unit,
            turns[0].budget,
        )
        for turns in zip(*rounds, strict=True)
    ]
    found += [
        Measured(f"{who}: the others' map, the last", max(seen.first), "s", 5.0 * slower),
        Measured("their pages, sent whole: median", statistics.median(seen.seconds or seen.first), "s"),
        Measured(f"their pages, sent whole: 95th of 100, of {len(seen.seconds)}", waits[-1], "s"),
        Measured("exceptions shown to them", seen.errors, "", 0),
    ]
    if minutes:
        warm = next(value for seconds, value in samples if seconds >= WARM * samples[-1][0])
        found += [
            Measured(f"minutes of {users} visitors", samples[-1][0] / 60, "min"),
            Measured("memory once all is warm", warm, "MB"),
            Measured("memory gained from then to the end", samples[-1][1] - warm, "MB", GROWTH_MB),
        ]
    return found


def visits(address: str, memory: Callable[[], float], n: int) -> list[Measured]:
    """Open a session, look at some pages, close it, `n` times; what the server keeps of them."""
    errors, first = 0, 0.0
    for number in range(FIRST_VISITS + n):
        if number == FIRST_VISITS:
            time.sleep(FORGOTTEN)
            first = memory()
        visitor = Visitor(address)
        errors += sum(visitor.open(page)[1] for page in VISIT)
        visitor.close()
    time.sleep(FORGOTTEN)
    return [
        Measured(f"memory kept of {n} visits", memory() - first, "MB", GROWTH_MB),
        Measured("exceptions shown to them", errors, "", 0),
    ]
