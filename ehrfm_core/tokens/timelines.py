"""From events to timelines of tokens, stay range after stay range."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from ehrfm_core.clif.site import Site
from ehrfm_core.parallel import in_order
from ehrfm_core.ragged import Ragged
from ehrfm_core.tokens import vocabulary as names
from ehrfm_core.tokens.kinds import Kinds
from ehrfm_core.tokens.spans import EDGE_SECONDS, Span, span_of
from ehrfm_core.tokens.tokenizer import MISSING, UNKNOWN_DISCHARGE, Tokenizer
from ehrfm_core.tokens.weights import weighed


@dataclass(frozen=True)
class Block:
    """Timelines of the stays `first` … `last` − 1 of a site.

    `tokens` and `minutes` (since the start, never falling): one list a stay, the whole stay. `stay`, `kind`
    and `minute` describe the events in order (n), `n_tokens` their tokens, a spacing token before them
    included. `n_outside` counts events left out because they lie more than 24 h before the start or after
    the end.
    """

    first: int
    last: int
    tokens: Ragged
    minutes: Ragged
    stay: np.ndarray
    kind: np.ndarray
    minute: np.ndarray
    n_tokens: np.ndarray
    n_outside: int
    n_strange_units: int


def build_timelines(site: Site, tokenizer: Tokenizer, kinds: Kinds) -> Iterator[Block]:
    """Timelines in order of id: start, static tokens, events, discharge, end.

    Events stand in the order of their second; those of one second in the order of the event map's sources,
    then by token, so that the order of rows in a table changes nothing. A code the vocabulary does not know
    is one UNK. What was recorded before the start (emergency department, transfers) stands at minute 0, in
    the order in which it happened. A spacing token, where the tokenizer has them, stands before the event
    that ends the gap; there is none before the discharge.
    """
    prefix, suffix = _prefix(site.stays, tokenizer), _suffix(site.stays, tokenizer)
    end_minute = (np.ceil((site.end - site.start) / 1e6) / 60).astype(np.float32)

    def build(part: int) -> Block:
        span = span_of(site, part)
        stays = slice(span.first, span.last)
        return _build(span, tokenizer, kinds, prefix[stays], suffix[stays], end_minute[stays])

    yield from in_order(build, range(site.store.n_partitions))


def _build(
    span: Span,
    tokenizer: Tokenizer,
    kinds: Kinds,
    prefix: np.ndarray,
    suffix: np.ndarray,
    end_minute: np.ndarray,
) -> Block:
    value = weighed(span, kinds.transitions, kinds.is_weight)
    unweighed = int(np.count_nonzero(np.isnan(value)) - np.count_nonzero(np.isnan(span.value)))
    strange = int(np.count_nonzero(kinds.strange[span.item] & ~np.isnan(value)))
    stay, second, kind = _ordered(span, kinds.of(span.item, value), len(kinds))
    since = np.maximum(second, 0)
    minute = (since / 60).astype(np.float32)
    lengths = kinds.lengths[kind]
    gap = _gaps(stay, since) if tokenizer.settings.spacing else np.full(len(stay), -1)
    n_tokens = lengths + (gap >= 0)
    n_stays, head, tail = span.last - span.first, prefix.shape[1], suffix.shape[1]
    per_stay = np.bincount(stay, weights=n_tokens, minlength=n_stays).astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(per_stay + head + tail)])
    tokens = np.empty(offsets[-1], dtype=np.int32)
    minutes = np.zeros(offsets[-1], dtype=np.float32)
    for column in range(head):
        tokens[offsets[:-1] + column] = prefix[:, column]
    for column in range(tail):
        place = offsets[1:] - tail + column
        tokens[place], minutes[place] = suffix[:, column], end_minute
    # events of all stays follow each other: their place is what came before, and the heads and tails between
    place = np.cumsum(n_tokens) - n_tokens + stay * (head + tail) + head
    if tokenizer.settings.spacing:
        spaced = np.flatnonzero(gap >= 0)
        ids = [tokenizer.vocabulary[f"{names.SPACING_FAMILY}/{name}"] for name in names.SPACINGS]
        tokens[place[spaced]] = np.array(ids, dtype=np.int32)[gap[spaced]]
        minutes[place[spaced]] = minute[spaced]
        place = place + (gap >= 0)
    tokens[place], minutes[place] = kinds.tokens[kind, 0], minute
    second_token = np.flatnonzero(lengths > 1)
    place = place[second_token] + 1
    tokens[place], minutes[place] = kinds.tokens[kind[second_token], 1], minute[second_token]
    return Block(
        span.first,
        span.last,
        Ragged(tokens, offsets),
        Ragged(minutes, offsets),
        stay,
        kind,
        minute,
        n_tokens,
        span.n_outside,
        strange + unweighed,
    )


def _ordered(span: Span, kind: np.ndarray, n_kinds: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stay (from 0 in this range), second and kind of the events in order: a sort of one integer each."""
    if not len(kind):
        return (np.empty(0, dtype=np.int64),) * 3
    second = span.second + EDGE_SECONDS
    kind_bits, second_bits = int(n_kinds).bit_length(), int(second.max()).bit_length()
    stay = span.stay - span.first
    assert kind_bits + second_bits + int(stay.max()).bit_length() <= 63, "a key does not fit into 64 bits"
    key = (stay << (kind_bits + second_bits)) | (second << kind_bits) | kind
    key = pl.Series(key).sort().to_numpy()  # on all cores
    stay = key >> (kind_bits + second_bits)
    second = ((key >> kind_bits) & ((1 << second_bits) - 1)) - EDGE_SECONDS
    return stay, second, key & ((1 << kind_bits) - 1)


