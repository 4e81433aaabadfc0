"""From tokens back to events a person can read."""

from __future__ import annotations

import numpy as np
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
AGE_SUBJECT = -1  # what the age bin is about: no token of its own


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


def subject_table(vocabulary: dict[str, int]) -> pl.DataFrame:
    """One row a thing that a token can be about: subject (as in `subjects`), family, name."""
    age = pl.DataFrame(
        {"subject": AGE_SUBJECT, "family": AGE, "name": AGE}, schema_overrides={"subject": pl.Int32}
    )
    return pl.concat(
        [token_table(vocabulary).select(pl.col("token_id").alias("subject"), "family", "name"), age]
    )


def subjects(
    tokens: np.ndarray,
    positions: np.ndarray,
    vocabulary: dict[str, int],
    *,
    age_position: int | None = AGE_POSITION,
) -> np.ndarray:
    """What each token of timelines laid end to end is about: the id of a token, or AGE_SUBJECT (n).

    A value or answer token is about the category before it, every other token about itself, and the age bin,
    which stands alone at `age_position` (`Tokenizer.age_position`), about the age. `tokens` are ids (n),
    `positions` their places within their timelines, from 0 (n).

    >>> vocabulary = {"TL_START": 0, "Q7": 1, "lab/potassium": 2}
    >>> subjects(np.array([0, 2, 1, 0, 2]), np.array([0, 1, 2, 0, 1]), vocabulary, age_position=None).tolist()
    [0, 2, 2, 0, 2]
    """
    first, is_age = _first(tokens, positions, vocabulary, age_position)
    heads = np.maximum.accumulate(np.where(first, np.arange(len(tokens)), 0))
    return np.where(is_age, AGE_SUBJECT, tokens)[heads].astype(np.int32)


def _first(
    tokens: np.ndarray, positions: np.ndarray, vocabulary: dict[str, int], age_position: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Which tokens begin an event (n), and which are age bins (n)."""
    values = np.isin(tokens, [i for token, i in vocabulary.items() if is_bin(token)])
    answers = np.isin(tokens, [i for token, i in vocabulary.items() if family(token) == ANSWER_FAMILY])
    is_age = values & (positions == (-1 if age_position is None else age_position))
    return ~(values | answers) | is_age | (positions == 0), is_age


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
    ids, positions = np.array(tokens, dtype=np.int32), np.arange(len(tokens))
    first, _ = _first(ids, positions, vocabulary, age_position)
    frame = pl.DataFrame(
        {
            "token_id": ids,
            "minute": pl.Series(minutes, dtype=pl.Float64),
            "subject": subjects(ids, positions, vocabulary, age_position=age_position),
            "event": np.cumsum(first, dtype=np.int32) - 1,
        }
    ).with_row_index("position")
    return (
        frame.join(
            token_table(vocabulary).drop("family", "name"), on="token_id", how="left", maintain_order="left"
        )
        .join(subject_table(vocabulary), on="subject", how="left", maintain_order="left")
        .select("position", "minute", "token", "family", "name", "bin", "answer", "event")
    )
