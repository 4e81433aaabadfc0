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
from torch.nn import functional
from transformers import LlamaForCausalLM

from ehrfm_core.dynamics.forward import Forward
from ehrfm_core.dynamics.readouts import LinearReadouts
from ehrfm_core.dynamics.states import last_states
from ehrfm_core.errors import UserError
from ehrfm_core.model.area import area
from ehrfm_core.model.attention import IMPLEMENTATION
from ehrfm_core.model.lora import add_lora, merge_lora
from ehrfm_core.model.packing import PAD_UNIT, Pieces, epoch_of_packs, make_pack
from ehrfm_core.model.pooling import POOLINGS, pooled
from ehrfm_core.model.scorer import to_tensors
from ehrfm_core.ragged import Ragged

METHODS = ("all", "lora")
CUTS = ("last", "random")
MODELS = ("one", "each")
Progress = Callable[[int, int, str], None]
Batch = tuple[tuple[torch.Tensor, ...], torch.Tensor, torch.Tensor, torch.Tensor]
"""A pack, the first token of each window, the token that is read, and the labels."""


@dataclass(frozen=True)
class FinetuneSettings:
    """What determines the weights of a fine-tuned model.

    `method`: `all` weights or `lora`. `pooling`: the head reads the `last` state, or `mean` states beside it
    (see `model.pooling`). `cuts`: the loss stands at the `last` token of the window, or at a
    token drawn anew in every epoch (`random`), for risks that are read within the window. `learning_rate` is
    the highest; it rises over the first tenth of the steps and falls to 0. After `patience` epochs without a
    better tuning AUC the run ends. `models`: `one` for all outcomes, or one for `each`; `finetune` itself
    trains one model for the outcomes of the head it is given.
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
    seed: int = 0

    def __post_init__(self) -> None:
        choices = {"method": METHODS, "cuts": CUTS, "models": MODELS, "pooling": POOLINGS}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise UserError(f"{name} {getattr(self, name)!r} is none of {', '.join(known)}.")


@dataclass(frozen=True, eq=False)
class Labelled:
    """Windows (n lists of token ids) with their outcomes.

    `labels` (n × K): 1 or 0, not a number where a stay does not count for the outcome. `context` (n lists)
    stands before each window; `prefix` tokens come before the first event.
    """

    windows: Ragged
    labels: np.ndarray
    context: Ragged | None = None
    prefix: int = 1

    def __len__(self) -> int:
        return len(self.windows)

    def take(self, rows: np.ndarray) -> Labelled:
        """Some of the stays, in the order given."""
        context = self.context.take(rows) if self.context else None
        return Labelled(self.windows.take(rows), self.labels[rows], context, self.prefix)

    @property
    def counted(self) -> np.ndarray:
        """Stays that count for some outcome (indices)."""
        return np.flatnonzero(np.isfinite(self.labels).any(axis=1))


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
    net = _Classifier(model, head, bf16=bf16, pooling=settings.pooling).to(device)
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
    epochs = _Epochs(train, settings)
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


class _Classifier(nn.Module):
    def __init__(self, model: LlamaForCausalLM, head: LinearReadouts, *, bf16: bool, pooling: str) -> None:
        super().__init__()
        self.model, self.bf16, self.names, self.pooling = model, bf16, head.names, pooling
        model.set_attn_implementation(IMPLEMENTATION)
        self.head = nn.Linear(head.weight.shape[0], len(head.names))
        with torch.no_grad():
            self.head.weight.copy_(torch.from_numpy(head.weight.T))
            self.head.bias.copy_(torch.from_numpy(head.bias))

    def loss(
        self,
        tensors: tuple[torch.Tensor, ...],
        first: torch.Tensor,
        rows: torch.Tensor,
        labels: torch.Tensor,
    ) -> tuple[torch.Tensor, int]:
        """Summed nats of the labels (S × K) that count, and how many count.

        Read at the tokens `rows` (S), pooled from the windows' `first` (S).
        """
        tokens, positions, _, stays = tensors
        with torch.autocast(tokens.device.type, torch.bfloat16, enabled=self.bf16):
            embedded = self.model.model.embed_tokens(tokens[None])
            if self.bf16:
                embedded = embedded.to(torch.bfloat16)
            hidden = self.model.model(inputs_embeds=embedded, position_ids=positions[None], stays=stays)
        states = pooled(hidden.last_hidden_state[0].float(), first, rows, pooling=self.pooling)
        logits = self.head(states)
        counts = torch.isfinite(labels)
        wanted = torch.where(counts, labels, 0.0)
        nats = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
        return (nats * counts).sum(), int(counts.sum())

    def readouts(self) -> LinearReadouts:
        """The head as it is now."""
        weight, bias = (p.detach().cpu().double().numpy().copy() for p in (self.head.weight, self.head.bias))
        return LinearReadouts(self.names, weight.T, bias)


class _Epochs:
    """Packs of whole windows, drawn anew in every epoch."""

    def __init__(self, data: Labelled, settings: FinetuneSettings) -> None:
        n = len(data)
        self.before = data.context.lengths if data.context else np.zeros(n, dtype=np.int64)
        sequences = data.context.joined(data.windows) if data.context else data.windows
        self.pieces = Pieces(sequences.values, sequences.offsets[:-1], sequences.lengths)
        self.data, self.settings = data, settings
        self.pack_tokens = max(settings.pack_tokens, int(self.pieces.lengths.max()))
        self.n_packs = len(self._packs(np.random.default_rng([settings.seed, 1])))

    def _packs(self, generator: np.random.Generator) -> list[np.ndarray]:
        return epoch_of_packs(self.pieces.lengths, pack_tokens=self.pack_tokens, generator=generator)

    def batches(self, epoch: int, device: str) -> list[Batch]:
        generator = np.random.default_rng([self.settings.seed, epoch])
        return [self._batch(pack, generator, device) for pack in self._packs(generator)]

    def _batch(self, chosen: np.ndarray, generator: np.random.Generator, device: str) -> Batch:
        length = int(self.pieces.lengths[chosen].sum())
        pack = make_pack(self.pieces, chosen, pad=0, pad_to=-(-length // PAD_UNIT) * PAD_UNIT)
        last = self.data.windows.lengths[chosen] - 1
        at = last
        if self.settings.cuts == "random":
            at = generator.integers(np.minimum(self.data.prefix - 1, last), last + 1)
        first = pack.bounds[: len(chosen)] + self.before[chosen]
        begins, rows = (torch.from_numpy(x.astype(np.int64)).to(device) for x in (first, first + at))
        labels = torch.from_numpy(self.data.labels[chosen].astype(np.float32))
        return (
            to_tensors(pack, device, fixed=False),
            begins,
            rows,
            labels.to(device),
        )


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
