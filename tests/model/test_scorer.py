from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional
from transformers import LlamaForCausalLM

from ehrfm_core.model.packing import Pack, Pieces, make_pack
from ehrfm_core.model.scorer import Scorer, mean_loss, to_tensors
from tests.model.made import VOCABULARY, llama, pieces_of, timelines

N_TOKENS, PAD = len(VOCABULARY), VOCABULARY["PAD"]
token = st.integers(1, N_TOKENS - 1)
stays = st.lists(st.lists(token, min_size=2, max_size=9), min_size=2, max_size=5)


def packed(lists: list[list[int]], *, pad_to: int | None = None) -> Pack:
    return make_pack(pieces_of(lists), np.arange(len(lists)), pad=PAD, pad_to=pad_to)


def hidden(model: LlamaForCausalLM, pack: Pack) -> torch.Tensor:
    """States before the output layer (N × width), all stays in one pass."""
    tokens, positions, _, bounds = to_tensors(pack, "cpu", fixed=False)
    inner = Scorer(model).model.model
    with torch.no_grad():
        return inner(input_ids=tokens[None], position_ids=positions[None], stays=bounds).last_hidden_state[0]


def plain_loss(model: LlamaForCausalLM, stay: list[int]) -> torch.Tensor:
    """The loss of one stay alone as Hugging Face's own model has it."""
    model.set_attn_implementation("sdpa")
    tokens = torch.tensor(stay)
    logits = model(input_ids=tokens[None]).logits[0]
    return functional.cross_entropy(logits[:-1], tokens[1:], reduction="sum")


def gradient(model: LlamaForCausalLM) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("extra", [0, 37])
def test_a_pack_costs_what_its_stays_cost_alone_and_teaches_the_same(
    kv_heads: int, tied: bool, extra: int
) -> None:
    lists = [timelines(7, 1)[i].tolist() for i in range(7)]
    plain, ours = llama(kv_heads=kv_heads, tied=tied), llama(kv_heads=kv_heads, tied=tied)
    assert plain.config.num_key_value_heads == kv_heads
    alone = sum((plain_loss(plain, stay) for stay in lists), torch.zeros(()))
    alone.backward()
    pack = packed(lists, pad_to=sum(map(len, lists)) + extra)
    together = Scorer(ours)(*to_tensors(pack, "cpu", fixed=False))
    together.backward()
    assert together.item() == pytest.approx(alone.item(), rel=1e-5)
    torch.testing.assert_close(gradient(ours), gradient(plain), rtol=1e-4, atol=1e-4)
    off = (gradient(ours) - gradient(plain)).norm() / gradient(plain).norm()
    assert off < 1e-5


@given(stays, st.data())
@settings(max_examples=25, deadline=None)
def test_no_stay_sees_another(lists: list[list[int]], data: st.DataObject) -> None:
    model = llama(kv_heads=2)
    changed = data.draw(st.integers(0, len(lists) - 1))
    size = len(lists[changed])
    other = data.draw(st.lists(token, min_size=size, max_size=size))
    before = packed(lists)
    after = packed([other if i == changed else stay for i, stay in enumerate(lists)])
    inside = slice(before.bounds[changed], before.bounds[changed + 1])
    elsewhere = np.ones(len(before.tokens), dtype=bool)
    elsewhere[inside] = False
    first, second = hidden(model, before), hidden(model, after)
    assert torch.equal(first[elsewhere], second[elsewhere])
    assert torch.equal(first[inside], second[inside]) == (other == lists[changed])


@given(stays, st.data())
@settings(max_examples=25, deadline=None)
def test_no_token_sees_a_later_one(lists: list[list[int]], data: st.DataObject) -> None:
    model = llama(kv_heads=2)
    before, after = packed(lists), packed(lists)
    place = data.draw(st.integers(0, len(before.tokens) - 1))
    after.tokens[place] = 1 + before.tokens[place] % (N_TOKENS - 1)
    first, second = hidden(model, before), hidden(model, after)
    assert torch.equal(first[:place], second[:place])
    assert not torch.equal(first[place], second[place])


def test_what_stands_in_the_padding_changes_nothing() -> None:
    lists = [timelines(4, 2)[i].tolist() for i in range(4)]
    real = sum(map(len, lists))
    scorer = Scorer(llama())
    one, other = packed(lists, pad_to=real + 50), packed(lists, pad_to=real + 50)
    other.tokens[real:] = np.random.default_rng(0).integers(0, N_TOKENS, 50)
    results = []
    for pack in (one, other):
        scorer.zero_grad()
        loss = scorer(*to_tensors(pack, "cpu", fixed=False))
        loss.backward()
        results.append((loss.item(), gradient(scorer.model)))
    assert results[0][0] == results[1][0]
    assert torch.equal(results[0][1], results[1][1])
    assert one.n_scored == real - len(lists)


def test_bfloat16_keeps_weights_and_loss_in_full_precision() -> None:
    lists = [timelines(4, 2)[i].tolist() for i in range(4)]
    exact, rough = Scorer(llama()), Scorer(llama(), bf16=True)
    tensors = to_tensors(packed(lists), "cpu", fixed=False)
    losses = [scorer(*tensors) for scorer in (exact, rough)]
    losses[1].backward()
    assert losses[1].dtype == torch.float32
    assert (
        {p.dtype for p in rough.parameters()} == {p.grad.dtype for p in rough.parameters()} == {torch.float32}
    )
    assert losses[0].item() != losses[1].item()
    assert losses[1].item() == pytest.approx(losses[0].item(), rel=0.02)


@pytest.mark.parametrize("pack_tokens", [1, 64, 8_192])
def test_the_mean_loss_is_that_of_each_stay_alone(pack_tokens: int) -> None:
    lists = [timelines(9, 3)[i].tolist() for i in range(9)]
    model = llama(kv_heads=2)
    with torch.no_grad():
        alone = sum(plain_loss(model, stay).item() for stay in lists) / sum(len(stay) - 1 for stay in lists)
    assert mean_loss(model, pieces_of(lists), pack_tokens=pack_tokens) == pytest.approx(alone, rel=1e-5)


def test_the_mean_loss_leaves_the_model_as_it_was() -> None:
    model = llama().train()
    model.set_attn_implementation("eager")
    before = copy.deepcopy(model.state_dict())
    pieces = Pieces.of(timelines(3, 0), max_tokens=64)
    assert mean_loss(model, pieces) == mean_loss(model, pieces)
    assert model.training
    assert model.config._attn_implementation == "eager"
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
