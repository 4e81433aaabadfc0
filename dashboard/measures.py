"""Small statistics for the screen: pure functions on frames and arrays.

Everything here is computed from full-space measures and outcomes, nothing from the 2-D maps (except the
density that draws the maps' background).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from ehrfm_core.outcomes import OUTCOMES, Outcomes
from ehrfm_core.small_cells import MIN_CELL, joined, small, unsafe

__all__ = ["MIN_CELL", "MIN_EVENTS"]

MIN_EVENTS = 10  # below this an estimate is drawn with a warning
FEATURES = {
    "path_length": "Path length",
    "max_jump": "Largest jump",
    "anomaly_score": "Anomaly score",
    "n_tokens": "Tokens in 24 h",
}
MORE_FEATURES = FEATURES | {
    "event_path_length": "Path length, events only",
    "event_max_jump": "Largest event jump",
    "mean_jump": "Mean jump",
    "displacement": "Net displacement",
    "tortuosity": "Tortuosity",
    "mean_information": "Mean information",
}


_BINS = {"bin": pl.Int64(), "middle": pl.Float64(), "n": pl.UInt32(), "rate": pl.Float64()}


def bin_count(n: int) -> int:
    """Deciles where there are stays enough, fewer bins where there are not (at least 20 a bin, 3 bins)."""
    return int(np.clip(n // 20, 3, 10))


def rate_by_quantile(frame: pl.DataFrame, feature: str, outcome: str) -> pl.DataFrame:
    """Outcome rate in quantile bins of a feature, with Wilson intervals.

    Returns one row a bin: bin (from 1), low, high, middle (the feature's range and median), n, events, rate,
    ci_low, ci_high. Stays without the feature are left out. Bins with 1 to 10 stays with the outcome or
    without it are joined with their neighbours; too few stays altogether give no rows.
    """
    known = frame.select(feature, outcome).drop_nulls()
    if len(known) < MIN_CELL:
        return pl.DataFrame(schema=_BINS)
    values = known[feature].cast(pl.Float64).to_numpy()
    edges = np.unique(np.quantile(values, np.linspace(0, 1, bin_count(len(known)) + 1)))
    index = np.clip(np.searchsorted(edges, values, side="right"), 1, max(1, len(edges) - 1))
    happened = known[outcome].to_numpy()
    bins, index = np.unique(index, return_inverse=True)
    group = joined(np.bincount(index), np.bincount(index, weights=happened, minlength=len(bins)))
    if not len(group):
        return pl.DataFrame(schema=_BINS)
    table = (
        known.with_columns(bin=pl.Series(1 + group[index]))
        .group_by("bin")
        .agg(
            low=pl.col(feature).min().cast(pl.Float64),
            high=pl.col(feature).max().cast(pl.Float64),
            middle=pl.col(feature).median(),
            n=pl.len(),
            events=pl.col(outcome).sum(),
            rate=pl.col(outcome).mean(),
        )
        .sort("bin")
    )
    from ehrfm_core.evaluation.proportions import wilson_interval  # a second to import: not on the first page

    low, high = wilson_interval(table["events"].to_numpy(), table["n"].to_numpy())
    return table.with_columns(ci_low=pl.Series(low), ci_high=pl.Series(high))


def joined_deciles(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of `deciles.parquet`, of one measure, neighbours joined as in `rate_by_quantile`."""
    from ehrfm_core.evaluation.proportions import wilson_interval

    rows = rows.sort("decile")
    group = joined(rows["n"].to_numpy(), rows["n_events"].to_numpy())
    if not len(group):
        return rows.clear()
    weighted = (pl.col("mean_tokens") * pl.col("n")).sum() / pl.col("n").sum()
    table = (
        rows.group_by(pl.Series("group", group), maintain_order=True)
        .agg(
            pl.col("decile").mean(),
            pl.col("low").min(),
            pl.col("high").max(),
            pl.col("n", "n_events").sum(),
            mean_tokens=weighted,
        )
        .with_columns(rate=pl.col("n_events") / pl.col("n"))
    )
    low, high = wilson_interval(table["n_events"].to_numpy(), table["n"].to_numpy())
    return table.with_columns(ci_low=pl.Series(low), ci_high=pl.Series(high))


def spearman(frame: pl.DataFrame, columns: Sequence[str]) -> np.ndarray:
    """Matrix of Spearman correlations over the stays that have every column; NaN where one does not vary."""
    known = frame.select(columns).drop_nulls()
    if len(known) < 3:
        return np.full((len(columns), len(columns)), np.nan)
    ranks = known.select(pl.all().cast(pl.Float64).rank("average")).to_numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.corrcoef(ranks, rowvar=False)


def inside_outside(frame: pl.DataFrame, outcome: str, threshold: float) -> pl.DataFrame:
    """Outcome rate of the stays above and below a threshold of the anomaly score.

    Two rows (flagged true and false): n, share of all, events, rate, ci_low, ci_high, mean_tokens. A group
    without stays has null rates; so have both where either has 1 to 10 stays with the outcome or without it,
    since one would follow from the other.
    """
    known = frame.filter(pl.col("anomaly_score").is_not_null())
    grouped = (
        known.group_by(flagged=pl.col("anomaly_score") > threshold)
        .agg(n=pl.len(), events=pl.col(outcome).sum(), mean_tokens=pl.col("n_tokens").mean())
        .with_columns(n=pl.col("n").cast(pl.Int64), events=pl.col("events").cast(pl.Int64))
    )
    both = pl.DataFrame({"flagged": [True, False]}).join(
        grouped, on="flagged", how="left", maintain_order="left"
    )
    both = both.with_columns(
        pl.col("n", "events").fill_null(0), share=pl.col("n").fill_null(0) / max(1, len(known))
    )
    n = both["n"].to_numpy()
    from ehrfm_core.evaluation.proportions import wilson_interval

    low, high = wilson_interval(both["events"].to_numpy(), np.maximum(n, 1))
    untold = bool((unsafe(both["events"].to_numpy(), n) | small(n)).any())
    empty = (pl.col("n") == 0) | untold
    return both.with_columns(
        rate=pl.when(empty).then(None).otherwise(pl.col("events") / pl.col("n")),
        ci_low=pl.when(empty).then(None).otherwise(pl.Series(low)),
        ci_high=pl.when(empty).then(None).otherwise(pl.Series(high)),
    )


def density(
    x: np.ndarray, y: np.ndarray, x_range: Sequence[float], y_range: Sequence[float], bins: int
) -> np.ndarray:
    """Counts on a grid (bins × bins, rows along y) within the map's ranges."""
    counts, _, _ = np.histogram2d(y, x, bins=bins, range=[list(y_range), list(x_range)])
    return counts


def centres(low: float, high: float, bins: int) -> np.ndarray:
    """Middles of equal bins between two bounds."""
    edges = np.linspace(low, high, bins + 1)
    return (edges[:-1] + edges[1:]) / 2


def availability(frames: Mapping[str, pl.DataFrame], outcomes: Outcomes = OUTCOMES) -> pl.DataFrame:
    """One row a site and outcome: stays that count, events and rate, in all splits and in the test split.

    Also verdict. Events of 1 to 10, or of all but so many, are null with the rate; so are those of all splits
    where they would give away so few of the others.
    """
    rows = []
    for site, frame in frames.items():
        for name, outcome in outcomes.items():
            counted = frame.filter(pl.col(f"counts_{name}"))
            test = counted.filter(pl.col("split") == "test")
            n, test_n = len(counted), len(test)
            events, test_events = (int(part[name].sum() or 0) for part in (counted, test))
            told = not (unsafe(events, n) or small(n) or unsafe(events - test_events, n - test_n))
            test_told = not (unsafe(test_events, test_n) or small(test_n))
            rows.append(
                {
                    "site": site,
                    "outcome": outcome.label,
                    "n": None if small(n) else n,
                    "events": events if told else None,
                    "rate": counted[name].mean() if told else None,
                    "test_n": None if small(test_n) else test_n,
                    "test_events": test_events if test_told else None,
                    "verdict": verdict(test_n, test_events),
                }
            )
    return pl.DataFrame(rows, infer_schema_length=None)


def verdict(n: int, events: int) -> str:
    """Whether a test split can answer for an outcome."""
    if n == 0:
        return "no stays count"
    if events in (0, n):
        return "one class only: nothing to rank"
    if min(events, n - events) < MIN_EVENTS:
        return "too few events to read"
    return "can be read"
