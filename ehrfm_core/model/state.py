"""The state of a training run in one safetensors file, written whole or not at all.

It holds the weights, the optimizer's moments, the random generator and, as JSON in its header, the position
in the data and all that was counted so far: enough to go on to the same weights, bit for bit on a CPU.
"""

from __future__ import annotations

import copy
import errno
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from ehrfm_core.errors import UserError
from ehrfm_core.model.parallel import Group, like, whole

MOMENTS = ("exp_avg", "exp_avg_sq")
GENERATOR = "generator"


def weights_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """Every weight by name, on the CPU; tied ones once. Every process of a group must ask."""
    return {name: whole(p.detach()).cpu() for name, p in model.named_parameters()}


def assemble(config: LlamaConfig, weights: Mapping[str, torch.Tensor], device: str) -> LlamaForCausalLM:
    """A model of these weights, ready to be read: the library's own attention, not training."""
    model = LlamaForCausalLM(copy.deepcopy(config))
    model.load_state_dict(dict(weights), strict=False)  # tied weights stand once
    model.set_attn_implementation("sdpa")
    return model.to(device).eval()  # type: ignore[arg-type]


def write_tensors(
    path: Path, tensors: Mapping[str, torch.Tensor], metadata: dict[str, str] | None = None
) -> None:
    """Write a safetensors file to a temporary name, flush it to the disk, rename it.

    Raises UserError where the disk is full; the file that was there before is kept.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.partial")
    try:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary, metadata)
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        temporary.chmod(0o644)  # safetensors writes for the owner alone; a dashboard may run as someone else
        temporary.replace(path)
    except (OSError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        needed = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
        raise UserError(why_not_written(error, path, needed)) from None


def sweep(folder: Path) -> None:
    """Remove what writes into `folder` that were killed have left: our partial files, safetensors' own."""
    for left in (*folder.glob(".*.partial"), *folder.glob(".tmp*")):
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink(missing_ok=True)


def why_not_written(error: Exception, path: Path, needed: int) -> str:
    """One sentence on a checkpoint that could not be written."""
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "os error 28" in str(error):
        return (
            f"The disk is full: {path} needs {max(1, needed / 1e6):,.0f} MB. The last good checkpoint is "
            "kept; make room and run the same command again to go on from it."
        )
    reason = getattr(error, "strerror", None) or str(error)
    return (
        f"{path} cannot be written ({reason}). The last good checkpoint is kept; mend this and run the same "
        "command again to go on from it."
    )


def save_state(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, counted: dict[str, Any], group: Group
) -> None:
    """Write weights, moments, generator and `counted`; every process calls it, the first one writes."""
    tensors = {GENERATOR: torch.get_rng_state()}
    for name, parameter in model.named_parameters():
        tensors[f"weight.{name}"] = whole(parameter.detach()).cpu()
        moments = optimizer.state.get(parameter, {})
        for key in MOMENTS:
            if key in moments:
                tensors[f"{key}.{name}"] = whole(moments[key]).cpu()
    if group.first:
        write_tensors(path, tensors, {"counted": json.dumps(counted)})
    group.wait()


def read_counted(path: Path) -> dict[str, Any] | None:
    """What was counted up to a state; None where there is none that can be read to its end."""
    try:
        with safe_open(path, "pt") as file:
            file.get_tensor(GENERATOR)
            counted = json.loads((file.metadata() or {})["counted"])
            return counted if isinstance(counted, dict) and "identity" in counted else None
    except (OSError, SafetensorError, KeyError, json.JSONDecodeError):
        return None


def load_state(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, *, step: int) -> None:
    """Put a saved state into the model, the optimizer and torch's generator.

    Raises UserError where the file is of another model.
    """
    with safe_open(path, "pt") as file:
        names = set(file.keys())
        for name, parameter in model.named_parameters():
            if f"weight.{name}" not in names:
                raise UserError(f"{path} is the state of another model; delete it to train anew.")
            with torch.no_grad():
                parameter.copy_(like(file.get_tensor(f"weight.{name}"), parameter))
            if f"exp_avg.{name}" in names:
                moments = {key: like(file.get_tensor(f"{key}.{name}"), parameter) for key in MOMENTS}
                on = parameter.device if optimizer.defaults.get("fused") else "cpu"
                optimizer.state[parameter] = {"step": torch.tensor(float(step), device=on), **moments}
        torch.set_rng_state(file.get_tensor(GENERATOR))
