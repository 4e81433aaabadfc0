"""One causal pass over each window: states, jumps, information and risk.

Runs with torch, transformers, numpy and safetensors alone. Symbols: R_t is the last hidden state (after
the final norm) at token t, x_t the token; n windows, T tokens of all of them, D the hidden size, H hours, K
linear read-outs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ehrfm_core.dynamics.forward import Forward, PackPlaces, PackReadOut
from ehrfm_core.model.packing import PAD_UNIT, Pack, Pieces, make_pack
from ehrfm_core.model.pooling import pooled_width
from ehrfm_core.model.scorer import to_tensors
from ehrfm_core.ragged import Ragged

Progress = Callable[[int, int, str], None]
PACK_TOKENS = 8_192


@dataclass(frozen=True, eq=False)
class ReadOut:
    """What one pass over n windows leaves behind; stays in the order given.

    `states` (n × D): R at the last token of the window, the 24 h representation.
    `hourly` (n × H + 1 × D, half precision): R at the last token at or before each of the hours 0 … H.
    `hourly_steps` (n × H): ‖R(h) − R(h − 1)‖₂ of these, from full precision.
    `jumps` (lists): ‖R_t − R_{t−1}‖₂, 0 for the first token.
    `information` (lists): −ln p(x_t | x_<t) in nats, not a number for the first token.
    `risks` (T × K, half precision): logits of the read-outs after every token.
    `turn` (n): mean angle between successive steps over the events, degrees; not a number without one.
    `displacement` (n): ‖R_last − R_first‖₂; `event_displacement` from the last token of the static prefix,
    `hourly_displacement` from the token that stands at hour 0.
    """

    states: np.ndarray
    hourly: np.ndarray
    hourly_steps: np.ndarray
    jumps: Ragged
    information: Ragged
    risks: np.ndarray
    turn: np.ndarray
    displacement: np.ndarray
    event_displacement: np.ndarray
    hourly_displacement: np.ndarray

    @classmethod
    def empty(cls, offsets: np.ndarray, *, width: int, hours: int, n_readouts: int) -> ReadOut:
        """Room for what is read from windows with these offsets (n + 1)."""
        n, total = len(offsets) - 1, int(offsets[-1])
        return cls(
            np.empty((n, width), dtype=np.float32),
            np.empty((n, hours + 1, width), dtype=np.float16),
            np.empty((n, hours), dtype=np.float32),
            Ragged(np.empty(total, dtype=np.float32), offsets),
            Ragged(np.empty(total, dtype=np.float32), offsets),
            np.empty((total, n_readouts), dtype=np.float16),
            *(np.empty(n, dtype=np.float32) for _ in range(4)),
        )


def last_token_at_hours(minutes: Ragged, *, hours: int) -> np.ndarray:
    """Index within its list of the last token at or before each hour 0 … `hours` (n × hours + 1).

    Every list starts at minute 0, so that there always is one.

    >>> last_token_at_hours(Ragged.from_lengths(np.array([0.0, 0.0, 61.0]), np.array([3])), hours=2)
    array([[1, 1, 2]])
    """
    starts = minutes.offsets[:-1]  # no list is empty, as reduceat needs
    reached = [np.add.reduceat(minutes.values <= 60 * h, starts, dtype=np.int64) for h in range(hours + 1)]
    return np.stack(reached, axis=1) - 1


def read_out(
    forward: Forward,
    windows: Ragged,
    minutes: Ragged,
    *,
    hours: int,
    prefix: int = 1,
    context: Ragged | None = None,
    pack_tokens: int = PACK_TOKENS,
    progress: Progress | None = None,
) -> ReadOut:
    """Pass every window (lists of token ids, at least one token each) through the model once.

    Windows stand side by side in packs, as in training: attention ends where a stay ends and nothing looks to
    its right, so that no state depends on who shares the pack. `prefix` tokens come before the first event.
    `context` (n lists) are tokens that the model reads before each window; nothing is kept of them.
    """
    before = context.lengths if context else np.zeros(len(windows), dtype=np.int64)
    sequences = context.joined(windows) if context else windows
    at_hours = last_token_at_hours(minutes, hours=hours)
    out = ReadOut.empty(
        windows.offsets,
        width=forward.model.config.hidden_size,
        hours=hours,
        n_readouts=forward.n_readouts,
    )
    done = 0
    for indices, pack in packs_of(sequences, pack_tokens):
        begin = pack.bounds[: len(indices)].astype(np.int64) + before[indices]
        lengths = windows.lengths[indices]
        last = begin + lengths - 1
        start = np.minimum(begin + prefix - 1, last)
        places = PackPlaces(begin[:, None] + at_hours[indices], begin, start, last)
        _keep(out, indices, begin, forward.read(to_device(forward, pack), places), prefix=prefix)
        done += int(lengths.sum())
        if progress:
            progress(done, len(windows.values), "")
    return out


def last_states(
    forward: Forward,
    windows: Ragged,
    *,
    context: Ragged | None = None,
    pooling: str = "last",
    pack_tokens: int = PACK_TOKENS,
    progress: Progress | None = None,
) -> np.ndarray:
    """R at the last token of each window (n × D) and nothing else: a pass without the output layer.

    With another `pooling` (see `model.pooling`) what it makes of the window's states.
    """
    before = context.lengths if context else np.zeros(len(windows), dtype=np.int64)
    windows = context.joined(windows) if context else windows
    width = pooled_width(forward.model.config.hidden_size, pooling)
    states = np.empty((len(windows), width), dtype=np.float32)
    done = 0
    for indices, pack in packs_of(windows, pack_tokens):
        first, last = pack.bounds[: len(indices)] + before[indices], pack.bounds[1 : len(indices) + 1] - 1
        states[indices] = forward.states_of(to_device(forward, pack), first, last, pooling=pooling)
        done += int(windows.lengths[indices].sum())
        if progress:
            progress(done, len(windows.values), "")
    return states


def packs_of(windows: Ragged, pack_tokens: int) -> Iterator[tuple[np.ndarray, Pack]]:
    """Longest windows first, one after another while they fit, then whatever fits: nothing is drawn."""
    pieces = Pieces(windows.values, windows.offsets[:-1], windows.lengths)
    room = max(pack_tokens, int(windows.lengths.max(initial=0)))
    order = np.argsort(-windows.lengths, kind="stable")
    ends = np.cumsum(windows.lengths[order])
    begin = 0
    while begin < len(order):
        before = ends[begin - 1] if begin else 0
        end = int(np.searchsorted(ends, before + room, side="right"))
        chosen = order[begin:end]
        length = int(windows.lengths[chosen].sum())
        # a length of its own for every pack would cost a kernel each
        yield chosen, make_pack(pieces, chosen, pad=0, pad_to=-(-length // PAD_UNIT) * PAD_UNIT)
        begin = end


def to_device(forward: Forward, pack: Pack) -> tuple:
    """The pack's arrays as tensors where the model is."""
    return to_tensors(pack, forward.device, fixed=False)


