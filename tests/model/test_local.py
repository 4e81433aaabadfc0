from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from transformers import LlamaForCausalLM

from ehrfm_core.errors import UserError
from ehrfm_core.model import local as module
from ehrfm_core.model.local import LocalSettings, train_locally
from ehrfm_core.model.packing import Pieces
from ehrfm_core.model.scorer import mean_loss
from ehrfm_core.model.sizes import SIZES, llama_config
from ehrfm_core.ragged import Ragged
from tests.train.mini import MINI

WORDS = {"PAD": 0, "TL_START": 1, "TL_END": 2} | {f"t{i}": 3 + i for i in range(13)}
MAX_TOKENS = 64


@pytest.fixture(autouse=True)
def mini(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIZES, "tiny", MINI["tiny"])
    torch.set_num_threads(1)


def timelines(n: int, *, step: int, seed: int) -> Ragged:
    """Tokens that go up by `step`: a hospital with a habit of its own."""
    rng = np.random.default_rng(seed)
    lists = [np.zeros(0, dtype=np.int64)] + [
        3 + (rng.integers(13) + step * np.arange(40)) % 13 for _ in range(n)
    ]
    return Ragged.from_lengths(np.concatenate(lists), np.full(n, 40))


def loss(model: LlamaForCausalLM, data: Ragged) -> float:
    return mean_loss(model, Pieces.of(data, max_tokens=MAX_TOKENS))


def trained(start: LlamaForCausalLM | None, n: int = 60, **settings: object) -> LlamaForCausalLM:
    return train_locally(
        start,
        timelines(n, step=2, seed=0),
        timelines(20, step=2, seed=1),
        WORDS,
        LocalSettings(**settings),  # type: ignore[arg-type]
        size="tiny",
        max_tokens=MAX_TOKENS,
        seed=0,
    ).model


@pytest.fixture
def source() -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(llama_config(SIZES["tiny"], vocabulary=WORDS, max_tokens=MAX_TOKENS))


def test_a_model_learns_the_habits_of_the_place_and_the_start_stays(source: LlamaForCausalLM) -> None:
    test = timelines(20, step=2, seed=2)
    before = {name: value.clone() for name, value in source.state_dict().items()}
    untrained = loss(source, test)
    assert loss(trained(source), test) < untrained - 0.3
    assert loss(trained(None), test) < untrained - 0.3
    assert all(torch.equal(value, before[name]) for name, value in source.state_dict().items())


def test_the_same_seed_gives_the_same_weights(source: LlamaForCausalLM) -> None:
    one, other = (trained(source, epochs=1).state_dict() for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_no_more_tokens_are_read_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    fit: Callable[..., object] = module.pretrain
    monkeypatch.setattr(module, "pretrain", lambda *a, **o: (seen.append(a[3]), fit(*a, **o))[1])
    trained(None, n=60, tokens=600)
    assert seen[0].steps * seen[0].batch_tokens <= 600 + seen[0].batch_tokens
    trained(None, n=2)
    assert seen[1].batch_tokens == MAX_TOKENS  # a piece always fits


def test_what_cannot_be(source: LlamaForCausalLM) -> None:
    with pytest.raises(UserError, match="'guess' is none of pretrain, scratch"):
        LocalSettings(methods=("guess",))
    with pytest.raises(UserError, match="nothing to train on"):
        trained(source, n=0)
