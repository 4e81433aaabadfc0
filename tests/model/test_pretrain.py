from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from ehrfm_core.errors import UserError
from ehrfm_core.model.checkpoint import load, save
from ehrfm_core.model.entropy import bigram_loss, unigram_loss
from ehrfm_core.model.pretrain import Pretrained, PretrainSettings, evaluate_loss, next_token_loss, pretrain
from ehrfm_core.model.sizes import SIZES, llama_config
from ehrfm_core.ragged import Ragged
from ehrfm_core.tokens.vocabulary import build

VOCABULARY = build({f"lab/{i}" for i in range(10)}, n_bins=10)


def timelines(n: int, seed: int) -> Ragged:
    """A cycle of tokens with noise: a model that learns beats token frequencies by far."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(20, 60, n)
    values = np.concatenate([5 + (rng.integers(20) + np.arange(length)) % 20 for length in lengths])
    noisy = rng.random(len(values)) < 0.05
    values[noisy] = rng.integers(5, 25, noisy.sum())
    return Ragged.from_lengths(values, lengths)


@pytest.fixture(scope="module")
def trained() -> Pretrained:
    return pretrain(timelines(60, 0), timelines(12, 1), VOCABULARY, PretrainSettings(steps=40, max_tokens=64))


def test_it_learns_what_is_there_to_learn(trained: Pretrained) -> None:
    unigram = unigram_loss(timelines(60, 0), timelines(12, 1), vocabulary_size=len(VOCABULARY))
    bigram = bigram_loss(timelines(60, 0), timelines(12, 1), vocabulary_size=len(VOCABULARY))
    assert bigram < unigram
    assert trained.tuning_loss < 0.7 * unigram


def test_the_model_returned_is_the_best_one(trained: Pretrained) -> None:
    losses = [point["tuning_loss"] for point in trained.curve]
    assert trained.tuning_loss == min(losses)
    again = evaluate_loss(trained.model, timelines(12, 1), VOCABULARY)
    assert again == pytest.approx(trained.tuning_loss, abs=1e-5)


def test_the_same_seed_gives_the_same_weights() -> None:
    settings = PretrainSettings(steps=5, max_tokens=64, seed=3)
    first, second = (
        pretrain(timelines(20, 0), timelines(4, 1), VOCABULARY, settings).model for _ in range(2)
    )
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_padding_changes_neither_loss_nor_gradient(trained: Pretrained) -> None:
    model = trained.model
    row = torch.arange(5, 25)[None]
    results = []
    for extra in (0, 7):
        batch = torch.cat([row, torch.full((1, extra), VOCABULARY["PAD"], dtype=row.dtype)], dim=1)
        model.zero_grad()
        summed, count = next_token_loss(model, batch, torch.tensor([20]))
        (summed / count).backward()
        gradient = torch.cat([p.grad.flatten() for p in model.parameters()])
        results.append((summed.item(), int(count), gradient))
    assert results[0][1] == results[1][1] == 19
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-5)
    assert torch.allclose(results[0][2], results[1][2], atol=1e-5)


def test_without_a_tuning_split_the_last_weights_count() -> None:
    nothing = Ragged.from_lengths(np.array([], dtype=np.int64), np.array([], dtype=np.int64))
    result = pretrain(timelines(4, 0), nothing, VOCABULARY, PretrainSettings(steps=2, max_tokens=64))
    assert (result.tuning_loss, result.steps, result.best_step) == (None, 2, 2)


def test_nothing_to_train_on() -> None:
    one = Ragged.from_lengths(np.array([5]), np.array([1]))
    with pytest.raises(UserError, match="nothing to train on"):
        pretrain(one, one, VOCABULARY, PretrainSettings(steps=1))


def test_a_checkpoint_is_a_plain_hugging_face_folder(trained: Pretrained, tmp_path: Path) -> None:
    save(trained.model, tmp_path / "model")
    assert {"config.json", "model.safetensors"} <= {path.name for path in (tmp_path / "model").iterdir()}
    opened = AutoModelForCausalLM.from_pretrained(tmp_path / "model", local_files_only=True)
    batch = torch.arange(5, 25)[None]
    assert torch.equal(opened.eval()(batch).logits, trained.model(batch).logits)
    assert torch.equal(load(tmp_path / "model")(batch).logits, trained.model(batch).logits)


def test_a_checkpoint_that_is_missing_or_cut_short(trained: Pretrained, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no checkpoint"):
        load(tmp_path)
    save(trained.model, tmp_path / "model")
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UserError, match="not readable"):
        load(tmp_path / "model")


@pytest.mark.parametrize(
    ("size", "low", "high"), [("tiny", 0.9e6, 1.5e6), ("small", 5e6, 9e6), ("medium", 65e6, 69e6)]
)
def test_sizes_are_what_they_say(size: str, low: float, high: float) -> None:
    from transformers import LlamaForCausalLM

    vocabulary = build({f"lab/{i}" for i in range(190)}, n_bins=10)
    with torch.device("meta"):
        model = LlamaForCausalLM(llama_config(SIZES[size], vocabulary=vocabulary, max_tokens=1024))
    assert low < sum(p.numel() for p in model.parameters()) < high
