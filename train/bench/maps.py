"""Fitting and placing on maps, measured on states like those of a study."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

from ehrfm_core.clif.tables import ID
from ehrfm_core.dynamics.map_fitting import draw_states, fit_maps
from ehrfm_core.errors import UserError
from ehrfm_core.study.reader import Study, open_study
from train.bench.resample import resample
from train.progress import bar_options, peak_memory_gb

BUNDLED = Path(__file__).parents[2] / "data_samples/studies/demo-two-hospitals"
TRAIN, TUNING = 0.7, 0.1  # shares of the stays, as in a study
UNITS = {
    "stays": "stays",
    "hidden_size": "hidden size",
    "states": "states",
    "distinct_states": "of them distinct",
    "fitted_states": "fitted",
    "fit_seconds": "fit, s",
    "place_seconds": "place, s",
    "place_cpu_seconds": "place, CPU s",
    "states_per_second": "states placed/s",
    "states_gb": "the states, GB",
    "peak_memory_gb": "peak memory, GB",
}


def run(options: argparse.Namespace) -> int:
    """Measure and print; the exit status. Raises UserError where the study has no states."""
    source = _hourly(open_study(options.study or BUNDLED))
    width = options.hidden or source.shape[2]
    print(f"making {options.stays:,} stays of hidden size {width} …", file=sys.stderr, flush=True)
    hourly = resample(source, stays=options.stays, width=width, seed=options.seed)
    row = {"stays": options.stays, "hidden_size": width} | measure(hourly, seed=options.seed)
    if options.json:
        print(json.dumps(row, indent=1))
        return 0
    print("| " + " | ".join(UNITS.values()) + " |\n|" + "---|" * len(UNITS))
    print("| " + " | ".join(f"{row[name]:,}" for name in UNITS) + " |")
    return 0


def measure(hourly: np.ndarray, *, seed: int) -> dict[str, float]:
    """Fit maps on the first stays of `hourly` (n × H + 1 × D), as on a training split, and place all."""
    place = np.arange(len(hourly)) / len(hourly)
    train, tuning = place < TRAIN, (place >= TRAIN) & (place < TRAIN + TUNING)
    begun = time.perf_counter()
    maps = fit_maps(
        draw_states(hourly, train, seed=seed),
        held_out=draw_states(hourly, tuning, seed=seed),
        seed=seed,
        bar=bar_options("UMAP", " epochs") | {"disable": False},
    )
    if maps.placed is None:
        raise UserError(f"{len(maps.anchors)} distinct states are too few for a UMAP; ask for more --stays.")
    fitted, worked = time.perf_counter(), time.process_time()
    states = hourly.reshape(-1, hourly.shape[2])
    placed = len(maps.place(states))
    seconds, worked = time.perf_counter() - fitted, time.process_time() - worked
    return {
        "states": placed,
        "distinct_states": len(hourly) + int((hourly[:, 1:] != hourly[:, :-1]).any(axis=2).sum()),
        "fitted_states": len(maps.anchors),
        "fit_seconds": round(fitted - begun, 1),
        "place_seconds": round(seconds, 1),
        "place_cpu_seconds": round(worked, 1),
        "states_per_second": round(placed / seconds),
        "states_gb": round(hourly.nbytes / 1e9, 2),
        "peak_memory_gb": round(peak_memory_gb(), 2),
    }


def _hourly(study: Study) -> np.ndarray:
    """Every site's hourly states (n × H + 1 × D)."""
    if not study.has("embed"):
        raise UserError(f"{study.folder} has no hourly states: run `python -m train embed {study.folder}`.")
    parts = []
    for site in study.sites:
        frame = study.site_table(site, "hourly").sort(ID, "hour")
        hours = frame["hour"].n_unique()
        parts.append(frame["state"].to_numpy().reshape(-1, hours, frame["state"].dtype.shape[0]))  # type: ignore[attr-defined]
    return np.concatenate(parts)
