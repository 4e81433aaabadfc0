from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from transformers import LlamaForCausalLM

from ehrfm_core.dynamics import states
from ehrfm_core.errors import UserError
from ehrfm_core.model import attention
from ehrfm_core.model.checkpoint import load
from ehrfm_core.model.packing import Pieces
from ehrfm_core.ragged import Ragged
from ehrfm_core.study import open_study
from tests.model.made import llama, timelines
from train import gate
from train.gate import check_information

DEMO = Path(__file__).parents[2] / "data_samples" / "studies" / "demo-two-hospitals"
ID = "hospitalization_id"
HELD_OUT = Pieces.of(timelines(40, 1), max_tokens=64)


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    return llama(kv_heads=2)


def test_what_is_read_out_of_a_sound_model_is_its_loss(model: LlamaForCausalLM) -> None:
    assert abs(check_information(model, HELD_OUT, device="cpu", seed=0)) < 1e-5


def test_a_trained_model_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    study = open_study(DEMO)
    stays = study.site_table(study.source, "stays").filter(pl.col("split") == "tuning").select(ID)
    tokens = study.site_table(study.source, "timelines").join(stays, on=ID, how="semi")["tokens"]
    timelines = Ragged.from_lengths(tokens.explode().to_numpy(), tokens.list.len().to_numpy())
    monkeypatch.setattr(gate, "TOKENS", 5_000)
    pieces = Pieces.of(timelines, max_tokens=512)
    assert abs(check_information(load(DEMO / "model"), pieces, device="cpu", seed=0)) < 1e-5


def test_a_large_split_is_looked_at_in_part(model: LlamaForCausalLM, monkeypatch: pytest.MonkeyPatch) -> None:
    read, seen = gate.read_out, []

    def counting(model: LlamaForCausalLM, lists: Ragged, *more: Any, **options: Any) -> states.ReadOut:
        seen.append(len(lists.values))
        return read(model, lists, *more, **options)

    monkeypatch.setattr(gate, "read_out", counting)
    monkeypatch.setattr(gate, "TOKENS", 200)
    assert abs(check_information(model, HELD_OUT, device="cpu", seed=0)) < 1e-5
    assert 100 < seen[0] <= 200 < HELD_OUT.n_tokens


def shifted(patch: pytest.MonkeyPatch) -> None:
    """The state of a token is that of the one after it."""
    forward = states._forward

    def wrong(model: LlamaForCausalLM, batch: torch.Tensor) -> tuple[np.ndarray, ...]:
        hidden, step, nats = forward(model, batch)
        return hidden, step, np.roll(nats, 1, axis=1)

    patch.setattr(states, "_forward", wrong)


def not_a_number(patch: pytest.MonkeyPatch) -> None:
    forward = states._forward
    patch.setattr(states, "_forward", lambda *given: (*forward(*given)[:2], forward(*given)[2] * np.nan))


def other_weights(patch: pytest.MonkeyPatch) -> None:
    """What is read is not what was trained."""
    read = gate.read_out

    def wrong(model: LlamaForCausalLM, *more: Any, **options: Any) -> states.ReadOut:
        tampered = copy.deepcopy(model)
        with torch.no_grad():
            tampered.model.norm.weight *= 1.02
        return read(tampered, *more, **options)

    patch.setattr(gate, "read_out", wrong)


def stays_see_each_other(patch: pytest.MonkeyPatch) -> None:
    """Attention over the whole pack, as if it were one stay."""
    one = attention._stay_by_stay

    def wrong(query: Any, key: Any, value: Any, stays: torch.Tensor, scaling: float | None) -> torch.Tensor:
        return one(query, key, value, stays[[0, -1]], scaling)

    patch.setattr(attention, "_stay_by_stay", wrong)


def read_backwards(patch: pytest.MonkeyPatch) -> None:
    pad_right = states.pad_right
    patch.setattr(states, "pad_right", lambda *given, **options: pad_right(*given, **options)[:, ::-1].copy())


@pytest.mark.filterwarnings("ignore:Mean of empty slice")
@pytest.mark.parametrize(
    "tamper", [shifted, not_a_number, other_weights, stays_see_each_other, read_backwards]
)
def test_a_read_out_that_is_not_the_loss_is_refused(
    tamper: Callable[[pytest.MonkeyPatch], None], model: LlamaForCausalLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    tamper(monkeypatch)
    with pytest.raises(UserError, match=r"read out of the model .* is not its loss .*Nothing was written"):
        check_information(model, HELD_OUT, device="cpu", seed=0)
