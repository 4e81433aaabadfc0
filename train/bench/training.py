"""Training, measured: side by side with others, or our own loop measure by measure.

Side by side all train the same architecture on the same timelines with as many tokens a step, each in
processes of their own, in turns. Rates count real tokens, padding left out. See cotorra.py and hf_trainer.py
for what is kept equal and what is not.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from ehrfm_core.errors import UserError

OURS = "ours"


def run(options: argparse.Namespace) -> int:
    """Measure and print; the exit status. Raises UserError where a program fails."""
    if options.device == "cuda" or options.ladder:
        from train.bench.ladder import run as ladder

        if options.cotorra or options.trainer:
            raise UserError("The ladder measures our own loop alone; leave --cotorra and --trainer out.")
        return ladder(options)
    from train.bench.contest import contestants

    with tempfile.TemporaryDirectory(prefix="ehrfm-bench-") as temporary:
        folder = Path(temporary)
        tools, about = contestants(options, folder)
        figures: dict[str, list[dict[str, Any]]] = {name: [] for name in tools}
        for repeat in range(options.repeats):
            for name in list(tools) if repeat % 2 == 0 else list(reversed(tools)):
                figures[name].append(
                    tools[name](folder / f"{len(figures)}-{name}-{repeat}".replace(" ", "-"))
                )
                last = figures[name][-1]
                _tell(
                    f"  {name} {repeat + 1} of {options.repeats}: {last['tokens_per_second']:,.0f} tokens/s, "
                    f"{last['peak_gb']:.2f} GB"
                )
    if options.json:
        print(json.dumps({"about": about, "runs": figures}, indent=1))
    else:
        _print(figures, about, options)
    return 0


def _print(figures: dict[str, list[dict[str, Any]]], about: str, options: argparse.Namespace) -> None:
    ours, first = figures[OURS], figures[OURS][0]
    print(
        f"{options.size}, {first['parameters']:,} parameters; {about}; {options.steps} steps a run, "
        f"{options.repeats} runs of each in turns; {first['device']}; peak {first['peak']}.\n"
    )
    print("| | precision | real tokens/s | range | ours is | range of pairs | real share | peak GB |")
    print("|---|---|---|---|---|---|---|---|")
    mine = [found["tokens_per_second"] for found in ours]
    for name, runs in figures.items():
        rates = [found["tokens_per_second"] for found in runs]
        pairs = [a / b for a, b in zip(mine, rates, strict=True)]
        print(
            f"| {name} | {runs[0]['precision']} | {statistics.median(rates):,.0f} "
            f"| {min(rates):,.0f}–{max(rates):,.0f} "
            f"| {statistics.median(mine) / statistics.median(rates):.2f} × "
            f"| {min(pairs):.2f}–{max(pairs):.2f} | {runs[0]['real_share']:.1%} "
            f"| {max(found['peak_gb'] for found in runs):.2f} |"
        )
    print(f"\nours: MFU {statistics.median(found['mfu'] for found in ours):.0%} of the peak named above.")
    for name, runs in figures.items():
        if "attended" in runs[0]:
            print(f"{name}: a token attends to {runs[0]['attended']:.1f} tokens in the mean.")


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
