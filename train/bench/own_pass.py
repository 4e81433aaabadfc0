"""Our own pass over windows as the product runs it, timed.

    python -m train.bench.own_pass ARRAYS CHECKPOINT [--device cuda] [--precision bf16|fp32]

ARRAYS is a folder with tokens.npy, offsets.npy and minutes.npy. Needs torch, transformers, numpy and
safetensors alone. The last line of its output is JSON.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import LlamaForCausalLM

from ehrfm_core.dynamics.forward import Forward
from ehrfm_core.dynamics.readouts import LinearReadouts
from ehrfm_core.dynamics.shards import read_out_in_shards
from ehrfm_core.model.checkpoint import load
from ehrfm_core.model.hardware import device_name, flops_per_token, memory_gb, peak
from ehrfm_core.ragged import Ragged

OUTCOMES = 4


def measure(
    model: LlamaForCausalLM,
    windows: Ragged,
    minutes: Ragged,
    *,
    device: str,
    bf16: bool,
    pack_tokens: int,
    repeats: int = 1,
) -> dict[str, Any]:
    """Read everything out of the windows, shards written to disk; seconds of the best of `repeats`."""
    width = model.config.hidden_size
    readouts = LinearReadouts(
        tuple(map(str, range(OUTCOMES))), np.full((width, OUTCOMES), 0.01), np.zeros(OUTCOMES)
    )
    forward = Forward(model, device=device, bf16=bf16, readouts=readouts)
    parameters = sum(p.numel() for p in model.parameters())
    seconds, written = [], 0
    for _ in range(repeats):
        with tempfile.TemporaryDirectory(prefix="ehrfm-bench-") as folder:
            begun = time.perf_counter()
            read_out_in_shards(
                forward,
                windows,
                minutes,
                folder=Path(folder),
                identity="bench",
                hours=24,
                prefix=6,
                pack_tokens=pack_tokens,
            )
            seconds.append(time.perf_counter() - begun)
            written = sum(path.stat().st_size for path in Path(folder).iterdir())
    rate = len(windows.values) / min(seconds)
    context = float((windows.lengths.astype(float) ** 2).sum() / windows.lengths.sum())
    top = peak(device, bf16=bf16)
    return {
        "seconds": min(seconds),
        "tokens_per_second": rate,
        # a pass forward is a third of a step of training
        "mfu": rate * flops_per_token(model.config, parameters, context) / 3 / (top.tflops * 1e12),
        "bytes_per_stay": written / len(windows),
        "parameters": parameters,
        "precision": "bf16" if bf16 else "fp32",
        "peak": f"{top.tflops:,.4g} TFLOP/s ({top.source})",
        "memory_gb": memory_gb(device),
        "device": device_name(device),
    }


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m train.bench.own_pass")
    parser.add_argument("arrays", type=Path)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=["bf16", "fp32"], default="fp32")
    parser.add_argument("--pack-tokens", type=int, default=8192)
    options = parser.parse_args()
    offsets = np.load(options.arrays / "offsets.npy")
    windows = Ragged(np.load(options.arrays / "tokens.npy", mmap_mode="r"), offsets)
    minutes = Ragged(np.load(options.arrays / "minutes.npy", mmap_mode="r"), offsets)
    torch.manual_seed(0)
    found = measure(
        load(options.checkpoint, device=options.device),
        windows,
        minutes,
        device=options.device,
        bf16=options.precision == "bf16",
        pack_tokens=options.pack_tokens,
    )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
