from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehrfm_core.dynamics import shards
from ehrfm_core.dynamics.forward import Forward
from ehrfm_core.dynamics.readouts import LinearReadouts
from ehrfm_core.dynamics.shards import read_out_in_shards, shards_of
from ehrfm_core.dynamics.states import ReadOut, read_out
from tests.dynamics.test_states import MODEL, READOUTS, windows

LENGTHS = [40, 12, 33, 90, 5, 21]


def arrays(out: ReadOut) -> dict[str, np.ndarray]:
    values = {field.name: getattr(out, field.name) for field in fields(out)}
    return {name: getattr(value, "values", value) for name, value in values.items()}


def run(folder: Path, *, identity: str = "this", readouts: LinearReadouts = READOUTS, **more: Any) -> ReadOut:
    forward = Forward(MODEL, readouts=readouts)
    return read_out_in_shards(
        forward, *windows(LENGTHS), folder=folder, identity=identity, hours=24, shard_tokens=60, **more
    )


def test_shards_together_are_the_whole(tmp_path: Path) -> None:
    whole = read_out(Forward(MODEL, readouts=READOUTS), *windows(LENGTHS), hours=24)
    for name, values in arrays(run(tmp_path)).items():
        assert np.allclose(values, arrays(whole)[name], atol=3e-3, equal_nan=True), name
    assert len(list(tmp_path.iterdir())) == 4


def test_what_was_read_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, seen = shards.read_out, []

    def counting(forward: Forward, tokens: Any, *more: Any, **options: Any) -> ReadOut:
        seen.append(len(tokens))
        if len(seen) == 3:
            raise KeyboardInterrupt
        return read(forward, tokens, *more, **options)

    monkeypatch.setattr(shards, "read_out", counting)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    told: list[int] = []
    resumed = run(tmp_path, progress=lambda done, total, text: told.append(done))
    assert len(seen) == 3 + 2  # the two shards that were kept are not read again
    assert told == sorted(told)
    assert told[-1] == sum(LENGTHS)
    monkeypatch.setattr(shards, "read_out", read)
    for name, values in arrays(run(tmp_path / "anew")).items():
        assert np.array_equal(values, arrays(resumed)[name], equal_nan=True), name


@pytest.mark.parametrize("damage", ["cut", "other", "none"])
def test_a_shard_of_something_else_is_read_again(tmp_path: Path, damage: str) -> None:
    before = run(tmp_path)
    first = sorted(tmp_path.iterdir())[0]
    if damage == "cut":
        first.write_bytes(first.read_bytes()[:100])
    again = run(tmp_path, identity="this" if damage != "other" else "that")
    for name, values in arrays(again).items():
        assert np.array_equal(values, arrays(before)[name], equal_nan=True), name


@given(st.lists(st.integers(1, 50), max_size=30), st.integers(1, 80))
def test_every_window_is_in_one_shard(lengths: list[int], limit: int) -> None:
    found = shards_of(np.array(lengths, dtype=np.int64), shard_tokens=limit)
    assert [i for shard in found for i in range(shard.start, shard.stop)] == list(range(len(lengths)))
    for shard in found:
        assert sum(lengths[shard]) <= limit or shard.stop - shard.start == 1
