"""Pretraining: predict the next token of whole stays, stop when the tuning split gets no better.

Runs with torch, transformers, numpy and safetensors alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from transformers import LlamaForCausalLM

from ehrfm_core.errors import UserError
from ehrfm_core.model.batches import groups_by_length, pad_right, segments, shuffled_epoch
from ehrfm_core.model.sizes import SIZES, llama_config
from ehrfm_core.ragged import Ragged

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class PretrainSettings:
    """What determines the weights. `steps` cuts the size's default number of steps."""

    size: str = "tiny"
    seed: int = 0
    max_tokens: int = 1024
    steps: int | None = None
    weight_decay: float = 0.1
    warmup_share: float = 0.05
    clip_norm: float = 1.0
    evaluations: int = 12  # times the tuning loss is looked at,
    steps_between: int = 20  # but not more often than this
    patience: int = 4  # evaluations without improvement before stopping


@dataclass
class Pretrained:
    """The best model by tuning loss, and how it came about. Losses are nats per token."""

    model: LlamaForCausalLM
    parameters: int
    steps: int
    best_step: int
    epochs: float
    tuning_loss: float | None
    curve: list[dict[str, float]] = field(default_factory=list)


def pretrain(
    train: Ragged,
    tuning: Ragged,
    vocabulary: dict[str, int],
    settings: PretrainSettings,
    *,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Pretrained:
    """Train a Llama from a random start on whole timelines (lists of token ids).

    Timelines longer than `max_tokens` are cut into pieces; every piece is a sequence of its own. The
    learning rate warms up, then falls as a cosine to a tenth. Without tuning timelines there is no early
    stopping and the last weights count.

    Raises UserError where there is nothing to train on or the loss is not a number.
    """
    size = SIZES[settings.size]
    torch.manual_seed(settings.seed)
    generator = np.random.default_rng(settings.seed)
    model = LlamaForCausalLM(llama_config(size, vocabulary=vocabulary, max_tokens=settings.max_tokens))
    model.to(device)  # type: ignore[arg-type]
    pieces = segments(train, max_tokens=settings.max_tokens)
    held_out = segments(tuning, max_tokens=settings.max_tokens)
    if not len(pieces):
        raise UserError("The training split holds no timeline of two tokens or more: nothing to train on.")
    per_epoch = len(list(_epoch(pieces, size.batch_tokens, np.random.default_rng(0))))
    total = settings.steps or min(size.max_steps, size.max_epochs * per_epoch)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=size.learning_rate, betas=(0.9, 0.95), weight_decay=settings.weight_decay
    )
    warmup = max(1, int(total * settings.warmup_share))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, warmup, total))
    every = max(settings.steps_between, total // settings.evaluations)
    result = Pretrained(model, sum(p.numel() for p in model.parameters()), 0, 0, 0.0, None)
    best: dict[str, Any] = {}
    worse, train_loss = 0, 0.0
    step = 0
    while step < total and worse < settings.patience:
        for group in _epoch(pieces, size.batch_tokens, generator):
            batch = torch.from_numpy(pad_right(pieces, group, fill=vocabulary["PAD"])).to(device)
            lengths = torch.from_numpy(pieces.lengths[group]).to(device)
            summed, count = next_token_loss(model, batch, lengths)
            loss = summed / count
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
            optimizer.step()
            schedule.step()
            step += 1
            train_loss = loss.item()
            if not math.isfinite(train_loss):
                raise UserError(f"The loss is not a number at step {step}: lower the learning rate.")
            if progress:
                progress(step, total, f"loss {train_loss:.3f}")
            if step % every == 0 or step == total:
                point = {"step": float(step), "train_loss": train_loss}
                if len(held_out):
                    point["tuning_loss"] = evaluate_loss(model, held_out, vocabulary, device=device)
                    if result.tuning_loss is None or point["tuning_loss"] < result.tuning_loss:
                        result.tuning_loss, result.best_step, worse = point["tuning_loss"], step, 0
                        best = {name: value.clone() for name, value in model.state_dict().items()}
                    else:
                        worse += 1
                result.curve.append(point)
                if worse >= settings.patience:
                    break
            if step == total:
                break
    if best:
        model.load_state_dict(best)
    result.steps, result.epochs = step, step / per_epoch
    result.best_step = result.best_step or step
    model.eval()
    return result


def next_token_loss(
    model: LlamaForCausalLM, batch: torch.Tensor, lengths: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Summed negative log likelihood (nats) of tokens 1 … length − 1 of each row, and their number.

    `batch` is B × T, padded on the right; `lengths` has B entries. Padding is never scored.
    """
    logits = model(input_ids=batch).logits[:, :-1]
    targets = batch[:, 1:]
    real = torch.arange(1, batch.shape[1], device=batch.device) < lengths[:, None]
    targets = torch.where(real, targets, -100)
    summed = functional.cross_entropy(
        logits.reshape(-1, logits.shape[-1]).float(), targets.reshape(-1), ignore_index=-100, reduction="sum"
    )
    return summed, real.sum()


@torch.no_grad()
def evaluate_loss(
    model: LlamaForCausalLM,
    timelines: Ragged,
    vocabulary: dict[str, int],
    *,
    device: str = "cpu",
    batch_tokens: int = 16_384,
) -> float:
    """Mean loss in nats per predicted token over whole lists, each at most the model's length."""
    model.eval()
    summed, count = 0.0, 0
    for group in groups_by_length(timelines.lengths, batch_tokens=batch_tokens):
        batch = torch.from_numpy(pad_right(timelines, group, fill=vocabulary["PAD"])).to(device)
        part, number = next_token_loss(model, batch, torch.from_numpy(timelines.lengths[group]).to(device))
        summed += part.item()
        count += int(number.item())
    model.train()
    return summed / count


def _epoch(pieces: Ragged, batch_tokens: int, generator: np.random.Generator) -> Any:
    return shuffled_epoch(pieces.lengths, batch_tokens=batch_tokens, generator=generator)


def _rate(step: int, warmup: int, total: int) -> float:
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, total - warmup)
    return 0.1 + 0.45 * (1 + math.cos(math.pi * progress))
