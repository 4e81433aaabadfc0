"""Synthesizing, measured: whole processes at one or more sizes, so that growth can be seen."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from train.bench.process import run as run_process

ROOT = Path(__file__).parents[2]  # where `python -m train` can be run


def run(options: argparse.Namespace) -> int:
    """Measure and print; the exit status. Raises UserError where a process fails."""
    rows = []
    for stays in options.stays:
        with tempfile.TemporaryDirectory(prefix="ehrfm-bench-", dir=options.folder) as folder:
            out = Path(folder) / "hospitals"
            command = [sys.executable, "-m", "train", "synthesize", str(out), "--stays", str(stays)]
            done = run_process(command, folder=ROOT)
            size = sum(path.stat().st_size for path in out.rglob("*.parquet")) / 1e9
        rows.append(
            {
                "stays_a_hospital": stays,
                "seconds": round(done.seconds, 1),
                "stays_per_second": round(2 * stays / done.seconds),
                "peak_memory_gb": round(done.peak_gb, 2),
                "written_gb": round(size, 2),
            }
        )
        print(f"{stays:,} stays a hospital: {done.seconds:.0f} s, {done.peak_gb:.2f} GB", file=sys.stderr)
    if options.json:
        print(json.dumps(rows, indent=1))
        return 0
    print("| stays a hospital | seconds | stays/s | peak memory, GB | written, GB |\n|---|---|---|---|---|")
    for row in rows:
        first, *others = row.values()
        print(f"| {first:,} | {' | '.join(f'{value:g}' for value in others)} |")
    return 0
