"""The same packs, model, attention and optimizer as ours, in the loop of `transformers.Trainer`.

    python -m train.bench.hf_trainer packs.safetensors --steps N [--packs-per-step K] [--precision bf16|fp32]

What is left to differ from ours is the loop: its bookkeeping, where it casts to bfloat16, how it brings the
batches. It runs in an environment that has accelerate, which ours has not: of the project it imports what
needs torch, transformers, numpy and safetensors alone. The last line of its output is JSON: seconds a step
and tokens a second (medians of the steps after the first), the mean loss, and the seconds and tokens of every
step.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments, set_seed
from transformers.trainer_callback import PrinterCallback

from ehrfm_core.model.attention import IMPLEMENTATION, bounds_tensor
from train.bench.clock import Clock, median_after_first
from train.bench.packs import Example, read_packs


def collate(examples: list[Example]) -> dict[str, torch.Tensor]:
    """One pack as a batch of one row."""
    (example,) = examples
    batch = {name: torch.from_numpy(example[name])[None] for name in ("input_ids", "position_ids", "labels")}
    return batch | {"stays": bounds_tensor(example["stays"], fixed=False)}


def arguments(folder: str, *, steps: int, packs_per_step: int, bf16: bool, seed: int) -> TrainingArguments:
    """The Trainer's own way, but for the optimizer's numbers and for what would write or report."""
    return TrainingArguments(
        output_dir=folder,
        use_cpu=True,
        bf16=bf16,
        max_steps=steps,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=packs_per_step,
        train_sampling_strategy="sequential",
        remove_unused_columns=False,
        optim="adamw_torch_fused",
        learning_rate=1e-3,
        lr_scheduler_type="constant",
        adam_beta2=0.95,
        weight_decay=0.1,
        max_grad_norm=1.0,
        seed=seed,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )


def train(
    examples: list[Example],
    config: dict[str, Any],
    *,
    steps: int,
    packs_per_step: int = 1,
    bf16: bool = True,
    seed: int = 0,
) -> dict[str, Any]:
    """Train on the packs in their order, from the first again when all are through; returns the report.

    Packs at the end that do not make a whole step are left out.
    """
    examples = examples[: len(examples) // packs_per_step * packs_per_step]
    set_seed(seed)
    model = LlamaForCausalLM(LlamaConfig(**config))
    model.set_attn_implementation(IMPLEMENTATION)
    clock = Clock()
    with tempfile.TemporaryDirectory(prefix="ehrfm-bench-") as folder:
        trainer = Trainer(
            model,
            arguments(folder, steps=steps, packs_per_step=packs_per_step, bf16=bf16, seed=seed),
            data_collator=collate,
            train_dataset=examples,
            callbacks=[clock],
        )
        trainer.remove_callback(PrinterCallback)
        loss = trainer.train().training_loss
    seconds = clock.step_seconds
    packs = np.array([len(example["input_ids"]) for example in examples])
    tokens = packs[np.arange(steps * packs_per_step) % len(packs)].reshape(steps, -1).sum(axis=1).tolist()
    return {
        "seconds_per_step": median_after_first(seconds),
        "tokens_per_second": median_after_first([n / s for n, s in zip(tokens, seconds, strict=True)]),
        "mean_loss": loss,
        "version": transformers.__version__,
        "step_seconds": seconds,
        "step_tokens": tokens,
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m train.bench.hf_trainer")
    parser.add_argument("packs", type=Path)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--packs-per-step", type=int, default=1)
    parser.add_argument("--precision", choices=["bf16", "fp32"], default="bf16")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    examples, config = read_packs(options.packs)
    report = train(
        examples,
        config,
        steps=options.steps,
        packs_per_step=options.packs_per_step,
        bf16=options.precision == "bf16",
        seed=options.seed,
    )
    print(json.dumps(report))


if __name__ == "__main__":
    main()
