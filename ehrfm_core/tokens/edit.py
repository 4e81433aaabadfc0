"""One stay's window as a table of events that can be edited, and back to tokens.

What was not touched comes back as it was, token for token. Times are minutes since the stay's start.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from ehrfm_core.errors import UserError
from ehrfm_core.tokens import vocabulary as names
from ehrfm_core.tokens.tokenizer import Tokenizer

EVENTS = pl.Schema({"minute": pl.Float64(), "code": pl.String(), "value": pl.String()})


def split_prefix(tokens: np.ndarray, tokenizer: Tokenizer) -> tuple[np.ndarray, np.ndarray]:
    """The start with the static tokens, and the tokens of events after them."""
    length = 1 + len(tokenizer.prefix)
    return tokens[:length], tokens[length:]


def events_of(tokens: np.ndarray, minutes: np.ndarray, tokenizer: Tokenizer) -> pl.DataFrame:
    """The events of a window (T ids and minutes, static prefix included) in order, one a row.

    `code` is family/name, `value` the bin (Q0 …, LOW, NORMAL, HIGH) or the answer that belongs to it, null
    where there is none. Spacing tokens are left out: they follow from the times.
    """
    table = {i: token for token, i in tokenizer.vocabulary.items()}
    start = 1 + len(tokenizer.prefix)
    rows: list[tuple[float, str, str | None]] = []
    for token, minute in zip((table[int(i)] for i in tokens[start:]), minutes[start:], strict=True):
        family = names.family(token)
        if family == names.SPACING_FAMILY:
            continue
        if (names.is_bin(token) or family == names.ANSWER_FAMILY) and rows and rows[-1][2] is None:
            rows[-1] = (*rows[-1][:2], token)
        else:
            code, _, value = token.partition(names.FUSED)
            rows.append((float(minute), code, value or None))
    return pl.DataFrame(rows, schema=EVENTS, orient="row")


def tokens_of(
    prefix: np.ndarray, events: pl.DataFrame, tokenizer: Tokenizer, *, hours: float, max_tokens: int
) -> tuple[np.ndarray, np.ndarray]:
    """Ids (int64) and minutes (float32) of the window that starts with `prefix` and holds these events.

    Events are put in order of time; those of one minute stay in the order given. Later ones than `hours` and
    tokens beyond `max_tokens` are left out as in any window.
    Raises UserError where an event has no time within the window's beginning, or a code or value is unknown.
    """
    vocabulary = tokenizer.vocabulary
    if (
        events.select(((pl.col("minute") < 0) | ~pl.col("minute").is_finite()).any()).item()
        or events["minute"].null_count()
    ):
        raise UserError("An event has no time or one before the stay's start; give minutes of 0 or more.")
    ids = [int(i) for i in prefix]
    times = [0.0] * len(ids)
    before = 0.0
    for minute, code, value in events.sort("minute", maintain_order=True).iter_rows():  # one stay's
        if minute > 60 * hours:
            break
        new = event_tokens(code, value, tokenizer)
        if tokenizer.settings.spacing and (gap := _spacing(round(60 * (minute - before)))):
            new = [vocabulary[gap], *new]
        ids += new
        times += [minute] * len(new)
        before = minute
    if len(ids) > max_tokens:
        ids = [*ids[: max_tokens - 1], vocabulary[names.TRUNC]]
        times = [*times[: max_tokens - 1], times[max_tokens - 2]]
    return np.array(ids, dtype=np.int64), np.array(times, dtype=np.float32)


def event_tokens(code: str, value: str | None, tokenizer: Tokenizer) -> list[int]:
    """Ids of one event: a category and its bin or answer, or a fused token.

    Raises UserError where the vocabulary has no such code, or the code no such value.
    """
    vocabulary = tokenizer.vocabulary
    known = code in vocabulary or code in tokenizer.cut_points or code in tokenizer.reference
    if not known and value is not None:
        known = names.fuse(code, value) in vocabulary
    if not known:
        raise UserError(f"{code} is no event of this study's vocabulary; choose one that is.")
    if value is None:
        return [vocabulary.get(code, vocabulary[names.UNK])]
    if tokenizer.settings.scheme == "fused":
        token = names.fuse(code, value)
        if token not in vocabulary:
            raise UserError(f"{code} has no value {value} in this study's vocabulary.")
        return [vocabulary[token]]
    allowed = tokenizer.value_tokens(code)
    if value not in vocabulary or (names.is_bin(value) and allowed and value not in allowed):
        raise UserError(f"{code} has no value {value}; it has {', '.join(allowed) or 'none'}.")
    return [vocabulary[code], vocabulary[value]]


def value_token(code: str, number: float, tokenizer: Tokenizer) -> str:
    """The bin that a measured number falls into.

    Raises UserError where the code has no bins or the number is none.
    """
    tokens = tokenizer.value_tokens(code)
    if not tokens or not np.isfinite(number):
        raise UserError(f"{code} takes no number {number:g}." if tokens else f"{code} takes no number.")
    if code in tokenizer.reference:
        lower, upper = tokenizer.reference[code]
        return tokens[0 if number < lower else 1 if number <= upper else 2]
    return tokens[int(np.searchsorted(tokenizer.cut_points[code], number, side="right"))]


def _spacing(seconds: int) -> str | None:
    place = int(np.searchsorted(list(names.SPACINGS.values()), seconds, side="right")) - 1
    return f"{names.SPACING_FAMILY}/{list(names.SPACINGS)[place]}" if place >= 0 else None
