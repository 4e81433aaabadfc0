"""Packs in a file, in the manner of transformers, so that another loop can train on the very same batches."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from ehrfm_core.model.packing import NOT_SCORED, Pack
from ehrfm_core.ragged import Ragged

Example = dict[str, np.ndarray]


def write_packs(path: Path, packs: Sequence[Pack], config: Mapping[str, Any]) -> None:
    """Write P packs and the model's configuration (`LlamaConfig.to_dict()`) as safetensors.

    `input_ids`, `position_ids` and `labels` are P × N with N the longest pack; a shorter one ends where its
    last stay does. `labels` are the tokens themselves, NOT_SCORED at the first of each stay, since
    transformers shifts them. `cu_seqlens` and `cu_seqlens_offsets` are the bounds of stays as a Ragged.
    """
    shape = (len(packs), max(len(pack.tokens) for pack in packs))
    arrays: dict[str, np.ndarray] = {
        "input_ids": np.zeros(shape, dtype=np.int64),
        "position_ids": np.zeros(shape, dtype=np.int64),
        "labels": np.full(shape, NOT_SCORED, dtype=np.int64),
    }
    for i, pack in enumerate(packs):
        n = len(pack.tokens)
        arrays["input_ids"][i, :n] = pack.tokens
        arrays["position_ids"][i, :n] = pack.positions
        arrays["labels"][i, 1:n] = pack.targets[:-1]
    bounds = Ragged.from_lengths(
        np.concatenate([pack.bounds for pack in packs]), np.array([len(pack.bounds) for pack in packs])
    )
    arrays |= {"cu_seqlens": bounds.values, "cu_seqlens_offsets": bounds.offsets}
    save_file(arrays, path, {"config": json.dumps(dict(config))})


def read_packs(path: Path) -> tuple[list[Example], dict[str, Any]]:
    """What was written: for each pack its `input_ids`, `position_ids`, `labels` and `stays` (the bounds)."""
    with safe_open(path, framework="numpy") as file:
        bounds = Ragged(file.get_tensor("cu_seqlens"), file.get_tensor("cu_seqlens_offsets"))
        arrays = {name: file.get_tensor(name) for name in ("input_ids", "position_ids", "labels")}
        config = json.loads(file.metadata()["config"])
    ends = [int(bounds[i][-1]) for i in range(len(bounds))]
    examples = [
        {name: rows[i, :end] for name, rows in arrays.items()} | {"stays": bounds[i]}
        for i, end in enumerate(ends)
    ]
    return examples, config
