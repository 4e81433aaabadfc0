"""A synthetic hospital's stays beside those that the paper describes (arXiv 2504.10422, Tables 1 and 2)."""

from __future__ import annotations

import numpy as np
import polars as pl
from statsmodels.stats.proportion import proportion_confint

from ehrfm_core.evaluation.intervals import percentile_interval, replicates
from ehrfm_core.published import published

SPLIT = "test"  # the paper's table is of its test splits
MEANS = ("n_tokens", "age")
SHARES = {  # true, false, or null where the data cannot tell
    "female": (pl.col("sex") == "Female").fill_null(value=False),
    "african_american": (pl.col("race") == "Black or African American").fill_null(value=False),
    **{name: pl.col(name) for name in ("death", "long_los", "icu_24h", "icu", "imv_24h", "imv")},
}
Row = tuple[int, float | None, float | None, float | None]  # n, estimate and its interval
SCHEMA = {
    "characteristic": pl.String,
    "n": pl.Int64,
    "synthetic": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
    "published": pl.Float64,
    "difference": pl.Float64,
}


def against_paper(stays: pl.DataFrame, site: str, *, seed: int = 0, n_replicates: int = 1000) -> pl.DataFrame:
    """The test split of a hospital beside the published one of `site` (mimic or ucmc).

    `stays` is the site's `stays.parquet`. One row a characteristic of the published table: characteristic, n
    (stays it is known of), synthetic (a mean of n_tokens or age, else a share), ci_low and ci_high (95 %),
    published, and difference = synthetic − published. Means have percentile intervals over resampled
    patients, shares Wilson's, which take stays for independent. What is not known of any stay is null;
    the number of stays has neither interval nor difference, since it is what the user asked for.
    """
    test = stays.filter(pl.col("split") == SPLIT)
    values: dict[str, Row] = {"n_stays": (test.height, float(test.height), None, None)}
    values |= _means(test, np.random.default_rng(seed), n_replicates)
    values |= {name: _share(test.select(known.alias(name))[name]) for name, known in SHARES.items()}
    table = published("cohort").frame.filter(site=site).select("characteristic", published="all")
    rows = [(name, *found) for name, found in values.items()]
    made = pl.DataFrame(rows, schema=list(SCHEMA)[:5], orient="row", infer_schema_length=None)
    known = pl.when(pl.col("characteristic") != "n_stays").then(pl.col("synthetic") - pl.col("published"))
    joined = table.join(made, on="characteristic", how="left", maintain_order="left")
    return joined.with_columns(known.alias("difference")).select(
        pl.col(name).cast(dtype) for name, dtype in SCHEMA.items()
    )


def _means(test: pl.DataFrame, rng: np.random.Generator, n_replicates: int) -> dict[str, Row]:
    if test.is_empty():
        return dict.fromkeys(MEANS, (0, None, None, None))
    columns = test.select(MEANS).to_numpy().astype(np.float64)  # neither is ever null

    def means(weights: np.ndarray) -> np.ndarray:
        return (weights @ columns).T / weights.sum(axis=1)

    drawn = replicates([means], test["patient_id"].to_numpy(), n_replicates=n_replicates, rng=rng)
    found: dict[str, Row] = {}
    for name, estimate, values in zip(MEANS, columns.mean(axis=0), drawn, strict=True):
        interval = percentile_interval(values)
        found[name] = (test.height, float(estimate), interval.low, interval.high)
    return found


def _share(known: pl.Series) -> Row:
    return share_with_interval(int(known.sum()), known.count())


def share_with_interval(count: int, n: int) -> Row:
    """n, the share count / n and its Wilson interval (95 %); without stays there is none.

    >>> n, share, low, high = share_with_interval(0, 100)
    >>> n, share, round(low, 3), round(high, 3)
    (100, 0.0, 0.0, 0.037)
    >>> share_with_interval(0, 0)
    (0, None, None, None)
    """
    if not n:
        return 0, None, None, None
    low, high = proportion_confint(count, n, method="wilson")
    return n, count / n, max(float(low), 0.0), min(float(high), 1.0)
