"""Results without the figures from which 1 to 10 stays could be counted.

A measure of ranking or calibration is an estimate and stays; what is a share of few stays, or a sum over
them, does not: with n and events beside it the share is their number.
"""

from __future__ import annotations

import polars as pl

from ehrfm_core.small_cells import MIN_CELL

SENSITIVITY = "sensitivity_at_90_specificity"
CARRIED = tuple(f"carried_{name}" for name in ("sensitivity", "specificity", "ppv", "alerts_per_100"))
RUN = ["model", "arm", "train_site", "test_site", "adapt_method", "adapt_fraction", "repeat", "outcome"]
FIGURES = ("estimate", "ci_low", "ci_high")
DIGITS = 3  # of net benefit: enough to act on, too few to solve for the alerts behind it


def shares(metrics: pl.DataFrame) -> pl.DataFrame:
    """Rows of metrics.parquet, sensitivity and the like null where a cell of the fourfold table is small."""
    sensitivity, specificity, _, alerts = CARRIED
    n, events = pl.col("n"), pl.col("n_events")
    whole = (
        pl.when(metric(SENSITIVITY) | metric(sensitivity))
        .then(events)
        .when(metric(specificity))
        .then(n - events)
    )
    whole = whole.when(metric(alerts)).then(n)
    share = pl.col("estimate") / pl.when(metric(alerts)).then(100).otherwise(1)
    part = (share * whole).round().cast(pl.Int64)
    small = _few(part) | _few(whole - part) | _few(events) | _few(n - events)
    table = pl.col("metric").is_in(CARRIED)
    untold = (
        pl.when(table).then((small & table).any().over([*RUN, "subgroup"]))
        .when(metric(SENSITIVITY)).then(small)
        .otherwise(pl.lit(value=False))
        .fill_null(value=False)
    )  # fmt: skip
    return metrics.with_columns(pl.when(~untold).then(pl.col(FIGURES)))


def metric(name: str) -> pl.Expr:
    """Whether a row is of this metric."""
    return pl.col("metric") == name


def net_benefit(curves: pl.DataFrame, metrics: pl.DataFrame) -> pl.DataFrame:
    """Rows of decision_curves.parquet of runs with events and others enough to be told."""
    n, events = pl.col("n"), pl.col("n_events")
    known = metrics.filter(pl.col("subgroup") == "all", ~(_few(events) | _few(n - events)))
    enough = curves.join(known.select(RUN).unique(), on=RUN, how="semi", maintain_order="left")
    return enough.with_columns(pl.col("net_benefit", "ci_low", "ci_high", "everybody").round(DIGITS))


def flagged(outliers: pl.DataFrame) -> pl.DataFrame:
    """Rows of outliers.parquet, without shares of few stays and those they would follow from."""
    n, events = pl.col("n"), pl.col("n_events")
    share = pl.col("measure").is_in(["share_flagged", "rate_flagged", "rate_others"])
    small = share & (_few(n) | _few(events) | _few(n - events)).fill_null(value=False)
    untold = share & small.any().over("site", "detector", "outcome")
    return outliers.with_columns(pl.when(~untold).then(pl.col(FIGURES)))


def _few(count: pl.Expr) -> pl.Expr:
    return count.is_between(1, MIN_CELL - 1)
