"""Training, measured: side by side with others, or our own loop measure by measure.

Side by side all train the same architecture on the same timelines with as many tokens a step, each in
processes of their own, in turns. Rates count real tokens, padding left out. See cotorra.py and hf_trainer.py
for what is kept equal and what is not.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from ehrfm_core.errors import UserError
from train.bench.turns import HEADER, OURS, row, take_turns

FEWEST_STEPS = 20


def run(options: argparse.Namespace) -> int:
    """Measure and print; the exit status. Raises UserError where a program fails."""
    if options.device == "cuda" or options.ladder:
        from train.bench.ladder import run as ladder

        if options.cotorra or options.trainer:
            raise UserError("The ladder measures our own loop alone; leave --cotorra and --trainer out.")
        return ladder(options)
    if options.steps < FEWEST_STEPS:
        raise UserError(
            f"--steps {options.steps}: the first ten steps are for warming up and are not counted; give "
            f"{FEWEST_STEPS} or more."
        )
    from train.bench.contest import contestants

    with tempfile.TemporaryDirectory(prefix="ehrfm-bench-") as temporary:
        folder = Path(temporary)
        tools, about = contestants(options, folder)
        figures = take_turns(tools, repeats=options.repeats, folder=folder)
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
    print(HEADER.format(rate="real tokens/s", own="real share"))
    for name, runs in figures.items():
        print(row(name, runs, ours, own=f"{runs[0]['real_share']:.1%}"))
    print(f"\nours: MFU {statistics.median(found['mfu'] for found in ours):.0%} of the peak named above.")
    for name, runs in figures.items():
        if "attended" in runs[0]:
            print(f"{name}: a token attends to {runs[0]['attended']:.1f} tokens in the mean.")
