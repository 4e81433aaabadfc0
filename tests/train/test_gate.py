from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from transformers import LlamaForCausalLM

from ehrfm_core.dynamics import states
from ehrfm_core.dynamics.forward import Forward
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


def test_bfloat16_is_near_enough(model: LlamaForCausalLM) -> None:
    assert 0 < abs(check_information(model, HELD_OUT, device="cpu", seed=0, bf16=True)) < 1e-3


def test_a_large_split_is_looked_at_in_part(model: LlamaForCausalLM, monkeypatch: pytest.MonkeyPatch) -> None:
    read, seen = gate.read_out, []

    def counting(forward: Forward, lists: Ragged, *more: Any, **options: Any) -> states.ReadOut:
        seen.append(len(lists.values))
        return read(forward, lists, *more, **options)

    monkeypatch.setattr(gate, "read_out", counting)
    monkeypatch.setattr(gate, "TOKENS", 200)
    assert abs(check_information(model, HELD_OUT, device="cpu", seed=0)) < 1e-5
    assert 100 < seen[0] <= 200 < HELD_OUT.n_tokens


def tampered_information(patch: pytest.MonkeyPatch, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    honest = Forward._information
    patch.setattr(Forward, "_information", lambda *given: change(honest(*given)))


def shifted(patch: pytest.MonkeyPatch) -> None:
    """What is read of a token belongs to the one before it."""
    tampered_information(patch, lambda nats: nats.roll(1))


def not_a_number(patch: pytest.MonkeyPatch) -> None:
    tampered_information(patch, lambda nats: nats * torch.nan)


def other_weights(patch: pytest.MonkeyPatch) -> None:
    """What is read is not what was trained."""
    read = gate.read_out

    def wrong(forward: Forward, *more: Any, **options: Any) -> states.ReadOut:
        tampered = copy.deepcopy(forward.model)
        with torch.no_grad():
            tampered.model.norm.weight *= 1.02
        return read(Forward(tampered), *more, **options)

    patch.setattr(gate, "read_out", wrong)


def stays_see_each_other(patch: pytest.MonkeyPatch) -> None:
    """Attention over the whole pack, as if it were one stay."""
    one = attention._stay_by_stay

    def wrong(query: Any, key: Any, value: Any, stays: torch.Tensor, scaling: float | None) -> torch.Tensor:
        return one(query, key, value, stays[[0, -1]], scaling)

    patch.setattr(attention, "_stay_by_stay", wrong)


def read_backwards(patch: pytest.MonkeyPatch) -> None:
    to_tensors = states.to_tensors

    def wrong(*given: Any, **options: Any) -> tuple[torch.Tensor, ...]:
        tokens, *others = to_tensors(*given, **options)
        return (tokens.flip(0), *others)

    patch.setattr(states, "to_tensors", wrong)


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
