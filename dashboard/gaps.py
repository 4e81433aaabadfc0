"""What moving a model costs and what local data bring, outcome by outcome, each with its interval.

Pure functions on the tables of results. Three rungs: at home, at the target unchanged, there adapted to all
of its training split. The gap is home less target, the gain adapted less unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import polars as pl

from dashboard.measures import MIN_CELL, MIN_EVENTS
from ehrfm_core.outcomes import Outcomes

_Z = 1.959964


@dataclass(frozen=True)
class Estimate:
    """A figure, its 95 % interval (None: too few for one), and on how many stays and events it rests."""

    value: float
    low: float | None
    high: float | None
    n: int = 0
    n_events: int = 0

    @property
    def clear(self) -> int:
        """1 where the whole interval lies above 0, -1 where it lies below, 0 where neither can be said."""
        if self.low is None or self.high is None:
            return 0
        return 1 if self.low > 0 else -1 if self.high < 0 else 0

    @property
    def enough(self) -> bool:
        """Whether either class has events enough for a difference to have an interval."""
        return min(self.n_events, self.n - self.n_events) >= MIN_EVENTS


@dataclass(frozen=True)
class Steps:
    """One outcome's rungs and the differences between them; None where there is no such figure.

    There is none with one class, nor on fewer than eleven stays.
    """

    outcome: str
    label: str
    home: Estimate | None
    away: Estimate | None = None
    adapted: Estimate | None = None
    gap: Estimate | None = None
    gain: Estimate | None = None

    @property
    def left(self) -> bool:
        """Whether local data changed nothing, as where the tuning split chose to leave the model."""
        return self.gain is not None and self.gain.value == self.gain.low == self.gain.high == 0

    @property
    def recovered(self) -> Estimate | None:
        """Share of the loss that local data bring back; None unless there clearly is a loss."""
        if self.gap is None or self.gap.clear != 1 or self.gain is None:
            return None
        return share(self.gain, self.gap, self.away, self.adapted)


def steps(
    metrics: pl.DataFrame,
    outcomes: Outcomes,
    *,
    model: str,
    home: str,
    target: str | None,
    way: str,
    comparisons: pl.DataFrame | None = None,
    reweighting: pl.DataFrame | None = None,
) -> list[Steps]:
    """The rungs of a model of `home`, outcome by outcome; `way` is the adapt_method of the last.

    The gap's interval is the study's own (`reweighting`, resampling patients) where it has one for this
    model, else it follows from those of the two areas, which share no patient (`apart`). The gain's is that
    of the paired test in `comparisons`.
    """
    areas = metrics.filter(
        pl.col("model") == model,
        pl.col("train_site") == home,
        pl.col("metric") == "roc_auc",
        pl.col("subgroup") == "all",
        pl.col("repeat") == 0,
    )
    found = []
    for name, outcome in outcomes.items():
        own = areas.filter(pl.col("outcome") == name)
        at_home = _one(own.filter(arm="in_distribution", test_site=home))
        if target is None:
            found.append(Steps(name, outcome.label, at_home))
            continue
        there = own.filter(test_site=target)
        away = _one(there.filter(arm="zero_shot"))
        adapted = _one(there.filter(arm="adapted", adapt_method=way, adapt_fraction=1.0))
        stored = None
        if reweighting is not None and model == "probe":
            rows = reweighting.filter(
                site=target, outcome=name, quantity="gap", characteristics="population"
            ).drop_nulls("estimate")
            stored = _one(rows)
        gap = stored or (apart(at_home, away) if at_home and away else None)
        gain = None
        if comparisons is not None and adapted:
            gain = _one(
                comparisons.filter(
                    test_site=target,
                    outcome=name,
                    first_model=model,
                    first_arm="adapted",
                    first_adapt_method=way,
                    first_adapt_fraction=1.0,
                    second_model=model,
                    second_arm="zero_shot",
                ).rename({"difference": "estimate"})
            )
        found.append(Steps(name, outcome.label, at_home, away, adapted, gap, gain))
    return found


def apart(first: Estimate, second: Estimate) -> Estimate:
    """First less second of two areas on different patients.

    Interval: square and add the distances to the bounds (Newcombe, Stat Med 1998; 17: 873); none with few
    events on either side.

    >>> apart(Estimate(0.8, 0.77, 0.83, 900, 90), Estimate(0.6, 0.56, 0.64, 900, 90)).low
    0.15
    """
    value = first.value - second.value
    bounds = (first.low, first.high, second.low, second.high)
    if None in bounds or not (first.enough and second.enough):
        return Estimate(value, None, None)
    low = value - sqrt((first.value - bounds[0]) ** 2 + (bounds[3] - second.value) ** 2)  # type: ignore[operator]
    high = value + sqrt((bounds[1] - first.value) ** 2 + (second.value - bounds[2]) ** 2)  # type: ignore[operator]
    return Estimate(value, round(low, 12), round(high, 12))


def share(gain: Estimate, gap: Estimate, away: Estimate | None, adapted: Estimate | None) -> Estimate | None:
    """Gain over gap, with an interval by the delta method from the widths of the intervals at hand.

    Both hold the area of the unchanged model; how far it goes along with the adapted one's follows from the
    interval of their difference. None where one of the intervals is missing.
    """
    spreads = [_variance(x) if x else None for x in (gain, gap, away, adapted)]
    if None in spreads:
        return None
    gain_var, gap_var, away_var, adapted_var = spreads
    together = (adapted_var + away_var - gain_var) / 2  # type: ignore[operator]  # of unchanged and adapted
    ratio = gain.value / gap.value
    variance = (gain_var + ratio**2 * gap_var - 2 * ratio * (away_var - together)) / gap.value**2  # type: ignore[operator]
    half = _Z * sqrt(max(variance, 0.0))
    return Estimate(ratio, ratio - half, ratio + half)


def _variance(estimate: Estimate) -> float | None:
    if estimate.low is None or estimate.high is None:
        return None
    return ((estimate.high - estimate.low) / (2 * _Z)) ** 2


def _one(rows: pl.DataFrame) -> Estimate | None:
    if rows.is_empty():
        return None
    row = rows.row(0, named=True)
    if row["estimate"] is None or row["n"] < MIN_CELL:
        return None
    return Estimate(row["estimate"], row["ci_low"], row["ci_high"], row["n"] or 0, row["n_events"] or 0)
