"""Sites of any size for the tests of the evaluation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from ehrfm_core.evaluation.features import FEATURES, JOINT
from ehrfm_core.evaluation.sites import ID, SiteData

HIDDEN = 6
VOCABULARY = 30


def make_site(
    name: str, n: int, *, seed: int = 0, shares: tuple[float, float, float] = (0.6, 0.1, 0.3)
) -> SiteData:
    """One severity behind states, tokens, path and outcomes; 1.5 stays a patient, one split a patient."""
    rng = np.random.default_rng(seed)
    severity = rng.normal(size=n)
    patients = rng.integers(0, max(1, int(n / 1.5)), n)
    splits = rng.choice(["train", "tuning", "test"], patients.max() + 1, p=shares)[patients]

    def happens(base: float) -> np.ndarray:
        return rng.random(n) < 1 / (1 + np.exp(-(base + 1.3 * severity)))

    icu, imv = happens(-0.5), happens(-1)
    n_tokens = rng.poisson(12 * np.exp(0.3 * severity)) + 2
    ids = [f"{name}-{i:05d}" for i in rng.permutation(n)]
    stays = pl.DataFrame(
        {
            ID: ids,
            "patient_id": [f"p{patient}" for patient in patients],
            "split": splits,
            "age": rng.normal(60, 15, n),
            "sex": rng.choice(["Female", "Male"], n),
            "race": rng.choice(["White", "Asian"], n),
            "ethnicity": ["Non-Hispanic"] * n,
            "los_hours": 24 + rng.gamma(1.5, 60, n),
            "n_tokens": n_tokens,
            "death": happens(-1.5),
            "long_los": happens(-0.7),
            "icu": icu,
            "imv": imv,
            "icu_24h": icu & (rng.random(n) < 0.4),
            "imv_24h": imv & (rng.random(n) < 0.4),
        }
    )
    tokens = pl.DataFrame(
        {
            "row": np.repeat(np.arange(n), n_tokens),
            "tokens": rng.integers(0, VOCABULARY, n_tokens.sum()).astype(np.int32),
        }
    )
    windows = tokens.group_by("row", maintain_order=True).agg("tokens")
    dynamics = pl.DataFrame(
        {
            ID: ids,
            "path_length": n_tokens * rng.gamma(40, 0.1, n),
            "max_jump": 20 + severity + rng.normal(size=n),
            "anomaly_score": 0.5 + 0.03 * severity + 0.03 * rng.normal(size=n),
        }
    )
    newer = np.random.default_rng(seed + 1)
    dynamics = dynamics.with_columns(
        pl.Series(feature, 5 + 0.5 * severity + newer.normal(size=n))
        for feature in FEATURES
        if feature not in JOINT
    )
    states = rng.normal(size=(n, HIDDEN)) + severity[:, None] * np.linspace(-1, 1, HIDDEN)
    return SiteData(
        name=name,
        stays=stays,
        state_ids=ids,
        states=states.astype(np.float32),
        dynamics=dynamics,
        windows=windows.select(pl.Series(ID, ids), "tokens"),
    )


def with_stays(site: SiteData, *columns: pl.Expr) -> SiteData:
    """The same site with columns of its stays replaced."""
    return replace(site, stays=site.stays.with_columns(*columns))


def shuffled(site: SiteData, seed: int) -> SiteData:
    """The same site with the rows of every table in another order."""
    rng = np.random.default_rng(seed)
    stays, states, dynamics, windows = (rng.permutation(site.stays.height) for _ in range(4))
    return SiteData(
        name=site.name,
        stays=site.stays[stays],
        state_ids=[site.state_ids[i] for i in states],
        states=site.states[states],
        dynamics=site.dynamics[dynamics],
        windows=site.windows[windows],
    )
