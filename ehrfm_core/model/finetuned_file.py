"""A fine-tuned model and its head as one safetensors file."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from transformers import LlamaForCausalLM

from ehrfm_core.dynamics.readouts import LinearReadouts
from ehrfm_core.model.finetune import Finetuned
from ehrfm_core.model.state import weights_of, write_tensors

HEAD = ("head.weight", "head.bias")


def keep(path: Path, tuned: Finetuned) -> None:
    """Write the weights, the head and what is known of the run. Raises UserError where the disk is full."""
    head = (torch.from_numpy(tuned.head.weight), torch.from_numpy(tuned.head.bias))
    known = {"best_epoch": tuned.best_epoch, "curve": tuned.curve, "names": list(tuned.head.names)}
    known["pooling"] = tuned.pooling
    tensors = weights_of(tuned.model) | dict(zip(HEAD, head, strict=True))
    write_tensors(path, tensors, {"run": json.dumps(known)})


def restore(path: Path, start: LlamaForCausalLM) -> Finetuned | None:
    """What `keep` wrote of a model like `start`; None where there is nothing that can be read to its end."""
    try:
        with safe_open(path, "pt") as file:
            known = json.loads((file.metadata() or {})["run"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            weight, bias = (tensors.pop(name).numpy() for name in HEAD)
    except (OSError, SafetensorError, KeyError, json.JSONDecodeError):
        return None
    model = copy.deepcopy(start)
    model.load_state_dict(tensors, strict=False)  # tied weights stand once
    head = LinearReadouts(tuple(known["names"]), weight, bias)
    return Finetuned(model.eval(), head, known["best_epoch"], known["curve"], known.get("pooling", "last"))
