"""The sanity gate of every run: what is read out of a model must be the loss it was trained to."""

from __future__ import annotations

import numpy as np
from transformers import LlamaForCausalLM

from ehrfm_core.dynamics.states import read_out
from ehrfm_core.errors import UserError
from ehrfm_core.model.feed import some
from ehrfm_core.model.packing import Pieces
from ehrfm_core.model.scorer import mean_loss
from ehrfm_core.ragged import Ragged

TOKENS = 100_000  # of the tuning split, at most
TOLERANCE = 1e-3  # nats a token


def check_information(model: LlamaForCausalLM, held_out: Pieces, *, device: str, seed: int) -> float:
    """Compare the mean information of tokens, read out stay by stay, with the loss of packs of stays.

    They are the same figure by two ways that share neither batches nor attention. Returns the difference in
    nats a token; raises UserError where it is above 1e-3.
    """
    pieces = some(held_out, at_most=TOKENS, seed=seed)
    lists = Ragged.from_lengths(
        np.concatenate([pieces[i] for i in range(len(pieces))]).astype(np.int64), pieces.lengths
    )
    minutes = Ragged(np.zeros(len(lists.values), dtype=np.float32), lists.offsets)
    read = read_out(model, lists, minutes, hours=0, pad=0, device=device)
    information = float(np.nanmean(read.information.values, dtype=np.float64))
    difference = information - mean_loss(model, pieces, device=device)
    if not abs(difference) <= TOLERANCE:
        raise UserError(
            f"The information read out of the model ({information:.4f} nats a token) is not its loss "
            f"({information - difference:.4f}): the states cannot be trusted. Nothing was written."
        )
    return difference
