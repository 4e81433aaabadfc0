"""A run whose loss is no longer a number ends with a sentence, and with its last good state."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from ehrfm_core.errors import UserError
from ehrfm_core.model.history import METRICS, read_run
from ehrfm_core.model.keeper import STATE
from ehrfm_core.model.pretrain import pretrain
from ehrfm_core.model.settings import Execution
from ehrfm_core.model.state import read_counted
from tests.model.conftest import fill
from tests.model.made import FP32, VOCABULARY, llama, mini, timelines

DATA = timelines(60, 0), timelines(10, 1), VOCABULARY


def execution(folder: Path, **more: Any) -> Execution:
    return replace(FP32, folder=folder, identity="a", save_steps=10, **more)


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def steps_told(folder: Path) -> list[int]:
    lines = (folder / METRICS).read_text().splitlines()
    return [json.loads(line, parse_constant=refuse)["step"] for line in lines]


@pytest.mark.parametrize("between", [1, 20])
def test_a_rate_far_too_high_is_named(between: int, tmp_path: Path) -> None:
    settings = mini(steps=100, learning_rate=1e6, steps_between=between, patience=100)
    with pytest.raises(UserError) as caught:
        pretrain(*DATA, settings, execution(tmp_path))
    told, said = read_run(tmp_path), str(caught.value)
    assert f"not a number at step {told['step']}" in said
    assert "lower --learning-rate than 1e+06" in said
    assert (told["status"], told["reason"]) == ("stopped", said)
    assert all(step < told["step"] for step in steps_told(tmp_path))
    found = read_counted(tmp_path / STATE)
    if found is None:
        assert "no state had been saved yet" in said
    else:
        assert f"the state of step {found['step']} is kept" in said
        assert all(value.float().isfinite().all() for value in load_file(tmp_path / STATE).values())
    assert (found is None) == (between == 20)


@pytest.mark.parametrize(("spoilt", "noticed"), [(25, 26), (20, 21), (30, 30)])  # there is a look at step 30
def test_the_state_before_is_good_to_go_on_from(spoilt: int, noticed: int, tmp_path: Path) -> None:
    settings = mini(steps=50, steps_between=30)
    model, step = llama(kv_heads=2), 0

    def spoil() -> bool:
        nonlocal step
        step += 1
        if step == spoilt:
            with torch.no_grad():
                model.model.norm.weight[3] = torch.nan
        return False

    kept = 10 if spoilt == 20 else 20  # what was spoilt before it was saved must not be saved
    with pytest.raises(UserError, match=rf"not a number at step {noticed} \(the state of step {kept} is"):
        pretrain(*DATA, settings, execution(tmp_path, stop=spoil), start=model)
    assert read_run(tmp_path)["status"] == "stopped"
    assert all(value.float().isfinite().all() for value in load_file(tmp_path / STATE).values())
    on = pretrain(*DATA, settings, execution(tmp_path), start=llama(kv_heads=2))
    alone = pretrain(*DATA, settings, FP32, start=llama(kv_heads=2))
    for one, other in zip(on.last.parameters(), alone.last.parameters(), strict=True):
        assert torch.equal(one, other)
    assert steps_told(tmp_path) == [10, 20, 30, 40, 50]


def test_a_full_disk_ends_a_run_with_one_sentence_and_room_lets_it_go_on(small_disk: Path) -> None:
    step = 0

    def fill_up() -> bool:
        nonlocal step
        step += 1
        if step == 25:
            fill(small_disk)
        return False

    settings = mini(steps=40)
    with pytest.raises(UserError, match="The disk is full: .* The last good checkpoint is kept"):
        pretrain(*DATA, settings, execution(small_disk / "run", stop=fill_up))
    assert read_counted(small_disk / "run" / STATE)["step"] == 20  # type: ignore[index]
    (small_disk / "filling").unlink()
    on = pretrain(*DATA, settings, execution(small_disk / "run"))
    alone = pretrain(*DATA, settings, FP32)
    for one, other in zip(on.model.parameters(), alone.model.parameters(), strict=True):
        assert torch.equal(one, other)
