"""From tokens back to events a person can read."""

from __future__ import annotations

import polars as pl

from ehrfm_core.tokens.vocabulary import AGE_POSITION, ANSWER_FAMILY, family, is_bin


def token_table(vocabulary: dict[str, int]) -> pl.DataFrame:
    """One row a token of the vocabulary: token_id, token, family, name, bin.

    `name` is the part after the family; `bin` is the number of a value token, else null.
    """
    names = list(vocabulary)
    return pl.DataFrame(
        {
            "token_id": pl.Series(list(vocabulary.values()), dtype=pl.Int32),
            "token": names,
            "family": [family(name) for name in names],
            "name": [name.partition("/")[2] or name for name in names],
            "bin": pl.Series([int(name[1:]) if is_bin(name) else None for name in names], dtype=pl.Int32),
        }
    )


def decode(tokens: list[int], minutes: list[float], vocabulary: dict[str, int]) -> pl.DataFrame:
    """One row a token of one timeline, with what it stands for.

    Columns: position (from 0), minute (since the stay's start), token, family, name, bin and event.
    A value or answer token carries the family and name of the category before it; `event` numbers the
    events, so that a category and its value share it.

    >>> vocabulary = {"TL_START": 0, "Q7": 1, "lab/potassium": 2}
    >>> decode([0, 2, 1], [0.0, 30.0, 30.0], vocabulary).select("token", "name", "bin", "event").rows()
    [('TL_START', 'TL_START', None, 0), ('lab/potassium', 'potassium', None, 1), ('Q7', 'potassium', 7, 1)]
    """
    frame = pl.DataFrame(
        {
            "token_id": pl.Series(tokens, dtype=pl.Int32),
            "minute": pl.Series(minutes, dtype=pl.Float64),
        }
    ).with_row_index("position")
    return _decode(frame, vocabulary).select("position", "minute", "token", "family", "name", "bin", "event")


def tokens_by_family(windows: pl.DataFrame, vocabulary: dict[str, int]) -> pl.DataFrame:
    """Mean number of tokens a stay by family, largest first: family, mean.

    `windows` has a column tokens (list of ids), each list beginning with TL_START. Value and answer tokens
    count for the family of their category.
    """
    flat = windows.select(
        pl.col("tokens").alias("token_id"), pl.int_ranges(pl.col("tokens").list.len()).alias("position")
    )
    return (
        _decode(flat.explode("token_id", "position"), vocabulary)
        .group_by("family")
        .agg((pl.len() / windows.height).round(2).alias("mean"))
        .sort("mean", "family", descending=[True, False])
    )


def _decode(frame: pl.DataFrame, vocabulary: dict[str, int]) -> pl.DataFrame:
    """Add token, family, name, bin and event to rows of token_id and position, stay after stay."""
    frame = frame.join(token_table(vocabulary), on="token_id", how="left", maintain_order="left")
    is_age = (pl.col("position") == AGE_POSITION) & pl.col("bin").is_not_null()
    follows = (pl.col("bin").is_not_null() | (pl.col("family") == ANSWER_FAMILY)) & ~is_age
    carried = [
        pl.when(is_age).then(pl.lit("age")).when(~follows).then(pl.col(column)).forward_fill().alias(column)
        for column in ("family", "name")
    ]
    return frame.with_columns(*carried, (~follows).cum_sum().cast(pl.Int32).sub(1).alias("event"))
