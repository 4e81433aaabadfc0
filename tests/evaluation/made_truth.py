"""Two sites with predictions of known quality and a known truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from ehrfm_core.evaluation.oracle import Comparison, against_truth
from ehrfm_core.outcomes import OUTCOMES

ID = "hospitalization_id"
ARMS = {"home": {"in_distribution": 0.5}, "away": {"zero_shot": 0.5, "adapted": 0.5}}


@dataclass
class World:
    """What a study and the synthesis tell of two sites."""

    predictions: pl.DataFrame
    patients: pl.DataFrame
    truths: dict[str, pl.DataFrame]

    def tested(self, *, n_bootstrap: int = 200, seed: int = 0) -> list[Comparison]:
        return against_truth(self.predictions, self.patients, self.truths, seed=seed, n_bootstrap=n_bootstrap)


def make_world(
    *,
    n: int = 600,
    seed: int = 0,
    noise: dict[str, dict[str, float]] | None = None,
    spread: dict[str, float] | None = None,
    certain: bool = False,
    error: float = 0.0,
) -> World:
    """Two sites. A model's logit is the true one with normal noise of the size given for each site and arm.

    `spread` is the SD of the true logit at a site. With `certain`, the true risk is the label.
    """
    rng = np.random.default_rng(seed)
    predictions, patients, truths = [], [], {}
    for site, arms in (noise or ARMS).items():
        ids = [f"{site[0]}{i:05d}" for i in rng.permutation(n)]
        owner = [f"p{i}" for i in rng.integers(0, n // 2, n)]
        patients.append(pl.DataFrame({"test_site": site, ID: ids, "patient_id": owner}))
        truth: dict[str, object] = {ID: ids}
        for name in OUTCOMES:
            logit = -1 + (spread or {}).get(site, 1.3) * rng.normal(size=n)
            risk = 1 / (1 + np.exp(-logit))
            label = rng.random(n) < risk
            told = label.astype(float) if certain else risk + error * rng.normal(size=n)
            truth |= {f"risk_{name}": told, f"risk_{name}_se": np.full(n, error)}
            for arm, size in arms.items():
                probability = 1 / (1 + np.exp(-(logit + size * rng.normal(size=n))))
                predictions.append(
                    pl.DataFrame({ID: ids, "label": label, "probability": probability}).with_columns(
                        model=pl.lit("probe"),
                        arm=pl.lit(arm),
                        train_site=pl.lit("home"),
                        test_site=pl.lit(site),
                        adapt_method=pl.lit("refit" if arm == "adapted" else "none"),
                        adapt_fraction=pl.lit(float(arm == "adapted")),
                        repeat=pl.lit(0, dtype=pl.Int32),
                        outcome=pl.lit(name),
                    )
                )
        truths[site] = pl.DataFrame(truth)
    return World(pl.concat(predictions), pl.concat(patients), truths)
