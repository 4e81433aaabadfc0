"""Path measures of a stay, all in the full space of the hidden state.

With jumps Δ_t = ‖R_t − R_{t−1}‖₂ of a window of n tokens (arXiv 2504.10422, "Representation dynamics"), of
which the first p are the start token and the static prefix, and R(h) the state that stands at hour h = 0 … H:

    path_length          Σ Δ_t, as in the paper: the jumps of the static prefix are in it
    max_jump             max Δ_t, as in the paper: the jumps of the static prefix are in it
    mean_jump            path_length / (n − 1)
    displacement         ‖R_n − R_1‖₂
    tortuosity           path_length / displacement; null where the displacement is 0
    event_path_length    Σ Δ_t over the events only (t > p)
    event_max_jump       max Δ_t over the events only; null without events
    max_jump_minute      when that jump happened, minutes since the start
    mean_event_jump      event_path_length / (n − p): what one event moves; null without events
    event_displacement   ‖R_n − R_p‖₂
    event_tortuosity     event_path_length / event_displacement; null where the displacement is 0
    speed_per_hour       event_path_length / H
    hourly_path_length   Σ_h ‖R(h) − R(h − 1)‖₂ over h = 1 … H: how often was charted hardly matters
    hourly_max_step      max_h ‖R(h) − R(h − 1)‖₂
    hourly_displacement  ‖R(H) − R(0)‖₂
    hourly_tortuosity    hourly_path_length / hourly_displacement; null where the displacement is 0
    direction_change     mean angle between the steps R_t − R_{t−1} and R_{t−1} − R_{t−2} over the events,
                         degrees: 0 straight on, 90 at random in a space of many dimensions, 180 back;
                         null where no two steps follow each other
    mean_information     mean of −ln p(x_t | x_<t) over t ≥ 2, nats a token

Per hour h: `step` ‖R(h) − R(h − 1)‖₂ (null at hour 0), `travelled` Σ Δ_t and `n_events` of the events after
hour h − 1 and up to hour h (at hour 0: of those in minute 0).
"""

from __future__ import annotations

import numpy as np
import polars as pl

from ehrfm_core.dynamics.states import ReadOut
from ehrfm_core.ragged import Ragged


def path_measures(
    ids: list[str], out: ReadOut, minutes: Ragged, *, prefix: int, hours: float
) -> pl.DataFrame:
    """One row a stay, in the order of `ids`: the measures above.

    `prefix` is the number of tokens before the first event (p).
    """
    jumps = out.jumps
    frame = pl.DataFrame(
        {
            "row": jumps.rows,
            "jump": jumps.values.astype(np.float64),
            "information": out.information.values.astype(np.float64),
            "minute": minutes.values.astype(np.float64),
            "position": jumps.positions,
        }
    ).with_columns(pl.col("information").fill_nan(None))
    event = pl.col("position") >= prefix
    measured = (
        frame.group_by("row")
        .agg(
            pl.col("jump").sum().alias("path_length"),
            pl.col("jump").max().alias("max_jump"),
            (pl.len().cast(pl.Int64) - 1).alias("steps"),
            event.sum().alias("events"),
            pl.col("jump").filter(event).sum().alias("event_path_length"),
            pl.col("jump").filter(event).max().alias("event_max_jump"),
            pl.col("minute")
            .filter(event)
            .get(pl.col("jump").filter(event).arg_max())
            .alias("max_jump_minute"),
            pl.col("information").mean().alias("mean_information"),
        )
        .sort("row")
    )
    straight = {
        name: pl.Series(name, getattr(out, name).astype(np.float64))
        for name in ("displacement", "event_displacement", "hourly_displacement")
    }
    grid = out.hourly_steps.astype(np.float64)
    length = pl.Series("hourly_path_length", grid.sum(axis=1))
    return measured.with_columns(
        pl.Series("hospitalization_id", ids),
        *straight.values(),
        length,
        pl.Series("hourly_max_step", grid.max(axis=1, initial=0.0)),
        pl.Series("direction_change", out.turn.astype(np.float64)).fill_nan(None),
        _over("mean_jump", pl.col("path_length"), pl.col("steps")),
        _over("mean_event_jump", pl.col("event_path_length"), pl.col("events")),
        _over("tortuosity", pl.col("path_length"), straight["displacement"]),
        _over("event_tortuosity", pl.col("event_path_length"), straight["event_displacement"]),
        _over("hourly_tortuosity", length, straight["hourly_displacement"]),
        (pl.col("event_path_length") / hours).alias("speed_per_hour"),
    ).drop("row", "steps", "events")


def hourly_measures(out: ReadOut, minutes: Ragged, *, prefix: int) -> pl.DataFrame:
    """`step`, `travelled` and `n_events` of every hour, stay after stay (n · (H + 1) rows)."""
    n, hours = out.hourly_steps.shape
    # the hour at which a token has happened: 0 for minute 0, 1 for the minutes up to 60
    hour = np.ceil(minutes.values / 60).astype(np.int64)
    inside = (minutes.positions >= prefix) & (hour <= hours)
    cell = minutes.rows[inside] * (hours + 1) + hour[inside]
    size = n * (hours + 1)
    step = np.concatenate([np.full((n, 1), np.nan, dtype=np.float32), out.hourly_steps], axis=1)
    travelled = np.bincount(cell, weights=out.jumps.values[inside], minlength=size)
    return pl.DataFrame(
        {
            "step": pl.Series(step.ravel()).fill_nan(None),
            "travelled": travelled.astype(np.float32),
            "n_events": np.bincount(cell, minlength=size).astype(np.int32),
        }
    )


def _over(name: str, a: pl.Expr | pl.Series, b: pl.Expr | pl.Series) -> pl.Expr:
    """The quotient; null where the divisor is 0."""
    return pl.when(pl.lit(b) > 0 if isinstance(b, pl.Series) else b > 0).then(a / b).alias(name)
