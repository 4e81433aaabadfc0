"""Two cohorts beside each other: who they are, what became of them, and what was charted about them.

Effects are standardised mean differences (A − B over the pooled standard deviation; Austin, Stat Med 2009)
with the interval of Hedges and Olkin (1985); differences of rates have Newcombe's interval (Stat Med 1998,
method 10); q values are those of Benjamini and Hochberg (J R Stat Soc B 1995) over all tests of one table.
Counts from 1 to 10 are not told, nor those from which they would follow, and nothing is computed from either:
a row that is hidden in one of the two is hidden in both, since the other may be everyone less the first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from scipy import stats
from statsmodels.stats.multitest import fdrcorrection

from ehrfm_core.cohorts.charted import Charted
from ehrfm_core.evaluation.proportions import wilson_interval
from ehrfm_core.outcomes import Outcomes
from ehrfm_core.small_cells import MIN_CELL, hidden_levels, small, unsafe

NUMBERS = {
    "age": "Age, years",
    "los_hours": "Length of stay, hours",
    "n_tokens": "Tokens in the window",
    "path_length": "Path length",
    "event_max_jump": "Largest event jump",
    "anomaly_score": "Anomaly score",
}
LEVELS = {"sex": "Sex", "race": "Race", "ethnicity": "Ethnicity"}
FLAGS = {
    "outlier": "Flagged as outlier",
    "icu_24h": "ICU within the window",
    "imv_24h": "Ventilated within it",
}
Z = 1.959963984540054


def compare_outcomes(a: pl.DataFrame, b: pl.DataFrame, outcomes: Outcomes) -> pl.DataFrame:
    """One row an outcome, among the stays of each cohort that count for it.

    Columns: label, n_a, events_a, rate_a, n_b, events_b, rate_b, difference with diff_low and diff_high, and
    the effect's columns (see `_proportions`). `a` and `b` share no stay and have `counts_<outcome>`.
    """
    n, events = np.zeros((2, len(outcomes)), int), np.zeros((2, len(outcomes)), int)
    for row, frame in enumerate((a, b)):
        for column, name in enumerate(outcomes):
            counted = frame.filter(pl.col(f"counts_{name}"))[name]
            n[row, column], events[row, column] = len(counted), int(counted.sum() or 0)
    few = np.asarray(unsafe(n, np.array([[len(a)], [len(b)]])).any(axis=0))
    return _proportions([outcome.label for outcome in outcomes.values()], events, n, hidden=few)


def compare_characteristics(a: pl.DataFrame, b: pl.DataFrame) -> pl.DataFrame:
    """One row a characteristic: site, sex, race, ethnicity, flags, and means of numbers.

    Columns as of `compare_outcomes`; of a number, rate_a and rate_b are means, events are null.
    """
    labels: list[str] = []
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for column, title in ({"site": "Site"} | LEVELS).items():
        values = [frame[column].cast(pl.String) for frame in (a, b)]
        levels = pl.concat(values).drop_nulls().value_counts(sort=True)[column].to_list()
        labels += [f"{title}: {level}" for level in levels]
        parts.append(_levels(values, levels))
    for column, title in FLAGS.items():
        if column in a.columns:
            labels.append(title)
            found = _levels([frame[column] for frame in (a, b)], [True, False])
            parts.append((found[0][:, :1], found[1][:, :1], found[2][:1]))
    events, n = (np.concatenate([part[i] for part in parts], axis=1) for i in (0, 1))
    shares = _proportions(labels, events, n, hidden=np.concatenate([part[2] for part in parts]))
    whole = (pl.col(f"events_{side}") == pl.col(f"n_{side}") for side in "ab")
    shares = shares.filter(
        ~pl.all_horizontal(*whole).fill_null(value=False)
    )  # one site, one level: no contrast
    return _with_q(pl.concat([shares, _means(a, b)], how="diagonal_relaxed"))


def _levels(
    values: Sequence[pl.Series], levels: Sequence[object]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stays of each level, of how many (2 × k each), and which levels are hidden (k).

    Shares are of the stays where the level is known; where those that are not known are a small cell, of all.
    """
    sizes = np.array([[len(value)] for value in values])
    events = np.array([[int((value == level).sum()) for level in levels] for value in values]).reshape(2, -1)
    missing = sizes - events.sum(axis=1, keepdims=True)
    hidden = hidden_levels(np.hstack([events, missing]))
    known = sizes if hidden[-1] else sizes - missing
    return events, known + np.zeros_like(events), hidden[:-1]


def compare_charted(a: Sequence[pl.Series], b: Sequence[pl.Series], sites: Sequence[Charted]) -> pl.DataFrame:
    """One row a category of tokens: in how many stays' windows it stands, in A and in B.

    `a` and `b` have the ids of the stays at each of `sites`. Columns as of `compare_outcomes`, and family and
    name; sorted by the size of the effect, categories that neither cohort has left out.
    """
    names = sites[0].names
    events = np.array(
        [
            np.sum([site.with_category(i) for site, i in zip(sites, ids, strict=True)], axis=0)
            for ids in (a, b)
        ]
    )
    n = np.array([sum(map(len, ids)) for ids in (a, b)])[:, None] + np.zeros_like(events)
    keep = events.sum(axis=0) > 0
    table = _proportions(names["name"].to_list(), events, n).with_columns(names).filter(pl.Series(keep))
    return _with_q(table).sort(pl.col("effect").abs(), descending=True, nulls_last=True)


