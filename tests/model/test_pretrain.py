from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaForCausalLM

from ehrfm_core.errors import UserError
from ehrfm_core.model.entropy import simple_losses
from ehrfm_core.model.history import METRICS, read_run
from ehrfm_core.model.packing import Pieces
from ehrfm_core.model.pretrain import Pretrained, optimizer_of, pretrain
from ehrfm_core.model.scorer import mean_loss
from ehrfm_core.model.settings import Execution, PretrainSettings
from ehrfm_core.model.sizes import SIZES, llama_config
from ehrfm_core.ragged import Ragged
from ehrfm_core.tokens.vocabulary import build
from tests.model.made import FP32, NOTHING, VOCABULARY, llama, mini, timelines

TRAIN, TUNING = timelines(60, 0), timelines(12, 1)


def same(one: LlamaForCausalLM, other: LlamaForCausalLM) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def fit(
    settings: PretrainSettings, execution: Execution = FP32, tuning: Ragged = TUNING, **more: Any
) -> Pretrained:
    return pretrain(TRAIN, tuning, VOCABULARY, settings, execution, **more)


@pytest.fixture(scope="module")
def trained() -> Pretrained:
    return fit(mini(steps=60))


def test_it_learns_what_is_there_to_learn(trained: Pretrained) -> None:
    pieces = (Pieces.of(lists, max_tokens=32) for lists in (TRAIN, TUNING))
    unigram, bigram = simple_losses(*pieces, vocabulary_size=len(VOCABULARY))
    assert bigram < unigram
    assert trained.tuning_loss is not None
    assert trained.tuning_loss < 0.7 * unigram


def test_the_model_returned_is_the_best_one(trained: Pretrained) -> None:
    assert trained.tuning_loss == pytest.approx(
        min(point["tuning_loss"] for point in trained.curve), abs=1e-5
    )
    again = mean_loss(trained.model, Pieces.of(TUNING, max_tokens=32))
    assert again == pytest.approx(trained.tuning_loss, abs=1e-6)
    assert [point["step"] for point in trained.curve] == [10, 20, 30, 40, 50, 60]
    assert trained.parameters == sum(p.numel() for p in trained.model.parameters())


def test_it_stops_when_nothing_gets_better_and_gives_back_the_best_weights(tmp_path: Path) -> None:
    settings = mini(steps=300, steps_between=5, patience=3, learning_rate=0.01)
    unlike = timelines(12, 1, noise=0.4)  # soon gets worse
    done = fit(settings, replace(FP32, folder=tmp_path), unlike)
    losses = [point["tuning_loss"] for point in done.curve]
    best = losses.index(min(losses))
    assert done.steps == 5 * len(losses) < 300
    assert len(losses) == best + 1 + settings.patience
    assert done.best_step == 5 * (best + 1)
    assert done.tuning_loss == pytest.approx(min(losses), abs=1e-5)
    pieces = Pieces.of(unlike, max_tokens=32)
    assert mean_loss(done.model, pieces) == pytest.approx(losses[best], abs=1e-5)
    assert mean_loss(done.last, pieces) == pytest.approx(losses[-1], abs=1e-5)
    told = read_run(tmp_path)
    assert (told["status"], told["reason"][:13]) == ("finished", "Stopped early")
    longer = fit(replace(settings, patience=5), tuning=unlike)
    assert len(longer.curve) == best + 1 + 5


def test_without_a_tuning_split_the_last_weights_count() -> None:
    result = fit(mini(steps=2), tuning=NOTHING)
    assert (result.tuning_loss, result.steps, result.best_step) == (None, 2, 2)
    assert result.model is result.last
    assert [set(point) for point in result.curve] == [{"step", "train_loss"}]


def test_only_so_much_of_the_tuning_split_is_looked_at(tmp_path: Path) -> None:
    execution = replace(FP32, folder=tmp_path)
    part = fit(mini(steps=2, tuning_tokens=100), execution)
    looked = read_run(tmp_path)["tuning_tokens"]
    assert 60 < looked <= 100 < len(TUNING.values)
    whole = fit(mini(steps=2))
    assert part.tuning_loss != whole.tuning_loss
    assert same(part.model, whole.model)


