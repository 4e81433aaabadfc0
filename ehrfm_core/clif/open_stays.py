"""Stays whose end is not known: still admitted, or without a discharge."""

from __future__ import annotations

import polars as pl

from ehrfm_core.clif.tables import ID, ClifDirectory

STILL_ADMITTED = "still_admitted"  # of discharge_category, in CLIF 3.0's spelling
OPEN = "open"


def with_observed_end(stays: pl.DataFrame, directory: ClifDirectory) -> pl.DataFrame:
    """Add `open`; where a stay has no discharge_time, put the time of its last vital there.

    Open is a stay without a discharge, or of one that says the patient is still admitted: it has been
    observed up to that time, and nobody knows how long it lasts. `stays` has hospitalization_id, admission,
    discharge_time (UTC) and discharge.
    """
    no_end = pl.col("discharge_time").is_null()
    still = (pl.col("discharge") == STILL_ADMITTED).fill_null(value=False)
    stays = stays.with_columns((no_end | still).alias(OPEN))
    endless = stays.filter(no_end & pl.col("admission").is_not_null()).select(ID, "admission")
    if endless.is_empty() or "vitals" not in directory:
        return stays
    last = (
        directory.scan("vitals", times=("recorded_dttm",), others=(ID,))
        .join(endless.lazy(), on=ID)
        .filter(pl.col("recorded_dttm") >= pl.col("admission"))
        .group_by(ID)
        .agg(pl.col("recorded_dttm").max().alias("last"))
        .collect(engine="streaming")
    )
    stays = stays.join(last, on=ID, how="left", maintain_order="left")
    return stays.with_columns(pl.coalesce("discharge_time", "last").alias("discharge_time")).drop("last")


def hide_unknown(stays: pl.DataFrame) -> pl.DataFrame:
    """Null what the end of an open stay alone can tell; drop `open`.

    Length and long_los are null; so are icu and imv, unless the event lies in the window: the window has been
    seen whole, and to keep the events after it but not their absence would leave events alone. Death is null
    where the patient is still admitted. A stay longer than seven days stays null as well, for the same
    reason.
    """
    still = (pl.col("discharge") == STILL_ADMITTED).fill_null(value=False)
    return stays.with_columns(
        pl.when(~pl.col(OPEN)).then("los_hours").alias("los_hours"),
        pl.when(~pl.col(OPEN)).then("long_los").alias("long_los"),
        pl.when(~still).then("death").alias("death"),
        *(pl.when(~pl.col(OPEN) | pl.col(f"{name}_24h")).then(name).alias(name) for name in ("icu", "imv")),
    ).drop(OPEN)
