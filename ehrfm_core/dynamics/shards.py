"""A pass over many windows in shards, each kept on disk as soon as it is read.

A pass that is killed loses the shard it was in and goes on with the next one. Runs with torch, transformers,
numpy and safetensors alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from ehrfm_core.dynamics.forward import Forward
from ehrfm_core.dynamics.states import PACK_TOKENS, Progress, ReadOut, read_out
from ehrfm_core.model.state import write_tensors
from ehrfm_core.ragged import Ragged

SHARD_TOKENS = 1_000_000  # a minute or two of a CPU, seconds of a GPU

_LISTS = ("jumps", "information")  # a shard's are as long as its windows


def shards_of(lengths: np.ndarray, *, shard_tokens: int) -> list[slice]:
    """Consecutive windows of at most so many tokens together; a longer window stands alone.

    >>> shards_of(np.array([3, 4, 9, 1]), shard_tokens=8)
    [slice(0, 2, None), slice(2, 3, None), slice(3, 4, None)]
    """
    ends = np.cumsum(lengths)
    shards, begin = [], 0
    while begin < len(lengths):
        before = ends[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, before + shard_tokens, side="right")))
        shards.append(slice(begin, end))
        begin = end
    return shards


def read_out_in_shards(
    forward: Forward,
    windows: Ragged,
    minutes: Ragged,
    *,
    folder: Path,
    identity: str,
    hours: int,
    prefix: int = 1,
    context: Ragged | None = None,
    pack_tokens: int = PACK_TOKENS,
    shard_tokens: int = SHARD_TOKENS,
    progress: Progress | None = None,
) -> ReadOut:
    """As `read_out`, with what has been read kept in `folder` and taken from there another time.

    `identity` says of what the pass is (inputs, settings, model): a shard of another one is read again.
    Raises UserError where the disk is full; shards written before are kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    width, total = forward.model.config.hidden_size, len(windows.values)
    out = ReadOut.empty(windows.offsets, width=width, hours=hours, n_readouts=forward.n_readouts)
    for number, shard in enumerate(shards_of(windows.lengths, shard_tokens=shard_tokens)):
        begin, end = int(windows.offsets[shard.start]), int(windows.offsets[shard.stop])
        own = [_cut(lists, shard) for lists in (windows, minutes)]
        path = folder / f"shard-{number:05d}.safetensors"
        identity_here = f"{identity} {shard.start}-{shard.stop}"
        if not _restore(path, identity_here, out, shard, begin, end):
            read = read_out(
                forward,
                *own,
                hours=hours,
                prefix=prefix,
                context=_cut(context, shard) if context else None,
                pack_tokens=pack_tokens,
                progress=after(progress, begin, total),
            )
            _write(path, identity_here, read)
            _fill(out, {name: _flat(read, name) for name in _names()}, shard, begin, end)
        elif progress:
            progress(end, total, "kept")
    return out


def after(progress: Progress | None, before: int, total: int) -> Progress | None:
    """Progress of a part that begins when `before` of `total` tokens are done."""
    if progress is None:
        return None
    return lambda done, _, text: progress(before + done, total, text)


def _cut(lists: Ragged, shard: slice) -> Ragged:
    offsets = lists.offsets[shard.start : shard.stop + 1]
    return Ragged(lists.values[offsets[0] : offsets[-1]], offsets - offsets[0])


def _names() -> Iterator[str]:
    return (field.name for field in fields(ReadOut))


def _flat(read: ReadOut, name: str) -> np.ndarray:
    value = getattr(read, name)
    return value.values if name in _LISTS else value


def _fill(out: ReadOut, arrays: dict[str, np.ndarray], shard: slice, begin: int, end: int) -> None:
    for name in _names():
        by_token = name in _LISTS or name == "risks"
        target = _flat(out, name)[begin:end] if by_token else _flat(out, name)[shard]
        target[...] = arrays[name]


def _write(path: Path, identity: str, read: ReadOut) -> None:
    tensors = {name: torch.from_numpy(np.ascontiguousarray(_flat(read, name))) for name in _names()}
    write_tensors(path, tensors, {"identity": identity})


def _restore(path: Path, identity: str, out: ReadOut, shard: slice, begin: int, end: int) -> bool:
    """Take a shard from disk into `out`; False where there is none of this pass."""
    if not path.is_file():
        return False
    try:
        with safe_open(path, framework="numpy") as file:
            if (file.metadata() or {}).get("identity") != identity:
                return False
            arrays = {name: file.get_tensor(name) for name in _names()}
    except (OSError, SafetensorError):
        return False
    _fill(out, arrays, shard, begin, end)
    return True
