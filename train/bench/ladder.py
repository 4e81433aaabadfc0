"""What each measure brings, one after another, predicted against measured: for a GPU, and smaller on a CPU.

    python -m train bench training --device cuda --size 1b --longest 2048

Needs torch, transformers, numpy and safetensors alone. Tokens are random: their values do not change speed.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from transformers import LlamaForCausalLM

from ehrfm_core.errors import UserError
from ehrfm_core.model.hardware import bf16_pays, device_name, flops_per_token, memory_gb, peak
from ehrfm_core.model.packing import NOT_SCORED, Pieces, epoch_of_packs, make_pack
from ehrfm_core.model.pretrain import optimizer_of
from ehrfm_core.model.scorer import Scorer, to_tensors
from ehrfm_core.model.settings import PretrainSettings
from ehrfm_core.model.sizes import SIZES, llama_config
from ehrfm_core.ragged import Ragged

VOCABULARY_SIZE = 1024
VOCABULARY = {"PAD": 0, "TL_START": 1, "TL_END": 2} | {f"code/{i}": i for i in range(3, VOCABULARY_SIZE)}


@dataclass(frozen=True)
class Rung:
    """One way to train; `gain` is what it was predicted to bring over the rung before it."""

    name: str
    gain: str
    bf16: bool = False
    packed: bool = False
    compiled: str = "no"  # no, body, whole
    more: int = 1  # times the tokens a pass


RUNGS = (
    Rung("stays padded to the longest, fp32, eager", "1"),
    Rung("+ bf16 products and stream", "4–8 × on tensor cores, 2 × with AVX-512 BF16", bf16=True),
    Rung("+ packed, attention within stays", "1 / share of real tokens", bf16=True, packed=True),
    Rung("+ body compiled", "1.3–1.6 × on a GPU, 1.05 × on a CPU", bf16=True, packed=True, compiled="body"),
    Rung("+ loss compiled with it (fused)", "1.02 ×: the vocabulary is small", True, True, "whole"),
    Rung("+ twice the tokens a pass", "1.05 ×", True, True, "whole", more=2),
)


def run(options: argparse.Namespace) -> int:
    """Climb the ladder and print the table; a rung that does not fit into memory says so."""
    device = options.device or "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: this machine has no GPU that torch can use; leave --device out.")
    size = SIZES[options.size]
    longest = options.longest or 1024
    tokens = max(longest, options.batch_tokens or size.pack_tokens)
    config = llama_config(size, vocabulary=VOCABULARY, max_tokens=longest)
    rows: list[dict[str, Any]] = []
    for rung in RUNGS:
        if (rung.bf16 and not bf16_pays(device)) or (rung.compiled != "no" and not options.compile):
            continue
        try:
            rows.append(_measure(rung, options, config, device, tokens * rung.more, longest))
        except torch.OutOfMemoryError:
            rows.append({"name": rung.name, "gain": rung.gain, "tokens_per_second": None})
        gc.collect()
        if device == "cuda":
            torch.cuda.empty_cache()
        print(json.dumps(rows[-1]), flush=True) if options.json else None
    if not options.json:
        _print(rows, options, device, tokens, longest)
    return 0


def _measure(
    rung: Rung, options: argparse.Namespace, config: Any, device: str, tokens: int, longest: int
) -> dict[str, Any]:
    torch.manual_seed(0)
    torch._dynamo.reset()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    model = LlamaForCausalLM(config).to(device)  # type: ignore[arg-type]
    parameters = sum(p.numel() for p in model.parameters())
    optimizer = optimizer_of(model, 1e-4, PretrainSettings())
    batches, real, context = _batches(rung, options, device, tokens, longest)
    loss_of = _packed_loss(model, rung) if rung.packed else _padded_loss(model, rung)
    seconds = []
    for step in range(options.steps + 3):  # three to warm up
        begun = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        (loss_of(*batches[step % len(batches)]) / tokens).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begun)
    rate = real / statistics.median(seconds[3:])
    top = peak(device, bf16=rung.bf16)
    return {
        "name": rung.name,
        "gain": rung.gain,
        "tokens_per_second": rate,
        "mfu": rate * flops_per_token(config, parameters, context) / (top.tflops * 1e12),
        "peak": f"{top.tflops:,.4g} TFLOP/s, {top.source}",
        "memory_gb": memory_gb(device),
        "warm_up_seconds": sum(seconds[:3]),
        "parameters": parameters,
    }


def _batches(
    rung: Rung, options: argparse.Namespace, device: str, tokens: int, longest: int
) -> tuple[list[tuple[torch.Tensor, ...]], float, float]:
    """Batches on the device, real tokens in one of them (mean), and tokens that a token's stay has (mean)."""
    rng = np.random.default_rng(0)
    n = 4 * max(1, tokens // longest) * (1 if options.full else 4)
    lengths = np.full(n, longest)
    if not options.full:  # as stays are: a few long ones hold most of the tokens
        lengths = np.clip(np.exp(rng.normal(np.log(longest / 4), 0.9, n)), 16, longest).astype(int)
    values = rng.integers(3, VOCABULARY_SIZE, int(lengths.sum()))
    pieces = Pieces.of(Ragged.from_lengths(values, lengths), max_tokens=longest)
    context = float((lengths.astype(float) ** 2).sum() / lengths.sum())
    if rung.packed:
        chosen = epoch_of_packs(pieces.lengths, pack_tokens=tokens, generator=rng)[:4]
        packs = [make_pack(pieces, indices, pad=0, pad_to=tokens) for indices in chosen]
        real = float(np.mean([pieces.lengths[indices].sum() for indices in chosen]))
        return [to_tensors(pack, device, fixed=True) for pack in packs], real, context
    rows = max(1, tokens // longest)
    batches: list[tuple[torch.Tensor, ...]] = []
    real_tokens = 0
    for k in range(4):
        batch = np.zeros((rows, longest), dtype=np.int64)
        targets = np.full((rows, longest), NOT_SCORED)
        for row in range(rows):
            piece = pieces[(k * rows + row) % len(pieces)]
            batch[row, : len(piece)] = piece
            targets[row, : len(piece) - 1] = piece[1:]
            real_tokens += len(piece)
        batches.append((torch.from_numpy(batch).to(device), torch.from_numpy(targets).to(device)))
    return batches, real_tokens / 4, context


def _padded_loss(model: LlamaForCausalLM, rung: Rung) -> Callable[..., torch.Tensor]:
    def loss(batch: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        with torch.autocast(batch.device.type, torch.bfloat16, enabled=rung.bf16):
            logits = model(input_ids=batch).logits
        return functional.cross_entropy(
            logits.float().flatten(0, 1), targets.flatten(), ignore_index=NOT_SCORED, reduction="sum"
        )

    return loss


def _packed_loss(model: LlamaForCausalLM, rung: Rung) -> Callable[..., torch.Tensor]:
    scorer = Scorer(model, bf16=rung.bf16)
    if rung.compiled == "whole":
        return torch.compile(scorer)
    if rung.compiled == "body":
        model.model.compile()
    return scorer


def _print(
    rows: list[dict[str, Any]], options: argparse.Namespace, device: str, tokens: int, longest: int
) -> None:
    filled = f"all of {longest:,} tokens" if options.full else f"of up to {longest:,} tokens, as stays are"
    print(
        f"{options.size}, {rows[0].get('parameters', 0):,} parameters; {tokens:,} tokens a pass, sequences "
        f"{filled}; {device_name(device)}; medians of {options.steps} steps.\n"
    )
    print("| | predicted | measured | real tokens/s | MFU | memory, GB | warm-up, s |")
    print("|---|---|---|---|---|---|---|")
    before = None
    for row in rows:
        rate = row["tokens_per_second"]
        if rate is None:
            print(f"| {row['name']} | {row['gain']} | does not fit into memory | | | | |")
            continue
        gain = f"{rate / before:.2f} ×" if before else "1"
        print(
            f"| {row['name']} | {row['gain']} | {gain} | {rate:,.0f} | {row['mfu']:.0%} "
            f"| {row['memory_gb']:.1f} | {row['warm_up_seconds']:.0f} |"
        )
        before = rate
    print(f"\nMFU counts 6 N + 12 L H T operations a token against {rows[-1].get('peak', 'no peak')}.")
