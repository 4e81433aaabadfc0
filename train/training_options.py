"""Options of the command line that say how the model is trained."""

from __future__ import annotations

import argparse
from dataclasses import fields, replace
from typing import TYPE_CHECKING

from ehrfm_core.errors import UserError
from train.numbers import positive_number, share_number

if TYPE_CHECKING:
    from ehrfm_core.model.settings import PretrainSettings
    from ehrfm_core.study.manifest import Manifest, Stage
    from train.from_checkpoint import Checkpoint

SIZES = ("tiny", "small", "medium", "1b")
SCHEDULES = ("cosine", "linear", "constant")
# options that are settings of the same name
NAMES = (
    "size",
    "seed",
    "steps",
    "epochs",
    "learning_rate",
    "batch_tokens",
    "pack_tokens",
    "warmup_share",
    "schedule",
    "weight_decay",
    "clip_norm",
    "evaluations",
    "patience",
)
BY_SIZE = ("steps", "epochs", "learning_rate", "batch_tokens", "pack_tokens")


def add_training_arguments(command: argparse.ArgumentParser) -> None:
    """Add them; everything left out is as the study was made, or follows from the size."""
    group = command.add_argument_group(
        "training", "What is left out is as the study was trained before, or else follows from the size."
    )
    group.add_argument(
        "--size",
        choices=SIZES,
        help="tiny ≈ 1 M parameters, small ≈ 7 M, medium 67 M, 1b (default: as before, else tiny)",
    )
    group.add_argument("--steps", type=positive_number, metavar="N", help="training steps, exactly")
    group.add_argument("--epochs", type=above_zero, metavar="X", help="times the training split is read")
    group.add_argument("--learning-rate", type=above_zero, metavar="X", help="the highest one")
    group.add_argument(
        "--batch-tokens", type=positive_number, metavar="N", help="tokens a step, over all processes"
    )
    group.add_argument(
        "--pack-tokens",
        type=positive_number,
        metavar="N",
        help="tokens a forward pass; fewer need less memory",
    )
    group.add_argument(
        "--warmup-share", type=share_number, metavar="X", help="share of the steps that warm up (0.05)"
    )
    group.add_argument("--schedule", choices=SCHEDULES, help="how the learning rate falls later (cosine)")
    group.add_argument("--weight-decay", type=not_negative, metavar="X", help="of matrices (0.1)")
    group.add_argument("--clip-norm", type=above_zero, metavar="X", help="longest gradient (1)")
    group.add_argument(
        "--evaluations", type=positive_number, metavar="N", help="looks at the tuning split (12)"
    )
    group.add_argument(
        "--patience",
        type=positive_number,
        metavar="N",
        help="looks without anything better till the end (4)",
    )
    how = command.add_argument_group("how training is carried out", "None of this changes what is trained.")
    how.add_argument(
        "--precision", choices=["bf16", "fp32"], help="of products (bf16 where the device is faster with it)"
    )
    how.add_argument(
        "--compile",
        action=argparse.BooleanOptionalAction,
        help="torch.compile (on a GPU; on a CPU it gains a tenth and costs half a minute)",
    )
    how.add_argument(
        "--save-every",
        type=positive_number,
        metavar="N",
        help="steps between saved states (once a minute, less often where saving is slow)",
    )


def add_distributed_arguments(command: argparse.ArgumentParser) -> None:
    """Add what concerns training in several processes."""
    group = command.add_argument_group("many processes")
    group.add_argument(
        "--distributed",
        nargs="?",
        type=positive_number,
        const=0,
        metavar="N",
        help="train in N processes on this machine (one a GPU, or two without); for several machines, start "
        "`torchrun … -m train pretrain STUDY --distributed` on each of them",
    )
    group.add_argument(
        "--shard", action="store_true", help="spread weights and optimizer over the processes (FSDP2, for 1b)"
    )


def above_zero(value: str) -> float:
    """A finite number above 0, for argparse."""
    return _number(value, 0.0, including=False, words="a number above 0")


def not_negative(value: str) -> float:
    """A finite number of 0 or more, for argparse."""
    return _number(value, 0.0, including=True, words="0 or a number above it")


def _number(value: str, low: float, *, including: bool, words: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if not (low < number < float("inf") or (including and number == low)):
        raise argparse.ArgumentTypeError(f"{value!r} is not {words}")
    return number


def training_settings(
    manifest: Manifest,
    options: argparse.Namespace,
    before: Stage | None = None,
    checkpoint: Checkpoint | None = None,
) -> PretrainSettings:
    """Settings as given, or as the study was trained; a new size brings its own rate, batch and steps.

    `before` is how it was trained last. The size is that of the checkpoint gone on from, the longest sequence
    the tokenizer's longest window.
    """
    from ehrfm_core.model.settings import PretrainSettings

    known = {field.name for field in fields(PretrainSettings)}
    recorded = before.settings if before else {}
    remembered = {name: value for name, value in recorded.items() if name in known}
    given = {name: value for name in NAMES if (value := getattr(options, name, None)) is not None}
    if checkpoint and checkpoint.size:
        size = given.setdefault("size", checkpoint.size)
        if size != checkpoint.size:
            raise UserError(
                f"--size {size}: the checkpoint of {checkpoint.folder} is {checkpoint.size}, and is kept so; "
                "leave --size out."
            )
    if given.get("size", remembered.get("size")) != remembered.get("size", "tiny"):
        remembered = {name: value for name, value in remembered.items() if name not in BY_SIZE}
    if given.keys() & {"steps", "epochs"}:
        remembered.pop("steps", None)  # they count alone where they are given
        remembered.pop("epochs", None)
    settings = PretrainSettings(**(remembered | given))
    tokenized = manifest.stages.get("tokenize")
    longest = (tokenized.settings if tokenized else {}).get("max_tokens", settings.max_tokens)
    if settings.batch_tokens and settings.batch_tokens < longest:
        raise UserError(
            f"--batch-tokens {settings.batch_tokens}: one sequence may have {longest:,} tokens; give that "
            "many or more."
        )
    return replace(settings, max_tokens=longest)


def command_line(options: argparse.Namespace) -> list[str]:
    """The options of a training command as words, to start it again in another process."""
    words: list[str] = []
    for name, value in vars(options).items():
        flag = "--from" if name == "start_from" else f"--{name.replace('_', '-')}"
        if name in NAMES or name in ("precision", "save_every", "device", "start_from"):
            words += [] if value is None else [flag, str(value)]
        elif name == "compile" and value is not None:
            words.append("--compile" if value else "--no-compile")
        elif name == "shard" and value:
            words.append("--shard")
    return words
