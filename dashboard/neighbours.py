"""The stays nearest to one stay in the model's full space, and whether any of them is near.

Distances are Euclidean between the 24 h representations as they are, in the unit of jumps and path lengths.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
import streamlit as st

from dashboard import data
from ehrfm_core.evaluation.proportions import wilson_interval
from ehrfm_core.study import Study

K = 20
FAR = 99  # a nearest stay beyond this percentile of the source's own nearest is none that is close
_ROWS = 4096  # compared at once: what is in between stays in the processor's cache
_ASKED = 500  # of the source's training stays, drawn at random, whose nearest neighbour is looked up
_ID = "hospitalization_id"


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest stays, and what their distance means.

    `table` has site, hospitalization_id, distance, nearest first. `percentile` places the smallest distance
    among `n_asked` of the source's training stays' distances to their own nearest; None without those.
    `n_stays` were compared.
    """

    table: pl.DataFrame
    percentile: float | None
    n_asked: int
    n_stays: int

    @property
    def close(self) -> bool:
        """Whether the nearest is as near as the source's stays are to each other."""
        return self.percentile is None or self.percentile <= FAR


def neighbours(study: Study, site: str, stay: str) -> Neighbours:
    """The 20 nearest among all stays of all sites, but for the stay and others of its patient at its site."""
    return _neighbours(str(study.folder), study.digest, site, stay)


@st.cache_resource(max_entries=256, show_spinner=False)
def _neighbours(folder: str, digest: str, site: str, stay: str) -> Neighbours:
    study = data.open_study(folder)
    own = data.site_table(study, site, "states").filter(pl.col(_ID) == stay)
    empty = pl.DataFrame(schema={"site": pl.String, _ID: pl.String, "distance": pl.Float64})
    if own.is_empty():
        return Neighbours(empty, None, 0, 0)
    point = own["state"].to_numpy()[0].astype(np.float32)
    found, n = [empty], 0
    for name in study.sites:
        states = data.site_table(study, name, "states")
        distance = pl.Series("distance", distances(states["state"].to_numpy(), point), dtype=pl.Float64)
        others = states.select(pl.lit(name).alias("site"), _ID).with_columns(distance)
        if name == site:
            others = others.join(_same_patient(study, site, stay), on=_ID, how="anti", maintain_order="left")
        n += len(others)
        found.append(nearest(others))
    table = nearest(pl.concat(found))
    usual = _usual(folder, digest)
    percentile = None
    if len(table) and len(usual):
        percentile = 100 * float((usual < table["distance"][0]).mean())
    return Neighbours(table, percentile, len(usual), n)


def distances(states: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Euclidean distance of every state (n × D) to a point (D): float64, worked out in slices.

    Differences are taken before they are squared: |x|² − 2xy + |y|² would lose the digits of small distances.

    >>> distances(np.array([[3.0, 4.0], [0.0, 0.0]]), np.zeros(2)).tolist()
    [5.0, 0.0]
    """
    out = np.empty(len(states))
    for begin, part in _slices(states):
        gap = part - point
        out[begin : begin + len(part)] = np.sqrt(np.einsum("nd,nd->n", gap, gap))
    return out


def nearest(table: pl.DataFrame, k: int = K) -> pl.DataFrame:
    """The k rows with the smallest distance that is a number, nearest first, ties by site and id."""
    known = table.filter(pl.col("distance").is_finite())
    return known.bottom_k(min(k, len(known)), by=["distance", "site", _ID]).sort("distance", "site", _ID)


def nearest_distances(states: np.ndarray, patients: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Distance of each asked row to the nearest state of another patient; infinite where there is none.

    `states` (n × D), `patients` (n) whose stay each is, `asked` the rows to look up.
    """
    queries = states[asked].astype(np.float32)
    best, row = np.full(len(asked), np.inf, np.float32), np.zeros(len(asked), dtype=np.int64)
    squares = np.einsum("nd,nd->n", queries, queries)
    for begin, part in _slices(states):
        square = squares[:, None] - 2 * queries @ part.T + np.einsum("nd,nd->n", part, part)
        square[patients[asked][:, None] == patients[begin : begin + len(part)]] = np.inf
        at = square.argmin(axis=1)
        smallest = square[np.arange(len(asked)), at]
        better = smallest < best
        best[better], row[better] = smallest[better], begin + at[better]
    gap = queries - states[row].astype(np.float32)  # again, with every digit
    return np.where(np.isfinite(best), np.linalg.norm(gap, axis=1), np.inf)


def tally(flags: Iterable[bool | None]) -> tuple[int, int, float, float]:
    """Events, stays that count (not None), and Wilson's bounds of their share.

    >>> events, n, low, high = tally([True, False, None, False])
    >>> events, n, round(low, 2), round(high, 2)
    (1, 3, 0.06, 0.79)
    """
    known = [flag for flag in flags if flag is not None]
    if not known:
        return 0, 0, 0.0, 1.0
    low, high = wilson_interval(sum(known), len(known))
    return sum(known), len(known), float(low), float(high)


def _slices(states: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    for begin in range(0, len(states), _ROWS):
        yield begin, states[begin : begin + _ROWS].astype(np.float32, copy=False)


def _same_patient(study: Study, site: str, stay: str) -> pl.DataFrame:
    stays = data.site_table(study, site, "stays")
    patient = stays.filter(pl.col(_ID) == stay)["patient_id"].unique()
    return stays.filter((pl.col(_ID) == stay) | pl.col("patient_id").is_in(patient.implode())).select(_ID)


@st.cache_resource(max_entries=8, show_spinner="Measuring how near stays usually are …")
def _usual(folder: str, digest: str) -> np.ndarray:
    """Distances of the source's training stays to their nearest, in no order."""
    study = data.open_study(folder)
    train = data.site_table(study, study.source, "stays").filter(pl.col("split") == "train")
    known = data.site_table(study, study.source, "states").join(
        train.select(_ID, "patient_id"), on=_ID, how="inner", maintain_order="left"
    )
    if len(known) < 2:
        return np.empty(0)
    patients = known["patient_id"].rank("dense").to_numpy()
    draw = np.random.default_rng(0).permutation(len(known))[:_ASKED]
    found = nearest_distances(known["state"].to_numpy(), patients, draw)
    return found[np.isfinite(found)]
