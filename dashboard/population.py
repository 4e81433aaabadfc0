"""The background of the maps: every hourly state of a site, counted on a grid on the server."""

from __future__ import annotations

import numpy as np
import polars as pl
import streamlit as st

from dashboard import data, measures
from ehrfm_core.outcomes import Outcome
from ehrfm_core.study import Study


def counts(study: Study, site: str, kind: str, *, bins: int, off_map: bool = False) -> np.ndarray:
    """Hourly states of a site on the grid of a map (bins × bins, rows along y); shared, so read-only.

    With `off_map` only those that are farther from the fitted states than the source's own.
    """
    return _counts(str(study.folder), study.digest, site, kind, bins, off_map)


@st.cache_resource(max_entries=64, show_spinner="Counting the population …")
def _counts(folder: str, digest: str, site: str, kind: str, bins: int, off_map: bool) -> np.ndarray:
    study = data.open_study(folder)
    info = data.maps(study)[kind]
    paths = data.paths(study, site)
    if off_map:
        paths = paths.filter("off_map")
    paths = paths.select(f"{kind}_x", f"{kind}_y").drop_nulls()
    grid = measures.density(
        paths[f"{kind}_x"].to_numpy(), paths[f"{kind}_y"].to_numpy(), info["x_range"], info["y_range"], bins
    )
    grid.flags.writeable = False
    return grid


def rates(study: Study, site: str, kind: str, outcome: Outcome) -> tuple[np.ndarray, np.ndarray]:
    """Stays that count for an outcome, and those with it, where they are at the end of the window.

    Two grids (bins × bins, rows along y), coarse enough for a rate; shared, so read-only.
    """
    return _rates(str(study.folder), study.digest, site, kind, outcome.name)


@st.cache_resource(max_entries=32, show_spinner="Counting the population …")
def _rates(folder: str, digest: str, site: str, kind: str, outcome: str) -> tuple[np.ndarray, np.ndarray]:
    study = data.open_study(folder)
    info = data.maps(study)[kind]
    counted = data.stays(study, site).filter(f"counts_{outcome}").select("hospitalization_id", outcome)
    ends = data.paths(study, site).filter(pl.col("hour") == pl.col("hour").max())
    known = ends.select("hospitalization_id", f"{kind}_x", f"{kind}_y").drop_nulls()
    known = known.join(counted, on="hospitalization_id", how="inner")
    bins = rate_bins(len(known))
    grids = tuple(
        measures.density(
            part[f"{kind}_x"].to_numpy(), part[f"{kind}_y"].to_numpy(), info["x_range"], info["y_range"], bins
        )
        for part in (known, known.filter(outcome))
    )
    for grid in grids:
        grid.flags.writeable = False
    return grids[0], grids[1]


def rate_bins(n_stays: int) -> int:
    """A grid on which bins of some tens of stays are common.

    >>> rate_bins(300), rate_bins(2_000), rate_bins(144_000)
    (8, 14, 60)
    """
    return int(np.clip(np.sqrt(n_stays / 10), 8, 60))


def outside(study: Study, site: str, kind: str) -> float:
    """Share of a site's hourly states that lie outside the map's frame."""
    info = data.maps(study)[kind]
    paths = data.paths(study, site)
    inside = pl.col(f"{kind}_x").is_between(*info["x_range"]) & pl.col(f"{kind}_y").is_between(
        *info["y_range"]
    )
    share = paths.select(inside.mean()).item()
    return 1 - float(share) if share is not None else 0.0


def off_map_share(study: Study, site: str) -> float | None:
    """Share of a site's hourly states that are off the map; None where that was not measured."""
    share = data.paths(study, site)["off_map"].mean()
    return share if isinstance(share, float) else None


def bins_for(n_states: int) -> int:
    """A finer grid the more states there are to fill it.

    >>> bins_for(6_000), bins_for(400_000)
    (40, 110)
    """
    return int(np.clip(np.sqrt(n_states) / 2, 40, 110))


def path(study: Study, site: str, stay: str) -> pl.DataFrame:
    """The hourly path and risks of one stay, by hour."""
    frame = data.paths(study, site).filter(pl.col("hospitalization_id") == stay)
    return frame.unique("hour", keep="first").sort("hour")


def risk_band(study: Study, site: str, outcome: Outcome) -> pl.DataFrame:
    """The usual risk at every hour among the test stays of a site that count for an outcome.

    One row a group and hour: group, hour, low, middle, high (10th, 50th, 90th percentile), n. The groups are
    `without` and `with` the outcome; where one of them has fewer than `measures.MIN_CELL` stays, `all`; with
    fewer of them together there are no rows.
    """
    return _risk_band(str(study.folder), study.digest, site, outcome.name)


@st.cache_resource(max_entries=32, show_spinner=False)
def _risk_band(folder: str, digest: str, site: str, outcome: str) -> pl.DataFrame:
    study = data.open_study(folder)
    stays = data.held_out(study, site, outcome).select("hospitalization_id", outcome)
    known = (
        data.paths(study, site)
        .select("hospitalization_id", "hour", risk=f"risk_{outcome}")
        .drop_nulls()
        .join(stays, on="hospitalization_id", how="inner")
    )
    split = pl.when(outcome).then(pl.lit("with")).otherwise(pl.lit("without"))
    for group in (split, pl.lit("all")):
        named = known.with_columns(group=group)
        sizes = named.group_by("group").agg(n=pl.col("hospitalization_id").n_unique())
        wanted = 1 if group is not split else 2
        if len(sizes) == wanted and sizes["n"].min() >= measures.MIN_CELL:  # type: ignore[operator]
            return (
                named.group_by("group", "hour")
                .agg(
                    low=pl.col("risk").quantile(0.1),
                    middle=pl.col("risk").median(),
                    high=pl.col("risk").quantile(0.9),
                )
                .join(sizes, on="group")
                .sort("group", "hour", descending=[True, False])
            )
    return pl.DataFrame(
        schema={"group": pl.String, "hour": pl.Int32, "low": pl.Float64, "middle": pl.Float64}
        | {"high": pl.Float64, "n": pl.UInt32}
    )
