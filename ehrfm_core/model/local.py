"""Pretraining on a few local stays: from the source's checkpoint, or from a random start.

Runs with torch, transformers, numpy and safetensors alone.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

from transformers import LlamaForCausalLM

from ehrfm_core.errors import UserError
from ehrfm_core.model.pretrain import Pretrained, pretrain
from ehrfm_core.model.settings import Execution, PretrainSettings
from ehrfm_core.model.sizes import SIZES
from ehrfm_core.ragged import Ragged

METHODS = ("pretrain", "scratch")  # continued, and from a random start


@dataclass(frozen=True)
class LocalSettings:
    """What determines the weights of every local run.

    One run reads at most `tokens` tokens in at most `epochs` epochs and stops after three epochs without a
    better loss on the target's tuning split. `rate_share` is that of the size's learning rate with which the
    source's checkpoint goes on; a random start takes all of it.
    """

    methods: tuple[str, ...] = METHODS
    tokens: int = 2_000_000
    epochs: int = 10
    rate_share: float = 0.3

    def __post_init__(self) -> None:
        for method in self.methods:
            if method not in METHODS:
                raise UserError(f"Local training by {method!r} is none of {', '.join(METHODS)}.")


def train_locally(
    start: LlamaForCausalLM | None,
    local: Ragged,
    tuning: Ragged,
    vocabulary: dict[str, int],
    settings: LocalSettings,
    *,
    size: str,
    max_tokens: int,
    seed: int,
    device: str = "cpu",
    bf16: bool = False,
) -> Pretrained:
    """Pretrain on local timelines (lists of token ids) from `start`, which stays as it is, or at random.

    Batches are small enough for eight steps an epoch where that is possible. Raises UserError where there is
    nothing to train on.
    """
    known = SIZES[size]
    n_tokens = len(local.values)
    batch = max(max_tokens, min(known.batch_tokens, n_tokens // 8))
    per_epoch = max(1, math.ceil(n_tokens / batch))
    steps = max(1, math.ceil(min(settings.epochs * n_tokens, settings.tokens) / batch))
    chosen = PretrainSettings(
        size=size,
        seed=seed,
        max_tokens=max_tokens,
        steps=steps,
        learning_rate=known.learning_rate * (settings.rate_share if start else 1.0),
        batch_tokens=batch,
        evaluations=max(1, steps // per_epoch),
        steps_between=1,
        patience=3,
        tuning_tokens=200_000,
    )
    how = Execution(device=device, precision="bf16" if bf16 else "fp32", compile=False)
    return pretrain(local, tuning, vocabulary, chosen, how, start=copy.deepcopy(start))
