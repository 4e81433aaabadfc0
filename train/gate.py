"""The sanity gate of every run: what is read out of a model must be the loss it was trained to."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional
from transformers import LlamaForCausalLM

from ehrfm_core.dynamics.forward import Forward
from ehrfm_core.dynamics.states import read_out
from ehrfm_core.errors import UserError
from ehrfm_core.model.batches import groups_by_length, pad_right
from ehrfm_core.model.feed import some
from ehrfm_core.model.packing import NOT_SCORED, Pieces
from ehrfm_core.ragged import Ragged

TOKENS = 100_000  # of the tuning split, at most
BATCH_TOKENS = 8_192
TOLERANCE = 1e-3  # nats a token


def check_information(
    model: LlamaForCausalLM, held_out: Pieces, *, device: str, seed: int, bf16: bool = False
) -> float:
    """Compare the mean information that is read out of packs of stays with the loss by transformers' own way.

    They are the same figure by two ways that share neither batches nor attention nor, with `bf16`, precision.
    Returns the difference in nats a token; raises UserError where it is above 1e-3.
    """
    pieces = some(held_out, at_most=TOKENS, seed=seed)
    lists = Ragged.from_lengths(
        np.concatenate([pieces[i] for i in range(len(pieces))]).astype(np.int64), pieces.lengths
    )
    minutes = Ragged(np.zeros(len(lists.values), dtype=np.float32), lists.offsets)
    read = read_out(Forward(model, device=device, bf16=bf16), lists, minutes, hours=0)
    information = float(np.nanmean(read.information.values, dtype=np.float64))
    loss = padded_loss(model, lists, device=device)
    difference = information - loss
    if not abs(difference) <= TOLERANCE:
        raise UserError(
            f"The information read out of the model ({information:.4f} nats a token) is not its loss "
            f"({loss:.4f}): the states cannot be trusted. Nothing was written."
        )
    return difference


@torch.inference_mode()
def padded_loss(model: LlamaForCausalLM, lists: Ragged, *, device: str) -> float:
    """Mean loss in nats per predicted token: padded batches, the model's own attention, float32."""
    total, count = 0.0, 0
    for group in groups_by_length(lists.lengths, batch_tokens=BATCH_TOKENS):
        batch = torch.from_numpy(pad_right(lists, group, fill=0)).to(device)
        lengths = torch.from_numpy(lists.lengths[group]).to(device)
        targets = batch[:, 1:].clone()
        targets[torch.arange(1, batch.shape[1], device=device) >= lengths[:, None]] = NOT_SCORED
        logits = model(input_ids=batch).logits[:, :-1].float()
        total += float(functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum"))
        count += int((targets != NOT_SCORED).sum())
    return total / count
