"""What the device can do: its peak, its memory, whether bfloat16 pays."""

from __future__ import annotations

import platform
import resource
import sys
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from transformers import LlamaConfig

# dense bf16 tensor-core peak in TFLOP/s without sparsity, from the data sheets; longest name first
DATA_SHEETS = {
    "B200": 2250.0,
    "H200": 989.4,
    "H100 NVL": 835.5,
    "H100 PCIe": 756.5,
    "H100": 989.4,
    "A100": 312.0,
    "L40S": 362.05,
    "L40": 181.05,
    "L4": 121.0,
    "A40": 149.7,
    "A10": 125.0,
    "RTX 4090": 165.2,
    "RTX 3090": 71.0,
    "V100": 125.0,
}


@dataclass(frozen=True)
class Peak:
    """Highest rate of matrix products in TFLOP/s, of one device, and where the figure comes from."""

    tflops: float
    source: str


def bf16_pays(device: str) -> bool:
    """Whether the device multiplies bfloat16 faster than float32."""
    if device.startswith("cuda"):
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def device_name(device: str) -> str:
    """The device in words."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name()
    return f"{_processor()}, {torch.get_num_threads()} threads"


@cache
def peak(device: str, *, bf16: bool) -> Peak:
    """The peak against which MFU is counted: the data sheet's for a known GPU, else a measured one."""
    if device.startswith("cuda") and bf16:
        name = torch.cuda.get_device_name()
        for known, tflops in DATA_SHEETS.items():
            if known in name:
                return Peak(tflops, "data sheet, dense bf16")
    return Peak(_measured(device, torch.bfloat16 if bf16 else torch.float32), "measured matrix product")


def flops_per_token(config: LlamaConfig, parameters: int, mean_context: float) -> float:
    """Floating point operations to train on one token, forward and backward.

    6 per parameter that multiplies (tied embeddings multiply once, as the output layer) and 12 per layer,
    unit of head width and token of context (Chowdhery et al., PaLM, appendix B; causality is not taken off,
    as is usual). `mean_context` is the length of the stay that a token stands in, averaged over tokens.

    >>> body = LlamaConfig(vocab_size=0, num_hidden_layers=16, num_attention_heads=32, head_dim=64)
    >>> f"{flops_per_token(body, 974_000_000, 2048) / 1e9:.2f} GFLOP"
    '6.65 GFLOP'
    """
    width = config.num_attention_heads * (config.head_dim or config.hidden_size // config.num_attention_heads)
    embedding = 0 if config.tie_word_embeddings else config.vocab_size * config.hidden_size
    return 6.0 * (parameters - embedding) + 12.0 * config.num_hidden_layers * width * mean_context


def memory_gb(device: str) -> float:
    """Peak memory in GB (10⁹ bytes): of the device, or of this process on a CPU."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated() / 1e9
    peak_resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak_resident * (1 if sys.platform == "darwin" else 1024) / 1e9


def _measured(device: str, dtype: torch.dtype, side: int | None = None, seconds: float = 0.5) -> float:
    side = side or (8192 if device.startswith("cuda") else 2048)
    a = torch.ones(side, side, dtype=dtype, device=device)
    best, begun = 0.0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        start = time.perf_counter()
        a @ a
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        best = max(best, 2 * side**3 / (time.perf_counter() - start))
    return best / 1e12


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
