"""Programs that take turns on the same input, and the cells that compare their rates with ours."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

OURS = "ours"
Figures = dict[str, Any]
Tools = dict[str, Callable[[Path], Figures]]
HEADER = (
    "| | precision | {rate} | range | ours is | range of pairs | {own} | peak GB |\n"
    "|---|---|---|---|---|---|---|---|"
)


def take_turns(tools: Tools, *, repeats: int, folder: Path) -> dict[str, list[Figures]]:
    """Run every tool `repeats` times, each in a folder of its own; every second round goes backwards."""
    figures: dict[str, list[Figures]] = {name: [] for name in tools}
    for repeat in range(repeats):
        for name in list(tools) if repeat % 2 == 0 else list(reversed(tools)):
            figures[name].append(tools[name](folder / f"run-{repeat}-{list(tools).index(name)}"))
            last = figures[name][-1]
            print(
                f"  {name} {repeat + 1} of {repeats}: {last['tokens_per_second']:,.0f} tokens/s, "
                f"{last['peak_gb']:.2f} GB",
                file=sys.stderr,
                flush=True,
            )
    return figures


def row(name: str, runs: Sequence[Figures], ours: Sequence[Figures], *, own: str, digits: int = 2) -> str:
    """A row under HEADER: medians, their ratio, and its range over the pairs of one round."""
    mine, rates = ([found["tokens_per_second"] for found in part] for part in (ours, runs))
    pairs = [a / b for a, b in zip(mine, rates, strict=True)]
    return (
        f"| {name} | {runs[0]['precision']} | {statistics.median(rates):,.0f} "
        f"| {min(rates):,.0f}–{max(rates):,.0f} "
        f"| {statistics.median(mine) / statistics.median(rates):.{digits}f} × "
        f"| {min(pairs):.{digits}f}–{max(pairs):.{digits}f} | {own} "
        f"| {max(found['peak_gb'] for found in runs):.2f} |"
    )
