from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM

from ehrfm_core.errors import UserError
from ehrfm_core.model import state
from ehrfm_core.model.parallel import Group
from ehrfm_core.model.pretrain import optimizer_of
from ehrfm_core.model.settings import PretrainSettings
from ehrfm_core.model.state import (
    GENERATOR,
    assemble,
    load_state,
    read_counted,
    save_state,
    sweep,
    weights_of,
    write_tensors,
)
from tests.model.conftest import fill
from tests.model.lives import half_a_file
from tests.model.made import llama
from tests.model.processes import FORKS, start, until

BATCH = torch.arange(5, 25)[None]


def trained(seed: int, *, steps: int = 3) -> tuple[LlamaForCausalLM, torch.optim.Optimizer]:
    model = llama(kv_heads=2, seed=seed)
    optimizer = optimizer_of(model, 1e-3, PretrainSettings())
    for _ in range(steps):
        a_step(model, optimizer)
    return model, optimizer


def a_step(model: LlamaForCausalLM, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    noise = torch.randn(1)  # so that the generator counts
    (model(BATCH, labels=BATCH).loss * noise.exp()).backward()
    optimizer.step()


def test_a_state_put_back_trains_on_to_the_same_weights(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    model, optimizer = trained(0)
    counted = {"identity": "ä", "step": 3, "best_loss": 0.1 + 0.2, "curve": [{"step": 1.0}]}
    save_state(path, model, optimizer, counted, Group())
    for _ in range(4):
        a_step(model, optimizer)
    other, its_optimizer = trained(1, steps=0)
    torch.manual_seed(99)
    load_state(path, other, its_optimizer, step=3)
    assert read_counted(path) == counted
    for _ in range(4):
        a_step(other, its_optimizer)
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)
        for key in ("exp_avg", "exp_avg_sq", "step"):
            assert torch.equal(optimizer.state[one][key], its_optimizer.state[two][key])


def test_weights_stand_once_and_make_the_same_model(tmp_path: Path) -> None:
    model, _ = trained(0)
    weights = weights_of(model)
    assert "lm_head.weight" not in weights
    again = assemble(model.config, weights, "cpu")
    assert again.lm_head.weight is again.model.embed_tokens.weight
    assert again.config._attn_implementation == "sdpa"
    assert not again.training
    with torch.no_grad():
        assert torch.equal(again(BATCH).logits, model.eval()(BATCH).logits)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_an_interrupted_write_keeps_the_file_that_was_there(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.safetensors"
    write_tensors(path, {"x": torch.ones(1000)})
    before = path.read_bytes()

    def half(tensors: dict[str, torch.Tensor], path: Path, metadata: Any) -> None:
        save_file(tensors, path, metadata)
        os.truncate(path, path.stat().st_size // 2)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(state, "save_file", half)
    with pytest.raises(UserError) as caught:
        write_tensors(path, {"x": torch.zeros(2_000_000)})
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    said = str(caught.value)
    assert "last good checkpoint is kept" in said
    assert str(path) in said
    if number == errno.EIO:
        assert os.strerror(number) in said
    else:
        assert f"The disk is full: {path} needs 8 MB" in said


def test_a_file_on_a_full_disk_is_kept(small_disk: Path) -> None:
    path = small_disk / "state.safetensors"
    write_tensors(path, {"x": torch.ones(100_000)})
    before = path.read_bytes()
    with pytest.raises(UserError, match="The disk is full: .* needs 1 MB"):
        write_tensors(path, {"x": torch.zeros(200_000)})
    fill(small_disk)
    with pytest.raises(UserError, match="The disk is full"):
        write_tensors(path, {"x": torch.zeros(10_000)})
    assert path.read_bytes() == before
    assert {file.name for file in small_disk.iterdir()} == {path.name, "filling"}


def test_a_kill_in_the_middle_of_a_write_keeps_the_file_that_was_there(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    write_tensors(path, {"x": torch.ones(1000)})
    writing = FORKS.Value("i", 0)
    process = start(half_a_file, path, writing)
    until(lambda: writing.value == 1)
    process.kill()
    process.join()
    left = [file for file in tmp_path.iterdir() if file != path]
    assert len(left) == 1
    assert 0 < left[0].stat().st_size < path.stat().st_size
    assert torch.equal(load_file(path)["x"], torch.ones(1000))
    write_tensors(path, {"x": torch.zeros(1000)})
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_what_a_kill_within_the_library_leaves_is_swept(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    write_tensors(path, {"x": torch.ones(1000)})
    for _ in range(20):
        process = start(write_tensors, path, {"x": torch.zeros(50_000_000)})
        until(lambda process=process: len(list(tmp_path.iterdir())) > 1 or not process.is_alive())
        process.kill()
        process.join()
        if set(tmp_path.iterdir()) != {path}:
            break
    left = [file.name for file in tmp_path.iterdir() if file != path]
    assert len(left) == 1
    assert left[0].startswith(".")
    (tmp_path / ".last.partial").mkdir()
    (tmp_path / ".last.partial" / "config.json").write_text("{")
    sweep(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_file_can_be_read_by_others(tmp_path: Path) -> None:
    write_tensors(tmp_path / "new" / "x.safetensors", {"x": torch.ones(4, 6).T})
    assert (tmp_path / "new" / "x.safetensors").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.999])
def test_a_state_cut_short_is_none(share: float, tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    save_state(path, *trained(0), {"identity": ""}, Group())
    assert read_counted(path) == {"identity": ""}
    os.truncate(path, int(path.stat().st_size * share))
    assert read_counted(path) is None


@pytest.mark.parametrize(
    "metadata", [None, {}, {"format": "pt"}, {"counted": "{"}, {"counted": "[1]"}, {"counted": "{}"}]
)
def test_a_foreign_file_is_none(metadata: dict[str, str] | None, tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    assert read_counted(path) is None
    save_file({GENERATOR: torch.get_rng_state()}, path, metadata)
    assert read_counted(path) is None
    save_file({"x": torch.ones(1)}, path, {"counted": '{"identity": ""}'})
    assert read_counted(path) is None
    path.write_text("not a state at all, but long enough for a header")
    assert read_counted(path) is None
    path.unlink()
    path.mkdir()
    assert read_counted(path) is None


def test_the_state_of_another_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    save_state(path, torch.nn.Linear(2, 2), torch.optim.AdamW([torch.ones(1)]), {"identity": ""}, Group())
    with pytest.raises(UserError, match=r"state\.safetensors is the state of another model"):
        load_state(path, *trained(0), step=3)
