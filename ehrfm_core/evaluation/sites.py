"""What the evaluation reads of a site, joined by stay and put in one order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from ehrfm_core.errors import UserError
from ehrfm_core.outcomes import Outcome
from ehrfm_core.ragged import Ragged
from ehrfm_core.tokens.window import to_ragged

ID = "hospitalization_id"
RECENT_HOURS = 6


@dataclass(frozen=True)
class SiteData:
    """One site's tables, in any order of rows.

    `stays` and `dynamics` have the columns of stays.parquet and dynamics.parquet; row i of `states`
    (n × hidden, float32) is the 24 h representation of stay `state_ids[i]`; `windows` has
    hospitalization_id and tokens (list[int32]), the tokens of the window; `anomaly`, where there is one, has
    the columns of anomaly.parquet; `pooled` (n × 3 · hidden), where there is one, are the `pooled` states of
    the same stays in the order of `state_ids`.
    """

    name: str
    stays: pl.DataFrame
    state_ids: list[str]
    states: np.ndarray
    dynamics: pl.DataFrame
    windows: pl.DataFrame
    anomaly: pl.DataFrame | None = None
    pooled: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Stays:
    """Stays of one site that have a representation and a window, in order of hospitalization_id.

    Row i of `frame` (stays, dynamics and outlier scores joined), `states`, `tokens` and, where there is one,
    `pooled` is the same stay.
    """

    site: str
    frame: pl.DataFrame
    states: np.ndarray
    tokens: Ragged
    pooled: np.ndarray | None = None

    def __len__(self) -> int:
        return self.frame.height

    def split(self, name: str) -> Stays:
        """Those of one split."""
        return self._where(self.frame.select((pl.col("split") == name).fill_null(value=False)))

    def counting(self, outcome: Outcome) -> Stays:
        """Those that count for an outcome: label known, event not already in the window."""
        return self._where(self.frame.select(outcome.counts()))

    def labels(self, outcome: Outcome) -> np.ndarray:
        """Whether the outcome happened (boolean, one a stay); only for stays that count."""
        return self.frame[outcome.name].to_numpy().astype(bool)

    def _where(self, mask: pl.DataFrame) -> Stays:
        return self.take(np.flatnonzero(mask.to_series().to_numpy()))

    def take(self, rows: np.ndarray) -> Stays:
        """Some of the stays, in the order given."""
        pooled = None if self.pooled is None else self.pooled[rows]
        return Stays(self.site, self.frame[rows], self.states[rows], self.tokens.take(rows), pooled)


def align(site: SiteData) -> tuple[Stays, list[str]]:
    """Join a site's tables by hospitalization_id, sort by it, and note which stays are left out.

    Raises UserError where an id stands twice in a table, or ids and states differ in number.
    """
    if len(site.state_ids) != len(site.states):
        raise UserError(
            f"{site.name}: states.parquet has {len(site.states)} states for {len(site.state_ids)} stays; "
            "run embed again."
        )
    states = pl.DataFrame({ID: pl.Series(site.state_ids, dtype=pl.String)}).with_row_index("state_row")
    windows = site.windows.select(ID, "tokens").with_row_index("window_row")
    for name, table in (
        ("stays", site.stays),
        ("states", states),
        ("dynamics", site.dynamics),
        ("windows", windows),
        ("anomaly", pl.DataFrame({ID: []}) if site.anomaly is None else site.anomaly),
    ):
        repeated = table.height - table[ID].n_unique()
        if repeated:
            raise UserError(
                f"{site.name}: {repeated} rows of {name} repeat a hospitalization_id; keep one row a stay."
            )
    dynamics = site.dynamics.select(ID, *(c for c in site.dynamics.columns if c not in site.stays.columns))
    frame = (
        site.stays.join(states, on=ID)
        .join(windows.drop("tokens"), on=ID)
        .join(dynamics, on=ID, how="left")
        .sort(ID)
    )
    if site.anomaly is not None:
        frame = frame.join(site.anomaly, on=ID, how="left", maintain_order="left")
    notes = []
    if frame.height < site.stays.height:
        notes.append(
            f"{site.stays.height - frame.height} of {site.stays.height} stays at {site.name} have no "
            "representation of their first day and are left out of the evaluation."
        )
    rows = frame["state_row"].to_numpy()
    whole = np.isfinite(site.states[rows]).all(axis=1)
    if not whole.all():
        notes.append(
            f"{int((~whole).sum())} stays at {site.name} have a representation with values that are not "
            "numbers and are left out of the evaluation."
        )
        frame, rows = frame.filter(pl.Series(whole)), rows[whole]
    unknown = frame.height - frame.join(dynamics.select(ID), on=ID, how="semi").height
    if unknown:
        notes.append(f"{unknown} stays at {site.name} have no path measures and are in no association.")
    tokens = to_ragged(site.windows["tokens"], np.int32).take(frame["window_row"].to_numpy())
    pooled = None if site.pooled is None else site.pooled[rows]
    return Stays(site.name, frame.drop("state_row", "window_row"), site.states[rows], tokens, pooled), notes


def pool(states: np.ndarray, hourly: np.ndarray) -> np.ndarray:
    """The state at the window's end, its mean over all full hours, and over the last six (n × 3 · D).

    From `states` (n × D) and `hourly` (n × hours + 1 × D). A last state alone depends on what was charted
    last; the means do not.

    >>> pool(np.array([[3.0]]), np.array([[[0.0], [2.0], [4.0]]])).tolist()
    [[3.0, 2.0, 2.0]]
    """
    means = (part.mean(axis=1, dtype=np.float32) for part in (hourly, hourly[:, -RECENT_HOURS:]))
    return np.concatenate([states, *means], axis=1).astype(np.float32)
