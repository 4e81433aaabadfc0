"""Low-rank adaptation: a frozen matrix and the product of two narrow ones beside it, which alone are trained.

W + (α / r) B A with A (r × inputs) random and B (outputs × r) zero at the start (Hu et al., LoRA, ICLR 2022),
so that training begins at the model as it is. α = 2 r throughout.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils import parametrize

SCALE = 2.0  # α / r


class _LowRank(nn.Module):
    def __init__(self, weight: torch.Tensor, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        outputs, inputs = weight.shape
        device = weight.device
        drawn = torch.randn(rank, inputs, generator=generator) * inputs**-0.5
        self.a = nn.Parameter(drawn.to(device))
        self.b = nn.Parameter(torch.zeros(outputs, rank, device=device))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight + SCALE * self.b @ self.a


def add_lora(body: nn.Module, *, rank: int, seed: int) -> list[nn.Parameter]:
    """Freeze `body` and put a low-rank matrix beside each of its linear layers; what is left to train."""
    for parameter in body.parameters():
        parameter.requires_grad = False
    added: list[nn.Parameter] = []
    generator = torch.Generator().manual_seed(seed)
    for layer in [module for module in body.modules() if isinstance(module, nn.Linear)]:
        low_rank = _LowRank(layer.weight, rank, generator)
        parametrize.register_parametrization(layer, "weight", low_rank)
        added += [low_rank.a, low_rank.b]
    return added


def merge_lora(body: nn.Module) -> None:
    """Make every layer one matrix again, with what was learnt in it, and thaw it."""
    for layer in [module for module in body.modules() if isinstance(module, nn.Linear)]:
        if parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    for parameter in body.parameters():
        parameter.requires_grad = True
