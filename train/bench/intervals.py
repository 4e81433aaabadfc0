"""How long intervals take at the size of a real test split."""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import numpy as np

from ehrfm_core.evaluation.delong import areas
from ehrfm_core.evaluation.intervals import cluster_weights
from ehrfm_core.evaluation.metrics import Ranking

OUTCOMES = 4
RATE = 0.05  # of the event
DELONG_STAYS = 54_000


def run(options: argparse.Namespace) -> int:
    """Measure and print; the exit status."""
    rng = np.random.default_rng(options.seed)
    drawn = [_stays(options.stays, rng) for _ in range(OUTCOMES)]
    patients = drawn[0][2]
    rankings = [Ranking.of(labels, scores) for labels, scores, _ in drawn]
    begun = time.perf_counter()
    for weights in cluster_weights(patients, n_replicates=options.replicates, rng=rng):
        for ranking in rankings:
            ranking.roc_auc(weights)
    bootstrap = time.perf_counter() - begun
    labels, scores, who = _stays(DELONG_STAYS, rng)
    figures = {
        "stays": options.stays,
        "replicates": options.replicates,
        "outcomes": OUTCOMES,
        "bootstrap_seconds": round(bootstrap, 2),
        "delong_stays": DELONG_STAYS,
        "delong_ms": round(1000 * _median(lambda: areas(labels, scores)), 1),
        "delong_by_patient_ms": round(1000 * _median(lambda: areas(labels, scores, who)), 1),
    }
    if options.json:
        print(json.dumps(figures, indent=1))
        return 0
    print(
        f"{options.replicates:,} replicates of the AUC of {OUTCOMES} outcomes on {options.stays:,} stays, "
        f"resampling patients: {bootstrap:.1f} s\n"
        f"DeLong on {DELONG_STAYS:,} stays: {figures['delong_ms']} ms; by patient: "
        f"{figures['delong_by_patient_ms']} ms (medians of 11)"
    )
    return 0


def _stays(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, scores and patients of n stays, 1.5 a patient."""
    labels = rng.random(n) < RATE
    return labels, rng.normal(size=n) + labels, rng.integers(0, int(n / 1.5), n)


def _median(call: Callable[[], object], *, times: int = 11) -> float:
    seconds = []
    for _ in range(times):
        begun = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds)