def disjoint(a: pl.DataFrame, b: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """B without the stays (by site and id) that are in A as well, and how many those were."""
    rest = b.join(a, on=["site", "hospitalization_id"], how="anti", maintain_order="left")
    return rest, len(b) - len(rest)


def _proportions(
    labels: Sequence[str], events: np.ndarray, n: np.ndarray, *, hidden: np.ndarray | None = None
) -> pl.DataFrame:
    """Shares in A and B (events and n: 2 × k), their difference and its standardised form with q values.

    `hidden` (k) are rows that other rows would give away. Columns label, n_a, events_a, rate_a, n_b,
    events_b, rate_b, difference, diff_low, diff_high, effect, low, high, p_value, q_value, hidden_a,
    hidden_b. A count that is hidden is null, and all that follows from it.
    """
    untold = (unsafe(events, n) | small(n)).any(axis=0) | (False if hidden is None else hidden)
    untold = np.stack([untold, untold])
    at_least_one = np.maximum(n, 1)
    rate = events / at_least_one
    low, high = wilson_interval(events.ravel(), at_least_one.ravel())
    low, high = low.reshape(rate.shape), high.reshape(rate.shape)
    difference = rate[0] - rate[1]
    below = np.sqrt((rate[0] - low[0]) ** 2 + (high[1] - rate[1]) ** 2)
    above = np.sqrt((high[0] - rate[0]) ** 2 + (rate[1] - low[1]) ** 2)
    both = events.sum(axis=0) / at_least_one.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = difference / np.sqrt(both * (1 - both) * (1 / at_least_one).sum(axis=0))
        effect = difference / np.sqrt((rate * (1 - rate)).sum(axis=0) / 2)
    told = ~untold.any(axis=0) & (n >= MIN_CELL).all(axis=0)
    columns: dict[str, np.ndarray] = {
        "difference": difference,
        "diff_low": difference - below,
        "diff_high": difference + above,
        **_effect(effect, n),
        "p_value": 2 * stats.norm.sf(np.abs(z)),
    }
    frame = pl.DataFrame({"label": pl.Series(labels, dtype=pl.String)}).with_columns(
        *(pl.Series(f"n_{side}", n[i]) for i, side in enumerate("ab")),
        *(pl.Series(f"hidden_{side}", untold[i]) for i, side in enumerate("ab")),
        *(_nulls(f"events_{side}", events[i], ~untold[i]) for i, side in enumerate("ab")),
        *(_nulls(f"rate_{side}", rate[i], ~untold[i] & (n[i] > 0)) for i, side in enumerate("ab")),
        *(_nulls(name, values, told & np.isfinite(values)) for name, values in columns.items()),
    )
    return _with_q(frame)


def _means(a: pl.DataFrame, b: pl.DataFrame) -> pl.DataFrame:
    known = [column for column in NUMBERS if column in a.columns]
    values = {c: [frame[c].cast(pl.Float64).drop_nulls().to_numpy() for frame in (a, b)] for c in known}
    n = np.array([[len(v) for v in values[c]] for c in known]).T.reshape(2, -1)
    enough = (n >= MIN_CELL).all(axis=0)
    mean, variance = (
        np.array([[f(v) if len(v) > 1 else np.nan for v in values[c]] for c in known]).T.reshape(2, -1)
        for f in (np.mean, lambda v: np.var(v, ddof=1))
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        effect = (mean[0] - mean[1]) / np.sqrt(variance.sum(axis=0) / 2)
        p = stats.ttest_ind_from_stats(
            mean[0], np.sqrt(variance[0]), n[0], mean[1], np.sqrt(variance[1]), n[1], equal_var=False
        ).pvalue
    figures = {"difference": mean[0] - mean[1], **_effect(effect, n), "p_value": np.asarray(p)}
    return pl.DataFrame({"label": [NUMBERS[c] for c in known]}).with_columns(
        *(pl.Series(f"n_{side}", n[i]) for i, side in enumerate("ab")),
        *(pl.Series(f"hidden_{side}", n[i] < MIN_CELL) for i, side in enumerate("ab")),
        *(_nulls(f"rate_{side}", mean[i], n[i] >= MIN_CELL) for i, side in enumerate("ab")),
        *(_nulls(name, value, enough & np.isfinite(value)) for name, value in figures.items()),
    )


def _effect(effect: np.ndarray, n: np.ndarray) -> Mapping[str, np.ndarray]:
    n, effect = np.maximum(n, 1), np.where(np.isfinite(effect), effect, np.nan)
    error = np.sqrt(n.sum(axis=0) / n.prod(axis=0, dtype=np.float64) + effect**2 / (2 * n.sum(axis=0)))
    return {"effect": effect, "low": effect - Z * error, "high": effect + Z * error}


def _nulls(name: str, values: np.ndarray, known: np.ndarray) -> pl.Series:
    return pl.select(pl.when(pl.Series(known)).then(pl.Series(values))).to_series().alias(name)


def _with_q(frame: pl.DataFrame) -> pl.DataFrame:
    """With q_value, over all p values that are known."""
    p = frame["p_value"].to_numpy(allow_copy=True).astype(np.float64)
    known, q = np.isfinite(p), np.full(len(p), np.nan)
    if known.any():
        q[known] = fdrcorrection(p[known])[1]
    return frame.with_columns(_nulls("q_value", q, known))
