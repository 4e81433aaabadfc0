"""Windows without part of their events: those of most or least information, or a random part.

An event is a category token with what belongs to it: its bin or answer, and the spacing token before it. The
static prefix always stays. Information is that of the whole window, −Σ ln p(x_t | x_<t) over the event's
tokens, read before anything is dropped.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from ehrfm_core.ragged import Ragged
from ehrfm_core.tokens import vocabulary as names

Dropped = Literal["most", "least", "random"]


def event_begins(tokens: Ragged, vocabulary: dict[str, int], *, prefix: int) -> np.ndarray:
    """Whether a token begins an event (one a token); false in the prefix.

    >>> vocabulary = {"TL_START": 0, "Q1": 1, "lab/a": 2, "time/1h-2h": 3}
    >>> tokens = Ragged.from_lengths(np.array([0, 2, 1, 3, 2]), np.array([5]))
    >>> event_begins(tokens, vocabulary, prefix=1).tolist()
    [False, True, False, True, False]
    """
    family = np.array([names.family(token) for token in vocabulary])
    ids = np.array(list(vocabulary.values()))
    values = np.array([names.is_bin(token) for token in vocabulary]) | (family == names.ANSWER_FAMILY)
    is_value = np.isin(tokens.values, ids[values])
    spacing = np.isin(tokens.values, ids[family == names.SPACING_FAMILY])
    after_spacing = np.concatenate([[False], spacing[:-1]])
    return (tokens.positions >= prefix) & ~is_value & ~after_spacing


def redact(
    tokens: Ragged,
    minutes: Ragged,
    information: Ragged,
    begins: np.ndarray,
    *,
    share: float,
    dropped: Dropped,
    seed: int,
    prefix: int,
) -> tuple[Ragged, Ragged]:
    """Tokens and minutes without ⌊share · n⌋ of the n events of each stay; ties go by place in the window.

    `begins` as `event_begins` tells. The same seed drops the same random events; a larger share drops those
    of a smaller one and more.
    """
    event = np.cumsum(begins) - 1  # of all stays; in the prefix that of the stay before, which is masked
    in_event = tokens.positions >= prefix
    n_events = int(begins.sum())
    stay = tokens.rows[begins]
    if dropped == "random":
        weight = np.random.default_rng(seed).random(n_events)
    else:
        nats = np.nan_to_num(information.values.astype(np.float64))
        nats = -nats if dropped == "most" else nats
        weight = np.bincount(event[in_event], weights=nats[in_event], minlength=n_events).astype(np.float64)
    order = np.lexsort((np.arange(n_events), weight, stay))
    per_stay = np.bincount(stay, minlength=len(tokens))
    rank = np.empty(n_events, dtype=np.int64)
    rank[order] = np.arange(n_events) - np.repeat(np.cumsum(per_stay) - per_stay, per_stay)
    goes = rank < np.floor(share * per_stay + 1e-9)[stay]
    kept = ~in_event
    kept[in_event] = ~goes[event[in_event]]
    return tokens.keep(kept), minutes.keep(kept)
