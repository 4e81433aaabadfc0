"""Reading states by `cotorra extract` (bbj-lab, on PyPI) from our checkpoint on our windows, measured.

The files are those that cocoa-tokenizer would have written, with our tokens under our ids; configuration and
batches (64 stays in the order given, padded to the longest) are those that come with cotorra. By default it
keeps the last state of each stay alone; with `everything` it writes the states of all tokens and the
information of each (`--all-times --token-nll`), from which jumps could then be computed. Weights and products
are of the checkpoint's dtype. What is timed is the extraction itself, with the writing of its files: starting
up and loading the model is not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from ehrfm_core.ragged import Ragged
from ehrfm_core.tokens.window import to_series
from train.bench.cotorra import find_python, write_inputs
from train.bench.process import run as run_process

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Extracted:
    """One run: seconds of the extraction, peak GB of its process, bytes a stay on disk, cotorra's version."""

    seconds: float
    peak_gb: float
    bytes_per_stay: float
    version: str


def measure(
    program: Path | str,
    windows: Ragged,
    minutes: Ragged,
    vocabulary: Mapping[str, int],
    checkpoint: Path,
    *,
    folder: Path,
    everything: bool,
) -> Extracted:
    """Extract from `checkpoint` the windows (lists of token ids); all that is written goes to `folder`.

    Raises UserError where cotorra is not there or fails.
    """
    python = find_python(program)
    folder = folder.resolve()
    tokens = folder / "tokens"
    first = Ragged(windows.values[: windows.offsets[1]], windows.offsets[:2])
    write_inputs(tokens, first, first, vocabulary)  # its loader opens the training data too
    write_windows(tokens / "held_out_for_inference.parquet", windows, minutes)
    command: list[str | Path] = [python, "-m", "train.bench.clocked_extract", folder, "extract"]
    command += ["-p", tokens, "-m", checkpoint, "-o", folder / "out"]
    command += ["--all-times", "--token-nll"] if everything else []
    (folder / "out").mkdir(parents=True)
    finished = run_process(command, folder=ROOT)
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    written = sum(path.stat().st_size for path in (folder / "out").iterdir())
    return Extracted(report["seconds"], finished.peak_gb, written / len(windows), report["version"])


def write_windows(path: Path, windows: Ragged, minutes: Ragged) -> None:
    """Write windows as cocoa's winnower does: tokens so far and seconds since the stay's start."""
    seconds = Ragged(np.rint(minutes.values.astype(np.float64) * 60).astype(np.int64), minutes.offsets)
    pl.DataFrame(
        {
            "subject_id": [f"stay-{i}" for i in range(len(windows))],
            "tokens_past": to_series(Ragged(windows.values.astype(np.int64), windows.offsets)),
            "s_elapsed_past": to_series(seconds),
        }
    ).write_parquet(path)
