"""The network that fine-tuning trains: the model, pooled states and a linear head.

Needs torch and transformers. Symbols: N tokens and S stays in a pack, K outcomes.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional
from transformers import LlamaForCausalLM

from ehrfm_core.dynamics.readouts import LinearReadouts
from ehrfm_core.model.attention import IMPLEMENTATION
from ehrfm_core.model.pooling import pooled


class Classifier(nn.Module):
    """`model` itself, its attention now that of training, and a head that begins as `head`."""

    def __init__(self, model: LlamaForCausalLM, head: LinearReadouts, *, bf16: bool, pooling: str) -> None:
        super().__init__()
        self.model, self.bf16, self.names, self.pooling = model, bf16, head.names, pooling
        model.set_attn_implementation(IMPLEMENTATION)
        self.head = nn.Linear(head.weight.shape[0], len(head.names))
        with torch.no_grad():
            self.head.weight.copy_(torch.from_numpy(head.weight.T))
            self.head.bias.copy_(torch.from_numpy(head.bias))

    def loss(
        self,
        tensors: tuple[torch.Tensor, ...],
        first: torch.Tensor,
        rows: torch.Tensor,
        labels: torch.Tensor,
    ) -> tuple[torch.Tensor, int]:
        """Summed nats of the labels (S × K) that count, and how many count.

        Read at the tokens `rows` (S), pooled from the windows' `first` (S).
        """
        tokens, positions, _, stays = tensors
        with torch.autocast(tokens.device.type, torch.bfloat16, enabled=self.bf16):
            embedded = self.model.model.embed_tokens(tokens[None])
            if self.bf16:
                embedded = embedded.to(torch.bfloat16)
            hidden = self.model.model(inputs_embeds=embedded, position_ids=positions[None], stays=stays)
        states = pooled(hidden.last_hidden_state[0].float(), first, rows, pooling=self.pooling)
        logits = self.head(states)
        counts = torch.isfinite(labels)
        wanted = torch.where(counts, labels, 0.0)
        nats = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
        return (nats * counts).sum(), int(counts.sum())

    def readouts(self) -> LinearReadouts:
        """The head as it is now."""
        weight, bias = (p.detach().cpu().double().numpy().copy() for p in (self.head.weight, self.head.bias))
        return LinearReadouts(self.names, weight.T, bias)
