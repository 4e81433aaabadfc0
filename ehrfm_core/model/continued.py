"""Going on from another study's checkpoint, whose vocabulary is the beginning of this one's."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from transformers import LlamaForCausalLM

from ehrfm_core.errors import UserError


def check_vocabularies(first: Mapping[str, int], here: Mapping[str, int], *, name: str) -> None:
    """Raise UserError unless every token of the first study has the same id here."""
    moved = [token for token, i in first.items() if here.get(token) != i]
    if moved:
        raise UserError(
            f"{len(moved)} tokens of {name}, {moved[0]!r} among them, have another id or none in this study: "
            "its checkpoint cannot be gone on from; tokenize with --from as well."
        )


def grown(model: LlamaForCausalLM, *, vocabulary_size: int) -> LlamaForCausalLM:
    """The model with rows for the tokens that were appended, each the mean of the embeddings there were.

    The mean says nothing about a token and lies where the others do, so that the loss starts near that of
    a token never seen. Works in place.
    """
    had = model.model.embed_tokens.weight.shape[0]
    if vocabulary_size > had:
        with torch.no_grad():
            model.resize_token_embeddings(vocabulary_size, mean_resizing=False)
            for rows in {model.model.embed_tokens.weight, model.lm_head.weight}:  # one, where they are tied
                rows[had:] = rows[:had].mean(dim=0)
    return model