def _gaps(stay: np.ndarray, second: np.ndarray) -> np.ndarray:
    """For each event the spacing that stands before it (place in `vocabulary.SPACINGS`), or −1."""
    before = np.concatenate([[0], second[:-1]])
    before[np.flatnonzero(np.diff(stay, prepend=-1))] = 0  # the first event of a stay follows the start
    return np.searchsorted(list(names.SPACINGS.values()), second - before, side="right") - 1


def _prefix(stays: pl.DataFrame, tokenizer: Tokenizer) -> np.ndarray:
    """TL_START and the static tokens of each stay (stays, 1 + static fields)."""
    vocabulary = tokenizer.vocabulary
    columns = [np.full(stays.height, vocabulary[names.START])]
    for family in tokenizer.prefix:
        if family == names.AGE:
            index = np.searchsorted(tokenizer.cut_points["age"], stays["age"].to_numpy(), side="right")
            values = tokenizer.value_tokens("age")
            if tokenizer.settings.scheme == "fused":
                values = [names.fuse("age/years", value) for value in values]
            columns.append(np.array([vocabulary[value] for value in values])[index])
        else:
            columns.append(_static(stays, family, vocabulary, vocabulary[names.UNK]))
    return np.stack(columns, axis=1).astype(np.int32)


def _suffix(stays: pl.DataFrame, tokenizer: Tokenizer) -> np.ndarray:
    """Discharge and TL_END of each stay (stays, 2)."""
    vocabulary = tokenizer.vocabulary
    discharge = _static(stays, names.SUFFIX_FAMILY, vocabulary, vocabulary[UNKNOWN_DISCHARGE])
    return np.stack([discharge, np.full(stays.height, vocabulary[names.END])], axis=1).astype(np.int32)


def _static(stays: pl.DataFrame, family: str, vocabulary: dict[str, int], unknown: int) -> np.ndarray:
    token = pl.lit(f"{family}/") + pl.col(f"static_{family}").fill_null(MISSING)
    ids = token.replace_strict(
        list(vocabulary), list(vocabulary.values()), default=unknown, return_dtype=pl.Int32
    )
    return stays.select(ids).to_series().to_numpy()


def n_in_window(block: Block, tokenizer: Tokenizer, hours: float | None) -> np.ndarray:
    """Tokens of each stay of a block within `hours` (None: whole stay), prefix included, suffix not."""
    inside = np.full(len(block.minute), True) if hours is None else block.minute <= hours * 60
    n_events = np.bincount(
        block.stay[inside], weights=block.n_tokens[inside], minlength=block.last - block.first
    )
    return n_events.astype(np.int64) + 1 + len(tokenizer.prefix)
