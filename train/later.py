"""Part of stage 3, where whole stays are asked for: every hour after the window, hour by hour."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
from scipy.special import expit

from ehrfm_core.clif.tables import ID
from ehrfm_core.dynamics.forward import Forward
from ehrfm_core.dynamics.later import Later, read_later
from ehrfm_core.dynamics.maps import Maps
from ehrfm_core.dynamics.shards import after, shards_of
from ehrfm_core.dynamics.whole_stays import WholeStays
from ehrfm_core.outcomes import Outcomes
from ehrfm_core.study.files import fingerprint, write_parts, write_table
from ehrfm_core.study.layout import site_file, site_schema
from ehrfm_core.study.windows import Windows
from train.progress import progress_bar

SHARD_TOKENS = 1_000_000


def follow_stays(
    folder: Path,
    window: Windows,
    whole: WholeStays,
    forward: Forward,
    maps: Maps,
    outcomes: tuple[str, ...],
    *,
    max_tokens: int,
    shards: Path,
    identity: str,
) -> None:
    """Write a site's `later.parquet`: what has been read stands in `shards` until the stage is done.

    `outcomes` are those of the forward pass's read-outs; `identity` says of what the pass is.
    """
    schema = site_schema("later", window.outcomes)
    parts = shards_of(whole.rest, shard_tokens=SHARD_TOKENS)
    total = int(whole.rest.sum())

    def frames() -> Iterator[pl.DataFrame]:
        done = 0
        with progress_bar(f"embed {window.site}, after the window", " tokens") as progress:
            for part in parts:
                own = whole.part(part)
                path = shards / f"{fingerprint([identity, part.start, part.stop])[:16]}.parquet"
                frame = _kept(path)
                if frame is None:
                    told = after(progress, done, total)
                    later = read_later(forward, own, max_tokens=max_tokens, progress=told)
                    frame = _frame(window.stays[part], later, maps, outcomes, window.outcomes)
                    frame = frame.select(pl.col(column).cast(dtype) for column, dtype in schema.items())
                    write_table(path, frame, schema)
                done += int(own.rest.sum())
                progress(done, max(total, 1), "")
                yield frame

    write_parts(folder / site_file(window.site, "later"), frames(), schema)


def _kept(path: Path) -> pl.DataFrame | None:
    """A shard that an earlier run has left; None where there is none that can be read."""
    try:
        return pl.read_parquet(path, glob=False)
    except (OSError, pl.exceptions.PolarsError):
        return None


def _frame(
    stays: pl.DataFrame, later: Later, maps: Maps, read: tuple[str, ...], outcomes: Outcomes
) -> pl.DataFrame:
    frame = pl.DataFrame(
        {
            ID: stays[ID].gather(later.stay),
            "hour": later.hour,
            "step": pl.Series(later.step).fill_nan(None),
            "travelled": later.travelled,
            "n_events": later.n_events,
            **maps.place(later.states).to_frame().to_dict(),
        }
    )
    for name, outcome in outcomes.items():
        column = f"risk_{name}"
        if name not in read:
            frame = frame.with_columns(pl.lit(None, dtype=pl.Float32).alias(column))
            continue
        risk = pl.Series(expit(later.risks[:, read.index(name)]), dtype=pl.Float32)
        counts = stays.select(outcome.counts()).to_series().gather(later.stay)
        frame = frame.with_columns(pl.when(counts).then(risk).alias(column))
    return frame
