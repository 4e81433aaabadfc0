"""Curves of training: lines of JSON, read while a run writes them, and thinned for the screen."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from ehrfm_core.study.layout import Schema

POINTS = 1000  # of a curve, about: more could not be told apart on a screen

CURVE: Schema = {
    "step": pl.Int64(),
    "tokens": pl.Float64(),  # seen so far
    "loss": pl.Float64(),  # training, nats a token
    "tuning_loss": pl.Float64(),  # null where the tuning split was not looked at
    "learning_rate": pl.Float64(),
    "grad_norm": pl.Float64(),
    "tokens_per_second": pl.Float64(),
    "mfu": pl.Float64(),  # share of the device's peak
    "memory_gb": pl.Float64(),
    "seconds": pl.Float64(),  # of training so far, over all resumptions
    "remaining_seconds": pl.Float64(),
}


def read_curve(path: Path) -> tuple[pl.DataFrame | None, str | None]:
    """The curve in a file of lines of JSON, with `CURVE`'s columns; a sentence where lines were unreadable.

    No frame where there is no file or nothing in it can be read. The last line may be cut: the run is
    writing it. Steps ascend: what a run had written after the checkpoint it was resumed from is left out.
    """
    if not path.is_file():
        return None, None
    lines = pl.scan_csv(  # one column of whole lines, in which bytes that are not UTF-8 are replaced
        path,
        has_header=False,
        separator="\x01",
        quote_char=None,
        encoding="utf8-lossy",
        schema={"line": pl.String()},
        truncate_ragged_lines=True,
        raise_if_empty=False,
        glob=False,
    )
    try:
        length, curve = pl.collect_all([lines.select(pl.len()), _decoded(lines)], engine="streaming")
    except (pl.exceptions.PolarsError, OSError):
        return None, f"{path} cannot be read: its curve is not drawn."
    n = int(length.item())
    if n - len(curve) <= 1:
        return _ascending(curve), None
    if curve.is_empty():
        return None, f"{path}: none of its {n:,} lines can be read: its curve is not drawn."
    return _ascending(curve), f"{path}: {n - len(curve):,} of {n:,} lines cannot be read and are left out."


def manifest_curve(summary: Mapping[str, Any]) -> pl.DataFrame:
    """The curve in the summary of a finished `pretrain` stage, empty where it holds none.

    Its training losses are those of single batches. Tokens are reckoned from the epochs, as a mean over the
    steps, where the summary knows them.
    """
    points = summary.get("curve")
    lines = [json.dumps(point) for point in points] if isinstance(points, list) else []
    frame = pl.LazyFrame({"line": lines}, schema={"line": pl.String()})
    renamed = frame.select(pl.col("line").str.replace('"train_loss"', '"loss"', literal=True))
    curve = _ascending(_decoded(renamed).collect())
    known = [number(summary.get(key)) for key in ("train_tokens", "epochs", "steps")]
    if not all(known):
        return curve
    each, epochs, steps = (float(value or 0) for value in known)
    return curve.with_columns(tokens=pl.col("step") * (each * epochs / steps))


def _decoded(lines: pl.LazyFrame) -> pl.LazyFrame:
    """The fields of lines of JSON: null what is no finite number; a line without a step is left out."""
    text = pl.col("line").str.replace_all(r":\s*-?(?:NaN|Infinity)\b", ": null")  # Python's, not JSON's
    fields = [pl.col("line").str.json_path_match(f"$.{name}").alias(name) for name in CURVE]
    finite = [pl.when(pl.col(name).is_finite()).then(name).alias(name) for name in CURVE]
    curve = lines.select(text).select(fields).select(pl.all().cast(pl.Float64, strict=False)).select(finite)
    return curve.cast({"step": pl.Int64}, strict=False).filter(pl.col("step") >= 0)


def _ascending(curve: pl.DataFrame) -> pl.DataFrame:
    """Of rows in the order written, those that no later row of the same or an earlier step replaces."""
    later = pl.col("step").shift(-1).cum_min(reverse=True)
    return curve.filter((pl.col("step") < later) | later.is_null())


def thin(curve: pl.DataFrame, points: int = POINTS) -> pl.DataFrame:
    """About `points` rows of a curve: its extremes, its ends and, unless there are more, every tuning loss.

    >>> long = pl.DataFrame({"step": range(9000)}, schema_overrides=CURVE).with_columns(
    ...     pl.lit(1.0).alias(name) for name in CURVE if name not in ("step", "tuning_loss")
    ... )
    >>> thin(long.with_columns(tuning_loss=pl.when(pl.col("step") == 77).then(2.0)), 50)["step"].len()
    10
    """
    if len(curve) <= points:
        return curve
    rows = curve.with_row_index("row")
    buckets = max(1, points // 6)
    looked = rows.drop_nulls("tuning_loss")
    if len(looked) > points:
        looked = _extremes(looked, ("tuning_loss",), buckets)
    kept = pl.concat(
        [
            _extremes(rows, ("loss", "grad_norm", "tokens_per_second"), buckets).select("row"),
            looked.select("row"),
            rows.select("row").head(1),
            rows.select("row").tail(1),
        ]
    )
    return rows.join(kept.unique(), on="row", how="semi", maintain_order="left").drop("row")


def _extremes(rows: pl.DataFrame, names: Sequence[str], buckets: int) -> pl.DataFrame:
    """The rows with the smallest and largest value of each column, in each of `buckets` parts."""
    part = pl.int_range(pl.len()) * buckets // pl.len()
    ends = [
        pl.col("row").get(found, null_on_oob=True).alias(f"{name}{i}")
        for name in names
        for i, found in enumerate((pl.col(name).arg_min(), pl.col(name).arg_max()))
    ]
    kept = rows.group_by(part.alias("part")).agg(ends).drop("part").unpivot(value_name="row")
    return rows.join(kept.select("row").drop_nulls(), on="row", how="semi", maintain_order="left")


def number(value: Any) -> float | None:
    """A finite number from JSON, or None.

    >>> number(2), number("NaN"), number(True), number(float("inf"))
    (2.0, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None
