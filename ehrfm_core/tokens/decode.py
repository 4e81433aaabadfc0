"""From tokens back to events a person can read."""

from __future__ import annotations

import polars as pl

from ehrfm_core.tokens.vocabulary import (
    AGE,
    ANSWER_FAMILY,
    FUSED,
    PREFIX_FAMILIES,
    bin_index,
    family,
    is_bin,
    name,
)

AGE_POSITION = 1 + PREFIX_FAMILIES.index(AGE)


def token_table(vocabulary: dict[str, int]) -> pl.DataFrame:
    """One row a token of the vocabulary: token_id, token, family, name, bin, answer.

    `name` is the part after the family; `bin` is the number of a value token or of a fused one, else null;
    `answer` is the answer of an answer token or of a fused one, else null.
    """
    names = list(vocabulary)
    return pl.DataFrame(
        {
            "token_id": pl.Series(list(vocabulary.values()), dtype=pl.Int32),
            "token": names,
            "family": [family(token) for token in names],
            "name": [name(token) for token in names],
            "bin": pl.Series([bin_index(token) for token in names], dtype=pl.Int32),
            "answer": pl.Series([_answer(token) for token in names], dtype=pl.String),
        }
    )


def _answer(token: str) -> str | None:
    if family(token) == ANSWER_FAMILY:
        return name(token)
    fused = token.partition(FUSED)[2]
    return fused if fused and bin_index(token) is None else None


def decode(
    tokens: list[int],
    minutes: list[float],
    vocabulary: dict[str, int],
    *,
    age_position: int | None = AGE_POSITION,
) -> pl.DataFrame:
    """One row a token of one timeline, with what it stands for.

    Columns: position (from 0), minute (since the stay's start), token, family, name, bin, answer and event.
    A value or answer token carries the family and name of the category before it; `event` numbers the
    events, so that a category and its value share it. `age_position` is where the age bin stands alone
    (`Tokenizer.age_position`).

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
    frame = frame.join(token_table(vocabulary), on="token_id", how="left", maintain_order="left")
    value = pl.col("token").map_elements(is_bin, return_dtype=pl.Boolean) if tokens else pl.lit(value=False)
    frame = frame.with_columns(value.alias("value"))
    is_age = (pl.col("position") == (-1 if age_position is None else age_position)) & pl.col("value")
    follows = (pl.col("value") | (pl.col("family") == ANSWER_FAMILY)) & ~is_age
    carried = [
        pl.when(is_age).then(pl.lit(AGE)).when(~follows).then(pl.col(column)).forward_fill().alias(column)
        for column in ("family", "name")
    ]
    return frame.with_columns(*carried, (~follows).cum_sum().cast(pl.Int32).sub(1).alias("event")).select(
        "position", "minute", "token", "family", "name", "bin", "answer", "event"
    )
