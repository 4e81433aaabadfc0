"""The loss: how surprised the model is by the next token of each stay of a pack."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional
from transformers import LlamaForCausalLM

from ehrfm_core.model.attention import IMPLEMENTATION, bounds_tensor
from ehrfm_core.model.feed import in_order
from ehrfm_core.model.packing import NOT_SCORED, Pack, Pieces, make_pack


class Scorer(nn.Module):
    """A model with its loss: what is compiled, sharded and differentiated as one.

    With bf16 the products and the stream between layers are bfloat16; weights, norms and the loss stay fp32.
    """

    def __init__(self, model: LlamaForCausalLM, *, bf16: bool = False) -> None:
        super().__init__()
        self.model = model
        self.bf16 = bf16
        model.set_attn_implementation(IMPLEMENTATION)

    def forward(
        self, tokens: torch.Tensor, positions: torch.Tensor, targets: torch.Tensor, stays: torch.Tensor
    ) -> torch.Tensor:
        """Summed −ln p of the targets in nats; the first three are N, `stays` bounds (S + 1)."""
        with torch.autocast(tokens.device.type, torch.bfloat16, enabled=self.bf16):
            embedded = self.model.model.embed_tokens(tokens[None])
            if self.bf16:
                embedded = embedded.to(torch.bfloat16)  # else every sum between layers would be fp32
            hidden = self.model.model(
                inputs_embeds=embedded, position_ids=positions[None], stays=stays
            ).last_hidden_state
            logits = self.model.lm_head(hidden[0])
        return functional.cross_entropy(logits.float(), targets, ignore_index=NOT_SCORED, reduction="sum")


def to_tensors(pack: Pack, device: str, *, fixed: bool) -> tuple[torch.Tensor, ...]:
    """Tokens, positions, targets and bounds on the device."""
    arrays = (torch.from_numpy(x) for x in (pack.tokens, pack.positions, pack.targets))
    tensors = (*arrays, bounds_tensor(pack.bounds, fixed=fixed))
    if device.startswith("cuda"):
        return tuple(x.pin_memory().to(device, non_blocking=True) for x in tensors)
    return tensors


@torch.no_grad()
def mean_loss(
    model: LlamaForCausalLM, pieces: Pieces, *, device: str = "cpu", pack_tokens: int = 8_192
) -> float:
    """Mean loss in nats per predicted token over pieces of timelines, in fp32."""
    pack_tokens = max(pack_tokens, int(pieces.lengths.max()))
    was, attention = model.training, model.config._attn_implementation
    scorer = Scorer(model).eval()
    total = torch.zeros((), dtype=torch.float64, device=device)
    count = 0
    for indices in in_order(pieces, pack_tokens=pack_tokens):
        pack = make_pack(pieces, indices, pad=0, pad_to=pack_tokens)
        total += scorer(*to_tensors(pack, device, fixed=False))
        count += pack.n_scored
    model.train(was)
    model.set_attn_implementation(attention)
    return total.item() / count
