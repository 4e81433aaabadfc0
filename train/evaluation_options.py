"""Options of the command line that say how models are fine-tuned and how often local stays are drawn."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from train.numbers import positive_number, share_number
from train.training_options import above_zero

if TYPE_CHECKING:
    from ehrfm_core.model.finetune import FinetuneSettings
    from ehrfm_core.model.local import LocalSettings
    from ehrfm_core.study.manifest import Stage

NONE = "none"
PAPERS, TUNED = "1", "tuned"  # C of the probes


def add_evaluation_arguments(command: argparse.ArgumentParser) -> None:
    """Add them; everything left out is as the study was made."""
    group = command.add_argument_group("evaluation", "What is left out is as the study was made before.")
    group.add_argument(
        "--finetune",
        choices=["all", "lora", NONE],
        help="fine-tune all weights, a low-rank part of them, or no model (all)",
    )
    group.add_argument(
        "--cuts",
        choices=["last", "random"],
        help="where the loss of fine-tuning stands: at the window's last token, or at random ones, for risks "
        "that are read within the window (last)",
    )
    group.add_argument(
        "--finetune-models", choices=["one", "each"], help="one for all outcomes, or one for each (one)"
    )
    group.add_argument(
        "--finetune-pooling",
        choices=["last", "mean"],
        help="what the head of a fine-tuned model reads: the last state, or beside it the mean states of the "
        "window and of its last 40 tokens (last)",
    )
    group.add_argument(
        "--finetune-thinning",
        type=share_number,
        metavar="X",
        help="in every epoch each stay loses a share of its events, drawn between none and X, so that stays "
        "are not learnt by heart (0)",
    )
    group.add_argument("--finetune-epochs", type=positive_number, metavar="N", help="at most (10)")
    group.add_argument("--finetune-rate", type=above_zero, metavar="X", help="highest learning rate (3e-5)")
    group.add_argument(
        "--local-training",
        choices=["both", "pretrain", "scratch", NONE],
        help="adapt to a hospital by pretraining further on its stays, by pretraining a model on them alone, "
        "or both (both; none with --finetune none)",
    )
    group.add_argument(
        "--local-tokens", type=positive_number, metavar="N", help="that one such run reads at most (2000000)"
    )
    group.add_argument(
        "--repeats",
        type=positive_number,
        metavar="N",
        help="how often each share of a target's training split is drawn (5)",
    )


def finetune_settings(
    done: Stage | None, options: argparse.Namespace, *, seed: int
) -> FinetuneSettings | None:
    """As given, else as the study was made, else the defaults; None where no model is to be fine-tuned."""
    from ehrfm_core.model.finetune import FinetuneSettings

    before: dict[str, Any] | None = done.settings.get("finetuning", {}) if done else {}
    given = {
        "method": options.finetune,
        "cuts": options.cuts,
        "models": options.finetune_models,
        "pooling": options.finetune_pooling,
        "thinning": options.finetune_thinning,
        "epochs": options.finetune_epochs,
        "learning_rate": options.finetune_rate,
    }
    asked = {name: value for name, value in given.items() if value is not None}
    if options.finetune == NONE or (before is None and not asked):
        return None
    return replace(FinetuneSettings(**(before or {})), **asked, seed=seed)


def local_settings(
    done: Stage | None, options: argparse.Namespace, *, finetuning: bool
) -> LocalSettings | None:
    """As given, else as the study was made; else both ways where models are fine-tuned."""
    from ehrfm_core.model.local import METHODS, LocalSettings

    before: dict[str, Any] | None = done.settings.get("local_training", {}) if done else {}
    if before == {} and not finetuning:
        before = None
    if options.local_training == NONE or (before is None and options.local_training is None):
        return None
    settings = LocalSettings(**((before or {}) | {"methods": tuple((before or {}).get("methods", METHODS))}))
    if options.local_training is not None:
        both = options.local_training == "both"
        settings = replace(settings, methods=METHODS if both else (options.local_training,))
    return settings if options.local_tokens is None else replace(settings, tokens=options.local_tokens)
