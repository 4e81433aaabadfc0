"""Fine-tuning: the pretrained model and a linear head, trained to tell outcomes from a window.

The head begins as the probe of the same states and the loss stands at the window's last token alone, so that
training starts at the probe's predictions (Kumar et al., ICLR 2022: a head at random would bend the states
before it is any good) and "no change" is one of its results. Runs with torch, transformers, numpy and
safetensors alone. Symbols: n stays, K outcomes, D the hidden size, N tokens and S stays in a pack.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import LlamaForCausalLM

from ehrfm_core.dynamics.forward import Forward
from ehrfm_core.dynamics.readouts import LinearReadouts
from ehrfm_core.dynamics.states import last_states
from ehrfm_core.errors import UserError
from ehrfm_core.model.area import area
from ehrfm_core.model.classifier import Classifier
from ehrfm_core.model.labelled import CUTS, Labelled, LabelledEpochs
from ehrfm_core.model.lora import add_lora, merge_lora
from ehrfm_core.model.pooling import POOLINGS

METHODS = ("all", "lora")
MODELS = ("one", "each")
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class FinetuneSettings:
    """What determines the weights of a fine-tuned model.

    `method`: `all` weights or `lora`. `pooling`: the head reads the `last` state, or `mean` states beside
    it (see `model.pooling`). `cuts`: the loss stands at the `last` token of the window, or at a token drawn
    anew in every epoch (`random`), for risks that are read within the window. `learning_rate` is the
    highest; it rises over the first tenth of the steps and falls to 0. After `patience` epochs without a
    better tuning AUC the run ends. `thinning`: in every epoch each stay loses a share of its events, drawn
    between none and this (see `model.thinning`), so that stays are not learnt by heart. `models`: `one` for
    all outcomes, or one for `each`; `finetune` itself trains one model for the outcomes of the head it is
    given.
    """

    method: str = "all"
    cuts: str = "last"
    epochs: int = 10
    learning_rate: float = 3e-5
    pack_tokens: int = 8_192
    patience: int = 3
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    rank: int = 8
    models: str = "one"
    pooling: str = "last"
    thinning: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        choices = {"method": METHODS, "cuts": CUTS, "models": MODELS, "pooling": POOLINGS}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise UserError(f"{name} {getattr(self, name)!r} is none of {', '.join(known)}.")
        if not 0 <= self.thinning < 1:
            raise UserError(
                f"thinning {self.thinning:g} is no share of events; give 0 or more and less than 1."
            )


@dataclass(frozen=True, eq=False)
class Finetuned:
    """The weights of the best epoch by tuning AUC; epoch 0 is the start, with the probe as its head.

    `curve` has one entry an epoch: the training loss (nats, none before the first) and the mean tuning AUC
    over the outcomes that have one, where there is one.
    """

    model: LlamaForCausalLM
    head: LinearReadouts
    best_epoch: int
    curve: list[dict[str, float]] = field(default_factory=list)
    pooling: str = "last"

    def logits(self, data: Labelled, *, device: str = "cpu", bf16: bool = False) -> np.ndarray:
        """Logits of every outcome at the end of each window (n × K), in one pass."""
        states = last_states(
            Forward(self.model, device=device, bf16=bf16),
            data.windows,
            context=data.context,
            pooling=self.pooling,
        )
        return states.astype(np.float64) @ self.head.weight + self.head.bias


def finetune(
    start: LlamaForCausalLM,
    head: LinearReadouts,
    train: Labelled,
    tuning: Labelled,
    settings: FinetuneSettings,
    *,
    device: str = "cpu",
    bf16: bool = False,
    progress: Progress | None = None,
) -> Finetuned:
    """Train all outcomes of `head` at once, from `start` and `head`, which are left as they are.

    `head` reads what `settings.pooling` gives: D numbers a stay, or 3 · D.
    Where the tuning split gives no AUC at all there is nothing to stop by, and the start is what comes out.
    The same seed gives the same weights, bit for bit on a CPU. Raises UserError where no training stay counts
    or the loss is not a number.
    """
    train = train.take(train.counted)
    if not len(train):
        raise UserError("No stay of the training split counts for any outcome: nothing to fine-tune on.")
    model = copy.deepcopy(start).to(device)  # type: ignore[arg-type]
    net = Classifier(model, head, bf16=bf16, pooling=settings.pooling).to(device)
    run = Finetuned(model, head, 0, pooling=settings.pooling)
    best_area = _tuning_area(run, tuning, device=device, bf16=bf16)
    if math.isnan(best_area):
        return Finetuned(_ready(model), head, 0, [{"epoch": 0.0}], settings.pooling)
    curve = [{"epoch": 0.0, "tuning_auc": best_area}]
    best, best_epoch = _kept(net), 0
    trained = (
        add_lora(model.model, rank=settings.rank, seed=settings.seed) if settings.method == "lora" else None
    )
    body = trained if trained is not None else list(model.model.parameters())
    groups: list[dict[str, Any]] = [
        {"params": body, "weight_decay": settings.weight_decay},
        {"params": list(net.head.parameters())},
    ]
    optimizer = torch.optim.AdamW(
        groups,
        lr=settings.learning_rate,
        weight_decay=0.0,
        fused=True,
    )
    epochs = LabelledEpochs(
        train,
        pack_tokens=settings.pack_tokens,
        cuts=settings.cuts,
        seed=settings.seed,
        thinning=settings.thinning,
    )
    total = settings.epochs * epochs.n_packs
    step = 0
    for epoch in range(1, settings.epochs + 1):
        net.train()
        summed, scored = 0.0, 0
        for tensors, first, rows, labels in epochs.batches(epoch, device):
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate * _rate(step, total)
            optimizer.zero_grad(set_to_none=True)
            loss, n = net.loss(tensors, first, rows, labels)
            (loss / max(n, 1)).backward()
            nn.utils.clip_grad_norm_([*body, *net.head.parameters()], settings.clip_norm)
            optimizer.step()
            summed, scored, step = summed + loss.item(), scored + n, step + 1
            if not math.isfinite(summed):
                raise UserError(
                    f"The loss of fine-tuning is not a number in epoch {epoch}: fine-tune with a lower rate "
                    f"than {settings.learning_rate:g}."
                )
            if progress:
                progress(step, total, f"loss {summed / max(scored, 1):.4f}, tuning AUC {best_area:.3f}")
        now = Finetuned(model, net.readouts(), epoch, pooling=settings.pooling)
        found = _tuning_area(now, tuning, device=device, bf16=bf16)
        curve.append({"epoch": float(epoch), "loss": summed / max(scored, 1), "tuning_auc": found})
        if found > best_area:
            best_area, best, best_epoch = found, _kept(net), epoch
        elif epoch - best_epoch >= settings.patience:
            break
    if progress:
        progress(total, total, f"tuning AUC {best_area:.3f}")
    if trained is not None and best_epoch == 0:
        merge_lora(model.model)  # as it began
        model.load_state_dict(start.state_dict())
    else:
        net.load_state_dict(best)
        merge_lora(model.model)
    final = head if best_epoch == 0 else net.readouts()
    return Finetuned(_ready(model), final, best_epoch, curve, settings.pooling)


def _rate(step: int, total: int) -> float:
    """Share of the highest learning rate: up over the first tenth of the steps, then a cosine down to 0."""
    warm = max(1, total // 10)
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm) / max(1, total - warm))))


def _tuning_area(run: Finetuned, tuning: Labelled, *, device: str, bf16: bool) -> float:
    """Mean AUC over the outcomes for which the tuning split has both classes; NaN without any."""
    if not len(tuning):
        return math.nan
    logits = run.logits(tuning, device=device, bf16=bf16)
    areas = []
    for k in range(tuning.labels.shape[1]):
        counts = np.isfinite(tuning.labels[:, k])
        areas.append(area(tuning.labels[counts, k] > 0.5, logits[counts, k]))
    known = [value for value in areas if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan


def _kept(net: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in net.state_dict().items()}


def _ready(model: LlamaForCausalLM) -> LlamaForCausalLM:
    model.set_attn_implementation("sdpa")
    return model.eval()
