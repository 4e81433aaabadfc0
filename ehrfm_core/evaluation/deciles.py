"""How often an outcome happens in each tenth of a measure, and how much is charted there."""

from __future__ import annotations

import polars as pl

from ehrfm_core.evaluation.features import FEATURES, measured
from ehrfm_core.evaluation.proportions import wilson_interval
from ehrfm_core.evaluation.sites import Stays
from ehrfm_core.outcomes import Outcome
from ehrfm_core.study.layout import RESULT_FILES


def deciles(test: Stays, outcome: Outcome) -> pl.DataFrame:
    """Rows of `deciles.parquet` for one site and outcome: one a feature and tenth of the stays that count.

    A stay's decile is 1 + the number of the feature's deciles (its quantiles .1 … .9 over these stays) that
    lie below its value. Equal values are never parted, so that ties leave fewer than ten groups, and a
    feature that is the same for every stay leaves one. `low` and `high` are the least and greatest value in
    it, the interval of `rate` is Wilson's (JASA 1927) and takes stays as independent, `mean_tokens` is the
    mean of n_tokens. Stays without the feature are left out; without any there are no rows.
    """
    frame = test.counting(outcome).frame
    schema = RESULT_FILES["deciles"]
    features = measured(frame)
    if frame.is_empty() or not features:
        return pl.DataFrame(schema=schema)
    value = pl.col("value")
    below = [(value.quantile(k / 10, interpolation="linear") < value).cast(pl.Int32) for k in range(1, 10)]
    table = (
        frame.select(outcome.name, "n_tokens", pl.col(features).cast(pl.Float64))
        .unpivot(features, index=[outcome.name, "n_tokens"], variable_name="feature")
        .filter(value.is_finite())
        .with_columns((1 + pl.sum_horizontal(below)).over("feature").alias("decile"))
        .group_by(pl.col("feature").cast(pl.Enum(list(FEATURES))), "decile")
        .agg(
            value.min().alias("low"),
            value.max().alias("high"),
            pl.len().alias("n"),
            pl.col(outcome.name).sum().alias("n_events"),
            pl.col("n_tokens").mean().alias("mean_tokens"),
        )
        .sort("feature", "decile")
    )
    low, high = wilson_interval(table["n_events"].to_numpy(), table["n"].to_numpy())
    return table.select(
        pl.lit(test.site).alias("site"),
        pl.lit(outcome.name).alias("outcome"),
        "feature",
        "decile",
        "low",
        "high",
        "n",
        "n_events",
        (pl.col("n_events") / pl.col("n")).alias("rate"),
        pl.Series("ci_low", low),
        pl.Series("ci_high", high),
        "mean_tokens",
    ).cast(schema)  # type: ignore[arg-type]
