"""Whole stays: the states of every hour after the window, in the same causal pass.

A stay is longer than the model: after its window it is read piece by piece, each of half the model's length,
with the tokens before it in front as far as the model reaches. What is read at a token has seen at least
half that length, or everything. Runs with torch, transformers, numpy and safetensors alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ehrfm_core.dynamics.forward import Forward
from ehrfm_core.dynamics.states import PACK_TOKENS, Progress, packs_of, to_device
from ehrfm_core.dynamics.whole_stays import WholeStays
from ehrfm_core.ragged import Ragged


@dataclass(frozen=True, eq=False)
class Later:
    """Every hour after the window up to a stay's last event: M rows, stay after stay.

    `stay` and `hour` (M); `states` (M × D, half precision): R at the last token at or before the hour;
    `step` (M): its distance to the state an hour before, not a number where that one is out of the model's
    sight; `risks` (M × K): logits; `travelled` (M): Σ ‖R_t − R_{t−1}‖ over the events after the hour before;
    `n_events` (M): their number.
    """

    stay: np.ndarray
    hour: np.ndarray
    states: np.ndarray
    step: np.ndarray
    risks: np.ndarray
    travelled: np.ndarray
    n_events: np.ndarray


def read_later(
    forward: Forward,
    whole: WholeStays,
    *,
    max_tokens: int,
    pack_tokens: int = PACK_TOKENS,
    progress: Progress | None = None,
) -> Later:
    """Pass what comes after the windows through the model; it reads at most `max_tokens` at once."""
    pieces = _Pieces.of(whole, max_tokens=max_tokens)
    rows = _Rows.of(whole, pieces)
    n, width = len(rows.stay), forward.model.config.hidden_size
    states = np.empty((n, width), dtype=np.float16)
    step = np.full(n, np.nan, dtype=np.float32)
    risks = np.empty((n, forward.n_readouts), dtype=np.float32)
    jumps = np.empty(len(pieces.own.values), dtype=np.float32)
    done = 0
    for indices, pack in packs_of(pieces.seen, pack_tokens):
        begins = pack.bounds[: len(indices)].astype(np.int64)
        chosen = rows.of_piece.take(indices)
        shift = begins[chosen.rows]
        now = rows.place[chosen.values] + shift
        before = rows.place_before[chosen.values]
        known = before >= 0
        read = forward.follow(to_device(forward, pack), now, np.where(known, before, 0) + shift)
        states[chosen.values], risks[chosen.values] = read.states, read.risks
        step[chosen.values] = np.where(known, read.steps, np.nan)
        own = pieces.own.take(indices)
        into = own.values  # where these tokens stand among all that come after windows
        skipped = (pieces.seen.lengths - pieces.own.lengths)[indices]
        jumps[into] = read.jumps[begins[own.rows] + skipped[own.rows] + own.positions]
        done += int(own.lengths.sum())
        if progress:
            progress(done, len(jumps), "")
    travelled, n_events = rows.sums(whole, jumps)
    return Later(rows.stay, rows.hour, states, step, risks, travelled, n_events)


@dataclass(frozen=True, eq=False)
class _Pieces:
    """S pieces of the tokens after the windows, stay after stay.

    `seen` (S lists): tokens that the model reads, the piece at the end; `own` (S lists): numbers of the
    piece's tokens among all that come after windows; `begins` (S): the first token seen, as a place in
    `tokens`; `first` (n): each stay's first piece.
    """

    seen: Ragged
    own: Ragged
    begins: np.ndarray
    first: np.ndarray
    size: int

    @classmethod
    def of(cls, whole: WholeStays, *, max_tokens: int) -> _Pieces:
        size = max(1, max_tokens // 2)
        rest = whole.rest
        counts = -(-rest // size)
        first = np.cumsum(counts) - counts
        stay = np.repeat(np.arange(len(whole)), counts)
        begin = (whole.origin + whole.n_window)[stay] + (np.arange(len(stay)) - first[stay]) * size
        end = np.minimum(begin + size, (whole.origin + whole.minutes.lengths)[stay])
        # by the piece's full size, or what comes later in the stay would move what is seen before
        sight = np.maximum(whole.floor[stay], begin + size - max_tokens)
        flat = Ragged(whole.tokens, np.array([0, len(whole.tokens)]))
        lengths = end - begin
        own = Ragged.from_lengths(np.arange(lengths.sum()), lengths)
        return cls(flat.cut(sight, end), own, sight, first, size)


@dataclass(frozen=True, eq=False)
class _Rows:
    """M hours to be read: of which stay and hour, in which piece, and where in it.

    `place` and `place_before` (M) are places in the piece's `seen` of the tokens that stand at the hour and
    at the one before, −1 where that one is not seen; `of_piece` (S lists): rows of each piece.
    """

    stay: np.ndarray
    hour: np.ndarray
    place: np.ndarray
    place_before: np.ndarray
    of_piece: Ragged

    @classmethod
    def of(cls, whole: WholeStays, pieces: _Pieces) -> _Rows:
        last = np.zeros(len(whole))
        longer = whole.rest > 0
        last[longer] = whole.minutes.values[whole.minutes.offsets[1:][longer] - 1]
        counts = np.where(longer, np.ceil(last / 60).astype(np.int64) - whole.hours, 0)
        stay = np.repeat(np.arange(len(whole)), counts)
        hour = whole.hours + 1 + np.arange(len(stay)) - np.repeat(np.cumsum(counts) - counts, counts)
        now, before = (_last_token(whole.minutes, stay, h) for h in (hour, hour - 1))
        piece = pieces.first[stay] + np.maximum(now - whole.n_window[stay], 0) // pieces.size
        shift = whole.origin[stay] - pieces.begins[piece]
        of_piece = Ragged.from_lengths(np.arange(len(stay)), np.bincount(piece, minlength=len(pieces.seen)))
        return cls(stay, hour, now + shift, np.maximum(before + shift, -1), of_piece)

    def sums(self, whole: WholeStays, jumps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sum of the jumps of the tokens after the windows, and their number, in each hour (M)."""
        after = whole.minutes.positions >= np.repeat(whole.n_window, whole.minutes.lengths)
        hour = np.ceil(whole.minutes.values[after] / 60).astype(np.int64)
        counts = np.bincount(self.stay, minlength=len(whole))
        row = (np.cumsum(counts) - counts)[whole.minutes.rows[after]] + hour - whole.hours - 1
        size = len(self.stay)
        travelled = np.bincount(row, weights=jumps, minlength=size).astype(np.float32)
        return travelled, np.bincount(row, minlength=size).astype(np.int32)


def _last_token(minutes: Ragged, stay: np.ndarray, hour: np.ndarray) -> np.ndarray:
    """Index within its list of the last token at or before `hour` of list `stay` (M)."""
    apart = float(minutes.values.max(initial=0.0)) + 60.0 * float(hour.max(initial=0)) + 60.0
    ordered = minutes.values.astype(np.float64) + minutes.rows * apart
    found = np.searchsorted(ordered, stay * apart + 60.0 * hour, side="right") - 1
    return found - minutes.offsets[:-1][stay]
