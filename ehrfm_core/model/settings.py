"""Settings of a training run: what determines the weights, and how it is carried out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ehrfm_core.model.hardware import bf16_pays
from ehrfm_core.model.parallel import Group
from ehrfm_core.model.sizes import SIZES, Size

SCHEDULES = ("cosine", "linear", "constant")
PRECISIONS = ("bf16", "fp32")
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class PretrainSettings:
    """What determines the weights; None follows from the size.

    `batch_tokens` go into one step over all processes, `pack_tokens` into one forward pass. `epochs` and
    `steps` are upper ends; `steps` alone counts where it is given. The learning rate rises over
    `warmup_share` of the steps, then falls to `final_share` of itself.
    """

    size: str = "tiny"
    seed: int = 0
    max_tokens: int = 1024
    steps: int | None = None
    epochs: float | None = None
    learning_rate: float | None = None
    batch_tokens: int | None = None
    pack_tokens: int | None = None
    warmup_share: float = 0.05
    schedule: str = "cosine"
    final_share: float = 0.1
    weight_decay: float = 0.1
    clip_norm: float = 1.0
    evaluations: int = 12  # times the tuning loss is looked at,
    steps_between: int = 20  # but not more often than this
    patience: int = 4  # evaluations without improvement before stopping
    tuning_tokens: int = 2_000_000  # of the tuning split that are looked at, at most


@dataclass(frozen=True)
class Execution:
    """How a run is carried out; of this, precision, compiling and the device change rounding alone.

    `folder` keeps the state and the history (None: nothing is written and nothing can be resumed); `identity`
    says of what run the state is. `stop` is asked after every step and ends the run with its state saved.
    """

    device: str = "cpu"
    precision: str | None = None  # None: bf16 where the device multiplies it faster
    compile: bool | None = None  # None: on a GPU
    shard: bool = False
    group: Group = field(default_factory=Group)
    folder: Path | None = None
    identity: str = ""
    save_seconds: float = 60.0  # between states, but never more than 3 % of the time
    save_steps: int | None = None  # in place of the time: every so many steps
    stop: Callable[[], bool] = lambda: False
    progress: Progress | None = None

    @property
    def cuda(self) -> bool:
        """Whether this runs on a GPU."""
        return self.device.startswith("cuda")

    @property
    def bf16(self) -> bool:
        """Whether products are made in bfloat16."""
        return bf16_pays(self.device) if self.precision is None else self.precision == "bf16"

    @property
    def words(self) -> str:
        """The precision in a word."""
        return "bf16" if self.bf16 else "fp32"

    @property
    def compiled(self) -> bool:
        """Whether the model is compiled."""
        return self.cuda if self.compile is None else self.compile


@dataclass(frozen=True)
class Plan:
    """What follows from settings, size and data."""

    size: Size
    learning_rate: float
    pack_tokens: int
    packs_per_step: int
    steps_per_epoch: float
    total_steps: int
    warmup_steps: int
    evaluate_every: int

    @classmethod
    def of(cls, settings: PretrainSettings, *, n_tokens: int) -> Plan:
        """The plan for a training split of `n_tokens`."""
        size = SIZES[settings.size]
        batch = settings.batch_tokens or size.batch_tokens
        pack = max(settings.max_tokens, min(settings.pack_tokens or size.pack_tokens, batch))
        packs_per_step = max(1, round(batch / pack))
        per_epoch = n_tokens / (pack * packs_per_step)
        epochs = settings.epochs or size.max_epochs
        total = max(1, math.ceil(epochs * per_epoch))
        if settings.steps:
            total = settings.steps
        elif settings.epochs is None:
            total = min(size.max_steps, total)
        return cls(
            size,
            settings.learning_rate or size.learning_rate,
            pack,
            packs_per_step,
            per_epoch,
            total,
            max(1, int(total * settings.warmup_share)),
            max(settings.steps_between, total // settings.evaluations),
        )

    def rate(self, step: int, settings: PretrainSettings) -> float:
        """Learning rate of a step, counted from 0."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        progress = (step - self.warmup_steps) / max(1, self.total_steps - self.warmup_steps)
        fall = {"cosine": 0.5 * (1 + math.cos(math.pi * progress)), "linear": 1 - progress, "constant": 1.0}
        floor = settings.final_share
        return self.learning_rate * (floor + (1 - floor) * fall[settings.schedule])
