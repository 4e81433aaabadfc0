"""`python -m train.recipes.coverage`: whether intervals hold what they promise, with repeated stays.

Draws samples of patients with one to four stays each from a world whose true AUC is known from a very large
sample, and counts how often each 95 % interval holds it, how often the paired test finds a difference between
two models that are equally good, and how often the interval of labels that were shuffled holds 0.5.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

import numpy as np

from ehrfm_core.evaluation.delong import areas
from ehrfm_core.evaluation.intervals import auc_interval
from ehrfm_core.evaluation.metrics import roc_auc
from train.numbers import positive_number, seed_number
from train.progress import progress_bar, say

LEVEL = 0.95


def sample(n_patients: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, scores of two equally good models (2 × n) and patients.

    What a patient's stays share makes half of each variance: outcome, and each model's mistakes.
    """
    patients = np.repeat(np.arange(n_patients), rng.integers(1, 5, n_patients))
    shared = rng.normal(size=(3, n_patients))[:, patients]
    own = rng.normal(size=(3, len(patients)))
    labels = shared[0] + own[0] > 1.5
    return labels, shared[0] + shared[1:] + own[1:], patients


def simulate(
    *, n_patients: int, times: int, replicates: int, seed: int, tick: Callable[[int], None] = lambda _: None
) -> dict[str, float]:
    """Shares of `times` samples: coverage of each interval, size of the paired test, shuffled labels."""
    rng = np.random.default_rng(seed)
    labels, scores, _ = sample(200_000, rng)
    truth = float(roc_auc(labels, scores[0])[0])
    found = dict.fromkeys(("bootstrap", "delong", "delong_stays_alone", "paired_test", "shuffled"), 0)
    for done in range(times):
        labels, scores, patients = sample(n_patients, rng)
        by_patient, alone = areas(labels, scores, patients), areas(labels, scores)
        drawn = auc_interval(labels, scores[0], patients, n_replicates=replicates, rng=rng)
        mixed = auc_interval(rng.permutation(labels), scores[0], patients, n_replicates=replicates, rng=rng)
        found["bootstrap"] += _holds((drawn.low, drawn.high), truth)
        found["delong"] += _holds(by_patient.interval(), truth)
        found["delong_stays_alone"] += _holds(alone.interval(), truth)
        found["paired_test"] += by_patient.difference(0, 1)[3] < 1 - LEVEL
        found["shuffled"] += _holds((mixed.low, mixed.high), 0.5)
        tick(done + 1)
    return {name: count / times for name, count in found.items()} | {"true_auc": truth}


def _holds(bounds: tuple[float | None, float | None], value: float) -> bool:
    low, high = bounds
    return low is not None and high is not None and low <= value <= high


def main(arguments: list[str] | None = None) -> int:
    """Simulate and print; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m train.recipes.coverage",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--patients", type=positive_number, default=300, metavar="N", help="(300)")
    parser.add_argument("--times", type=positive_number, default=2000, metavar="N", help="samples (2000)")
    parser.add_argument("--replicates", type=positive_number, default=500, metavar="N", help="(500)")
    parser.add_argument("--seed", type=seed_number, default=0, metavar="S", help="(0)")
    options = parser.parse_args(arguments)
    with progress_bar("coverage", " samples") as bar:
        found = simulate(
            n_patients=options.patients,
            times=options.times,
            replicates=options.replicates,
            seed=options.seed,
            tick=lambda done: bar(done, options.times, ""),
        )
    say(f"{options.times:,} samples of {options.patients} patients, true AUC {found['true_auc']:.3f}:")
    for name, words in {
        "bootstrap": "bootstrap of patients holds the truth",
        "delong": "DeLong by patient holds the truth",
        "delong_stays_alone": "DeLong with stays as independent holds the truth",
        "paired_test": "the paired test calls two equally good models different",
        "shuffled": "the interval of shuffled labels holds 0.5",
    }.items():
        say(f"  {found[name]:6.1%}  {words}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
