"""Made-up timelines and models, small enough that a step takes some milliseconds."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from ehrfm_core.model.packing import Pieces
from ehrfm_core.model.settings import Execution, PretrainSettings
from ehrfm_core.model.sizes import SIZES, Size, llama_config
from ehrfm_core.ragged import Ragged
from ehrfm_core.tokens.vocabulary import build

VOCABULARY = build({f"lab/{i}" for i in range(10)}, n_bins=10)
NOTHING = Ragged.from_lengths(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
MINI = Size(32, 64, 2, 4, 2, 8, 5e-3, 128, 64, 1_000, 1_000)
FP32 = Execution(precision="fp32")


def timelines(n: int, seed: int, *, shortest: int = 5, longest: int = 40, noise: float = 0.05) -> Ragged:
    """A cycle of tokens with noise: a model that learns beats token frequencies by far."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(shortest, longest, n)
    values = np.concatenate([5 + (rng.integers(20) + np.arange(length)) % 20 for length in lengths])
    noisy = rng.random(len(values)) < noise
    values[noisy] = rng.integers(5, 25, noisy.sum())
    return Ragged.from_lengths(values, lengths)


def mini(**changes: Any) -> PretrainSettings:
    """Settings of a run of the size `mini`, which stands in SIZES only while a test puts it there."""
    base: dict[str, Any] = {
        "size": "mini",
        "steps": 40,
        "max_tokens": 32,
        "batch_tokens": 128,
        "pack_tokens": 64,
        "steps_between": 10,
        "evaluations": 100,
    }
    return PretrainSettings(**base | changes)


def add_mini() -> None:
    """Put the size into SIZES, in a process that does nothing else."""
    SIZES["mini"] = MINI


def llama(*, kv_heads: int = 4, tied: bool = True, seed: int = 0, max_tokens: int = 64) -> LlamaForCausalLM:
    """A model of random weights, larger than a random start has them so that nothing is near uniform."""
    torch.manual_seed(seed)
    size = Size(32, 64, 2, 4, kv_heads, 8, 0, 0, 0, 0, 0)
    config: LlamaConfig = llama_config(size, vocabulary=VOCABULARY, max_tokens=max_tokens)
    config.tie_word_embeddings = tied
    config.initializer_range = 0.2
    return LlamaForCausalLM(config).eval()


def pieces_of(lists: list[list[int]]) -> Pieces:
    """Each list as one piece."""
    lengths = np.array([len(part) for part in lists], dtype=np.int64)
    flat = np.concatenate([np.array(part, dtype=np.int64) for part in lists])
    return Pieces.of(Ragged.from_lengths(flat, lengths), max_tokens=int(lengths.max()))
