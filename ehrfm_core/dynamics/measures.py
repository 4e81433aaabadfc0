"""Path measures of a stay, all in the full space of the hidden state.

With jumps Δ_t = ‖R_t − R_{t−1}‖₂ of a window of n tokens (arXiv 2504.10422, "Representation dynamics"):

    path_length        Σ Δ_t, as in the paper: the jumps of the static prefix are in it
    max_jump           max Δ_t, as in the paper: the jumps of the static prefix are in it
    mean_jump          path_length / (n − 1)
    displacement       ‖R_n − R_1‖₂
    tortuosity         path_length / displacement; null where the displacement is 0
    event_path_length  Σ Δ_t over the events only, static prefix left out
    event_max_jump     max Δ_t over the events only; null without events
    max_jump_minute    when that jump happened, minutes since the start
    speed_per_hour     event_path_length / hours of the window
    mean_information   mean of −ln p(x_t | x_<t) over t ≥ 2, nats a token
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

    `prefix` is the number of tokens before the first event.
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
    displacement = pl.Series("displacement", out.displacement)
    return measured.with_columns(
        pl.Series("hospitalization_id", ids),
        displacement,
        pl.when(pl.col("steps") > 0).then(pl.col("path_length") / pl.col("steps")).alias("mean_jump"),
        pl.when(displacement > 0).then(pl.col("path_length") / displacement).alias("tortuosity"),
        (pl.col("event_path_length") / hours).alias("speed_per_hour"),
    ).drop("row", "steps")
