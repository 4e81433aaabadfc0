"""Why one stay is an outlier: where it departs from inliers of the source with as much charting.

An outlier is compared with stays that have about as many tokens, since almost every count, and the state with
it, changes with the length of the record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from ehrfm_core.clif.tables import ID
from ehrfm_core.ragged import Ragged
from ehrfm_core.tokens.decode import token_table

if TYPE_CHECKING:
    from ehrfm_core.dynamics.space import Space

MATCHED = (30, 200)  # at least, at most; between them one in twenty, so that the matches stay close
FEWEST_MATCHED = 10
LOW, HIGH = 0.05, 0.95


def matched_inliers(
    inliers: pl.DataFrame, n_tokens: int, *, without: str = "", k: int | None = None
) -> pl.DataFrame:
    """The `k` inliers with the nearest number of tokens on a log scale, nearest first; ties go by id.

    `inliers` has hospitalization_id and n_tokens, one row for each inlier of the source's training split; the
    stay `without` is passed over, so that no stay is compared with itself. Without a `k` one in twenty of
    them is taken, at least 30 and at most 200.

    >>> inliers = pl.DataFrame({"hospitalization_id": ["a", "b", "c"], "n_tokens": [10, 100, 1000]})
    >>> matched_inliers(inliers, 90, k=2)["hospitalization_id"].to_list()
    ['b', 'a']
    """
    if k is None:
        k = int(np.clip(inliers.height // 20, *MATCHED))
    away = (pl.col("n_tokens").log() - np.log(max(1, n_tokens))).abs()
    return inliers.filter(pl.col(ID) != without, pl.col("n_tokens") > 0).sort(away, ID).head(k)


def component_departures(space: Space, state: np.ndarray, inliers: np.ndarray) -> pl.DataFrame:
    """How far a state (D) lies from matched inliers (m × D) along each principal component, farthest first.

    One row a component: component (from 1), explained (its share of the training states' variance), value
    (the state's coordinate), mean, sd, low, high (of the inliers: mean, SD, 5 % and 95 % quantiles) and
    z = (value − mean) / sd, null where the inliers do not differ. Fewer than 10 inliers give no rows.
    """
    schema = dict.fromkeys(("explained", "value", "mean", "sd", "low", "high", "z"), pl.Float64())
    if len(inliers) < FEWEST_MATCHED:
        return pl.DataFrame(schema={"component": pl.Int64(), **schema})
    places = space.coordinates(inliers).astype(np.float64)
    value = space.coordinates(state[None])[0].astype(np.float64)
    low, high = np.quantile(places, [LOW, HIGH], axis=0)
    frame = pl.DataFrame(
        {
            "component": np.arange(1, len(value) + 1),
            "explained": space.explained,
            "value": value,
            "mean": places.mean(axis=0),
            "sd": places.std(axis=0, ddof=1),
            "low": low,
            "high": high,
        }
    )
    z = (pl.col("value") - pl.col("mean")) / pl.col("sd")
    frame = frame.with_columns(z=pl.when(pl.col("sd") > 0).then(z))
    return frame.sort(pl.col("z").abs(), descending=True, nulls_last=True, maintain_order=True)


def category_departures(tokens: np.ndarray, inliers: Ragged, vocabulary: dict[str, int]) -> pl.DataFrame:
    """How the counts of a stay's token categories differ from those of matched inliers, farthest first.

    `tokens` are the ids in the stay's window, `inliers` those of the m matched stays. One row for each
    category that the stay or an inlier has: family, name, count (here), mean, median, low, high (of the
    inliers' counts: 5 % and 95 % quantiles), share_with (share of the inliers that have it) and effect. Value
    and special tokens belong to no category and are left out. Fewer than 10 inliers give no rows.

    effect = (a(count) − mean a(count_i)) / max(1, SD a(count_i)) with a(x) = 2 √(x + 3/8) (Anscombe 1948),
    whose SD is 1 where counts vary by chance alone: rare categories, which hardly vary among inliers, get no
    huge effect out of one token.
    """
    schema = {"family": pl.String(), "name": pl.String(), "count": pl.Int64()}
    schema |= dict.fromkeys(("mean", "median", "low", "high", "share_with", "effect"), pl.Float64())
    if len(inliers) < FEWEST_MATCHED:
        return pl.DataFrame(schema=schema)
    categories = token_table(vocabulary).filter(pl.col("family") != "special")
    codes = categories.select("family", "name").unique(maintain_order=True).with_row_index("category")
    categories = categories.join(codes, on=["family", "name"], maintain_order="left")
    category = np.full(max(vocabulary.values()) + 1, -1)
    category[categories["token_id"].to_numpy()] = categories["category"].to_numpy()

    def counts(ids: np.ndarray, rows: np.ndarray, n: int) -> np.ndarray:
        own = category[ids]
        cells = rows[own >= 0] * codes.height + own[own >= 0]
        return np.bincount(cells, minlength=n * codes.height).reshape(n, codes.height)

    here = counts(tokens, np.zeros(len(tokens), dtype=np.int64), 1)[0]
    there = counts(inliers.values, inliers.rows, len(inliers))
    even = _anscombe(there)
    low, median, high = np.quantile(there, [LOW, 0.5, HIGH], axis=0)
    frame = codes.drop("category").with_columns(
        count=pl.Series(here),
        mean=pl.Series(there.mean(axis=0)),
        median=pl.Series(median),
        low=pl.Series(low),
        high=pl.Series(high),
        share_with=pl.Series((there > 0).mean(axis=0)),
        effect=pl.Series((_anscombe(here) - even.mean(axis=0)) / np.maximum(1.0, even.std(axis=0, ddof=1))),
    )
    return (
        frame.filter((pl.col("count") > 0) | (pl.col("share_with") > 0))
        .sort(pl.col("effect").abs(), "family", "name", descending=[True, False, False])
        .cast(schema)  # type: ignore[arg-type]
    )


def _anscombe(counts: np.ndarray) -> np.ndarray:
    return np.asarray(2 * np.sqrt(counts + 0.375))