def _keep(out: ReadOut, indices: np.ndarray, begin: np.ndarray, read: PackReadOut, *, prefix: int) -> None:
    """Put what a pack gave where its stays stand; their windows `begin` there in the pack."""
    offsets = out.jumps.offsets
    lengths = (offsets[1:] - offsets[:-1])[indices]
    n_tokens = int(lengths.sum())
    starts = np.cumsum(lengths) - lengths
    positions = np.arange(n_tokens) - np.repeat(starts, lengths)
    flat = np.repeat(offsets[indices], lengths) + positions
    places = np.repeat(begin, lengths) + positions
    out.jumps.values[flat] = read.jumps[places]
    out.information.values[flat] = read.information[places]
    out.risks[flat] = read.risks[places]
    for name in (
        "states",
        "hourly",
        "hourly_steps",
        "displacement",
        "event_displacement",
        "hourly_displacement",
    ):
        getattr(out, name)[indices] = getattr(read, name)
    out.turn[indices] = _mean_angle(read.turns[places], positions >= prefix, starts)


def _mean_angle(cosines: np.ndarray, event: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Mean of the angles in degrees over the events of each stay; `starts` are the stays' first tokens."""
    counted = event & np.isfinite(cosines)
    angle = np.where(counted, np.degrees(np.arccos(np.where(counted, cosines, 1.0))), 0.0)
    number = np.add.reduceat(counted.astype(np.int64), starts)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.add.reduceat(angle, starts) / number, dtype=np.float32)