def test_the_same_seed_gives_the_same_weights() -> None:
    first, second, other = (fit(mini(steps=5, seed=seed)).model for seed in (3, 3, 4))
    assert same(first, second)
    assert not same(first, other)


@pytest.fixture(scope="module")
def plain() -> Pretrained:
    return fit(mini(steps=6), tuning=NOTHING)


@pytest.mark.parametrize(
    "change",
    [
        {"learning_rate": 1e-3},
        {"batch_tokens": 64},
        {"pack_tokens": 128},
        {"max_tokens": 16},
        {"warmup_share": 0.5},
        {"schedule": "linear"},
        {"schedule": "constant"},
        {"final_share": 0.5},
        {"weight_decay": 0.0},
        {"clip_norm": 0.1},
        {"steps": 7},
        {"steps": None, "epochs": 0.3},
    ],
)
def test_every_setting_counts(change: dict[str, Any], plain: Pretrained) -> None:
    assert not same(plain.model, fit(mini(**{"steps": 6} | change), tuning=NOTHING).model)


def test_matrices_decay_and_norms_do_not() -> None:
    model = llama()
    groups = optimizer_of(model, 1e-3, PretrainSettings(weight_decay=0.3)).param_groups
    decays = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert {name: decays[id(p)] for name, p in model.named_parameters()} == {
        name: 0.0 if "norm" in name else 0.3 for name, _ in model.named_parameters()
    }


def test_nothing_to_train_on() -> None:
    lonely = Ragged.from_lengths(TRAIN.values[:3], np.ones(3, dtype=np.int64))
    for nothing in (NOTHING, lonely):
        with pytest.raises(UserError, match="nothing to train on"):
            pretrain(nothing, TUNING, VOCABULARY, mini(), FP32)


def test_it_tells_how_it_goes(tmp_path: Path) -> None:
    shown: list[tuple[int, int, str]] = []
    execution = replace(FP32, folder=tmp_path, progress=lambda *told: shown.append(told))
    done = fit(mini(steps=25, steps_between=20), execution, about={"train_stays": 60})
    assert [told[:2] for told in shown] == [(10, 25), (20, 25), (25, 25)]
    assert "tokens/s" in shown[0][2]
    lines = [json.loads(text) for text in (tmp_path / METRICS).read_text().splitlines()]
    assert [line["step"] for line in lines] == [10, 20, 25]
    assert ["tuning_loss" in line for line in lines] == [False, True, True]
    assert [line["loss"] for line in lines[1:]] == [point["train_loss"] for point in done.curve]
    assert lines[-1]["tokens"] / sum(Pieces.of(TRAIN, max_tokens=32).lengths) == done.epochs
    assert all(
        line[name] > 0 for line in lines for name in ("mfu", "memory_gb", "tokens_per_second", "seconds")
    )
    assert lines[-1]["remaining_seconds"] == 0 < lines[0]["remaining_seconds"]
    told = read_run(tmp_path)
    assert (told["status"], told["step"], told["train_stays"], told["total_steps"]) == (
        "finished",
        25,
        60,
        25,
    )
    assert told["best_tuning_loss"] == done.tuning_loss
    assert told["settings"] == told["settings"] | {"size": "mini", "learning_rate": 5e-3, "batch_tokens": 128}


def test_bfloat16_learns_as_well() -> None:
    exact, rough = (fit(mini(steps=10), replace(FP32, precision=name)) for name in ("fp32", "bf16"))
    assert rough.precision == "bf16"
    assert {p.dtype for p in rough.model.parameters()} == {torch.float32}
    assert rough.tuning_loss != exact.tuning_loss
    assert rough.tuning_loss == pytest.approx(exact.tuning_loss, rel=0.02)


@pytest.mark.parametrize(
    ("size", "low", "high"),
    [("tiny", 0.9e6, 1.5e6), ("small", 5e6, 9e6), ("medium", 65e6, 69e6), ("1b", 0.9e9, 1.1e9)],
)
def test_sizes_are_what_they_say(size: str, low: float, high: float) -> None:
    vocabulary = build({f"lab/{i}" for i in range(190)}, n_bins=10)
    with torch.device("meta"):
        model = LlamaForCausalLM(llama_config(SIZES[size], vocabulary=vocabulary, max_tokens=1024))
    assert low < sum(p.numel() for p in model.parameters()) < high
