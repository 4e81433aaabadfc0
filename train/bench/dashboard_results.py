"""Paths and results of the study that `python -m train bench dashboard` makes: full size, from no model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from ehrfm_core.evaluation.features import FEATURES, JOINT
from ehrfm_core.evaluation.proportions import wilson_interval
from ehrfm_core.outcomes import OUTCOMES
from ehrfm_core.study.layout import RESULT_FILES

OFF_MAP = 8.0
HOURS = 24
MODELS = {"probe": 1.3, "baseline_token_counts": 0.9}  # how much their scores know of the label
ADJUSTMENTS = ("unadjusted", "tokens_age_sex", "joint", "joint_tokens_age_sex")


def tables(sites: Mapping[str, pl.DataFrame], *, seed: int) -> dict[str, pl.DataFrame]:
    """Every result table; `sites` has stays joined with dynamics, source first. Some have no rows."""
    rng = np.random.default_rng([seed, 1])
    tests = {site: frame.filter(split="test") for site, frame in sites.items()}
    found = {name: pl.DataFrame(schema=schema) for name, schema in RESULT_FILES.items()}
    predictions = _predictions(tests, rng)
    runs = predictions.group_by(
        [c for c in predictions.columns if c not in ("hospitalization_id", "label", "probability")],
        maintain_order=True,
    ).agg(n=pl.len().cast(pl.Int64), n_events=pl.col("label").sum().cast(pl.Int64))
    half = 0.5 / np.sqrt(runs["n_events"].to_numpy() + 1)
    auc = rng.uniform(0.6, 0.9, len(runs))
    grid = pl.DataFrame({"at": np.linspace(0.005, 0.5, 100)})
    keys = runs.drop("n", "n_events")
    curves = keys.join(grid, how="cross")
    benefit = 0.05 - pl.col("at") / 10
    return found | {
        "predictions": predictions,
        "metrics": runs.with_columns(
            subgroup=pl.lit("all"),
            metric=pl.lit("roc_auc"),
            estimate=pl.Series(auc),
            ci_low=pl.Series(np.maximum(0, auc - half)),
            ci_high=pl.Series(np.minimum(1, auc + half)),
        ),
        "calibration_curves": curves.with_columns(
            predicted="at", observed=pl.col("at") * 0.9, ci_low=pl.col("at") * 0.8, ci_high=pl.col("at")
        ),
        "decision_curves": curves.with_columns(
            threshold="at",
            net_benefit=benefit,
            ci_low=benefit - 0.01,
            ci_high=benefit + 0.01,
            everybody=benefit - 0.02,
        ),
        "associations": _associations(tests, rng),
        "deciles": _deciles(tests),
        "token_types": _token_types(tests),
    }


def _predictions(tests: Mapping[str, pl.DataFrame], rng: np.random.Generator) -> pl.DataFrame:
    source = next(iter(tests))
    parts = []
    for site, test in tests.items():
        ways = [("in_distribution", "none", 0.0)] if site == source else [("zero_shot", "none", 0.0)]
        ways += [] if site == source else [("adapted", "refit", 1.0)]
        for arm, method, fraction in ways:
            for name, outcome in OUTCOMES.items():
                counted = test.filter(outcome.counts())
                label = counted[name].to_numpy().astype(bool)
                for model, known in MODELS.items():
                    logit = -3 + known * label + rng.normal(size=len(label))
                    parts.append(
                        counted.select("hospitalization_id").with_columns(
                            model=pl.lit(model),
                            arm=pl.lit(arm),
                            train_site=pl.lit(source),
                            test_site=pl.lit(site),
                            adapt_method=pl.lit(method),
                            adapt_fraction=pl.lit(fraction),
                            repeat=pl.lit(0, pl.Int32),
                            outcome=pl.lit(name),
                            label=pl.Series(label),
                            probability=pl.Series(1 / (1 + np.exp(-logit))),
                        )
                    )
    return pl.concat(parts)


def _associations(tests: Mapping[str, pl.DataFrame], rng: np.random.Generator) -> pl.DataFrame:
    rows: list[dict[str, Any]] = []
    for site, test in tests.items():
        for name, outcome in OUTCOMES.items():
            counted = test.filter(outcome.counts())
            for feature in FEATURES:
                for adjustment in ADJUSTMENTS if feature in JOINT else ADJUSTMENTS[:2]:
                    value = float(rng.normal(0.3, 0.4))
                    row: dict[str, Any] = {"site": site, "outcome": name, "feature": feature}
                    rows.append(
                        row
                        | {"adjustment": adjustment}
                        | {"coefficient": value, "ci_low": value - 0.1, "ci_high": value + 0.1}
                        | {"p_value": 0.04, "n": len(counted), "n_events": int(counted[name].sum())}
                        | {"sd": 2.0, "vif": 1.5, "paper_coefficient": None}
                    )
    return pl.DataFrame(rows, infer_schema_length=None)


def _deciles(tests: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    parts = []
    for site, test in tests.items():
        for name, outcome in OUTCOMES.items():
            counted = test.filter(outcome.counts())
            tenth = pl.Series((np.arange(len(counted)) * 10 // max(1, len(counted)) + 1).astype(np.int32))
            for feature in FEATURES:
                table = (
                    counted.sort(feature, maintain_order=True)
                    .group_by(decile=tenth, maintain_order=True)
                    .agg(
                        low=pl.col(feature).min().cast(pl.Float64),
                        high=pl.col(feature).max().cast(pl.Float64),
                        n=pl.len(),
                        n_events=pl.col(name).sum(),
                        rate=pl.col(name).mean(),
                        mean_tokens=pl.col("n_tokens").mean(),
                    )
                )
                low, high = wilson_interval(table["n_events"].to_numpy(), table["n"].to_numpy())
                parts.append(
                    table.with_columns(
                        site=pl.lit(site),
                        outcome=pl.lit(name),
                        feature=pl.lit(feature),
                        ci_low=pl.Series(low),
                        ci_high=pl.Series(high),
                    )
                )
    return pl.concat(parts)


def _token_types(tests: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    rows = []
    for site, test in tests.items():
        tokens = int(test["n_tokens"].sum())
        for family, share in (("lab", 0.4), ("vital", 0.4), ("prefix", 0.2)):
            row: dict[str, Any] = dict.fromkeys(RESULT_FILES["token_types"], 1.0 + share)
            row |= {"site": site, "family": family, "name": None, "prefix": family == "prefix"}
            row |= {"n_tokens": round(tokens * share), "n_stays": len(test)}
            rows.append(row | {"path_share": share, "information_share": share})
    return pl.DataFrame(rows, infer_schema_length=None)


def maps(sites: list[str], n: int) -> dict[str, Any]:
    """`maps.json`."""
    quality = {"step_fidelity": 0.6, "trustworthiness": 0.95, "neighbour_overlap": 0.3}
    quality |= {"site_auc_2d": 0.8, "site_auc_full": 0.99}
    fitted = {"n_fitted": n, "seed": 0, "versions": {}, "x_range": [-8.0, 9.0], "y_range": [-8.0, 9.0]}
    fitted["quality"] = quality | {"off_map_share": dict.fromkeys(sites, 0.02)}
    return {
        "fitted_on": "nothing: drawn for a measurement",
        "n_fitted": n,
        "hidden_size": 8,
        "n_components": 8,
        "off_map_beyond": {"distance": OFF_MAP, "quantile": 0.99, "measured_on": "tuning split"},
        "pca": fitted | {"explained_variance": [0.3, 0.1], "kept_variance": 1.0},
        "umap": fitted | {"n_neighbors": 15, "min_dist": 0.1},
    }


def summary(stage: str, sites: Mapping[str, pl.DataFrame]) -> dict[str, Any]:
    """Key figures of a stage in the manifest."""
    if stage == "tokenize":
        means = {site: float(frame["n_tokens"].to_numpy().mean()) for site, frame in sites.items()}
        families = {site: {"lab": mean / 2, "vital": mean / 2} for site, mean in means.items()}
        return {"sites": {site: {"families": parts} for site, parts in families.items()}}
    if stage != "pretrain":
        return {}
    nats = {"tuning_loss": 2.4, "unigram_nats": 3.4, "bigram_nats": 2.8, "uniform_nats": 3.9}
    return {"parameters": 1, "steps": 1, **nats}


def paths(
    ids: pl.Series, severity: np.ndarray, site: int, rng: np.random.Generator, stays: pl.DataFrame
) -> pl.DataFrame:
    """`paths` of some stays of site number `site`: a walk whose risks rise with `severity`."""
    n, hours = len(ids), HOURS + 1
    walk = np.cumsum(rng.normal(scale=0.3, size=(n, hours, 2)), axis=1)
    walk += rng.normal(scale=2, size=(n, 1, 2)) + severity[:, None, None] + site
    x, y = walk[..., 0].ravel(), walk[..., 1].ravel()
    distance = rng.gamma(8, 0.5, n * hours) + site
    drift = np.cumsum(rng.normal(scale=0.12, size=(n, hours)), axis=1) + 0.9 * severity[:, None]
    frame = pl.DataFrame(
        {
            "hospitalization_id": ids.gather(np.repeat(np.arange(n), hours)),
            "hour": np.tile(np.arange(hours), n),
            "umap_x": 5 * np.sin(x / 3) + 0.4 * y,
            "umap_y": 5 * np.cos(y / 3) - 0.4 * x,
            "pca_x": x,
            "pca_y": y,
            "map_distance": distance,
            "off_map": distance > OFF_MAP,
            "step": rng.gamma(4, 1.2, n * hours),
            "travelled": rng.gamma(8, 3, n * hours),
            "n_events": rng.poisson(4, n * hours),
        }
    )
    counts = stays.select(outcome.counts().alias(name) for name, outcome in OUTCOMES.items())
    risks = {
        name: np.where(
            np.repeat(counts[name].to_numpy(), hours), (1 / (1 + np.exp(3 - drift))).ravel(), np.nan
        )
        for name in OUTCOMES
    }
    return frame.with_columns(
        **{f"risk_{name}": pl.Series(value).fill_nan(None) for name, value in risks.items()}
    )
