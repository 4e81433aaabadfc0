"""The window: the tokens of a stay that the model may see."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa

from ehrfm_core.ragged import Ragged
from ehrfm_core.tokens.tokenizer import Tokenizer
from ehrfm_core.tokens.vocabulary import TRUNC, suffix_ids


def cut_window(
    timelines: pl.DataFrame, vocabulary: dict[str, int], *, hours: float, max_tokens: int
) -> pl.DataFrame:
    """Keep the tokens at or before `hours` after the stay's start, at most `max_tokens` of them.

    `timelines` has hospitalization_id, tokens (list) and minutes (list, since the stay's start).
    The suffix (discharge, TL_END) is dropped whatever its time. A longer window keeps its first
    `max_tokens` − 1 tokens and ends in TRUNC, at the minute of the last token kept.
    Returns the same columns and rows in the same order.

    >>> frame = pl.DataFrame({"hospitalization_id": ["a"], "tokens": [[3, 6, 6, 4]],
    ...                       "minutes": [[0.0, 60.0, 1441.0, 1500.0]]})
    >>> vocabulary = {"PAD": 0, "UNK": 1, "TRUNC": 2, "TL_START": 3, "TL_END": 4, "Q0": 5, "lab/a": 6}
    >>> cut_window(frame, vocabulary, hours=24, max_tokens=10)["tokens"].to_list()
    [[3, 6]]
    """
    tokens = to_ragged(timelines["tokens"], np.int32)
    minutes = to_ragged(timelines["minutes"], np.float32)
    inside = (minutes.values <= hours * 60) & ~np.isin(tokens.values, suffix_ids(vocabulary))
    tokens, minutes = tokens.keep(inside), minutes.keep(inside)
    too_long = np.repeat(tokens.lengths > max_tokens, tokens.lengths)
    last = too_long & (tokens.positions == max_tokens - 1)
    values, times = tokens.values.copy(), minutes.values.copy()
    values[last] = vocabulary[TRUNC]
    times[last] = times[np.flatnonzero(last) - 1]
    kept = tokens.positions < max_tokens
    return pl.DataFrame(
        {
            "hospitalization_id": timelines["hospitalization_id"],
            "tokens": to_series(Ragged(values, tokens.offsets).keep(kept)),
            "minutes": to_series(Ragged(times, tokens.offsets).keep(kept)),
        }
    )


def model_window(timelines: pl.DataFrame, tokenizer: Tokenizer) -> pl.DataFrame:
    """`cut_window` as the tokenizer's settings say: what the model sees of these stays."""
    return cut_window(
        timelines,
        tokenizer.vocabulary,
        hours=tokenizer.settings.window_hours,
        max_tokens=tokenizer.settings.window_tokens,
    )


def to_ragged(column: pl.Series, dtype: type) -> Ragged:
    """A list column as flat arrays; null and empty lists have length 0."""
    lengths = column.list.len().fill_null(0).to_numpy()
    values = column.filter(column.list.len().fill_null(0) > 0).explode().to_numpy()
    return Ragged.from_lengths(values.astype(dtype), lengths)


def to_series(lists: Ragged) -> pl.Series:
    """Flat arrays as a list column, without copying them."""
    # from buffers, because pyarrow.array() imports pandas, a fifth of a second
    values = np.ascontiguousarray(lists.values)
    kind = pa.from_numpy_dtype(values.dtype)
    inner = pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(values)])
    offsets = pa.py_buffer(np.ascontiguousarray(lists.offsets, dtype=np.int64))
    array = pa.Array.from_buffers(pa.large_list(kind), len(lists), [None, offsets], children=[inner])
    return pl.Series(pl.from_arrow(array))
