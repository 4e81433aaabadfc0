"""Attention within each stay of a pack, for transformers' models: no stay ever sees another.

On a GPU the flash kernel for sequences of unequal length does it in one call; elsewhere every stay is a call
of scaled dot product attention, which costs no more than a padded batch and wastes nothing.
Symbols: N tokens in the pack, H query heads, K key heads, D the width of a head, S stays.
"""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from transformers import AttentionInterface

IMPLEMENTATION = "per_stay"
BLOCK = 256  # queries
LONGEST_BY_PRODUCTS = 1024  # tokens; beyond, the scores of a stay take more memory than the flash kernel

varlen_attn: Any = None
_CAUSAL: dict[str, Any] = {}
try:
    from torch.nn.attention.varlen import varlen_attn
except ImportError:  # before torch 2.10
    pass
else:  # how the kernel is told to be causal has changed between releases
    _TAKES = set(inspect.signature(varlen_attn).parameters)
    _CAUSAL = {"is_causal": True} if "is_causal" in _TAKES else {"window_size": (-1, 0)}


def bounds_tensor(bounds: np.ndarray, *, fixed: bool) -> torch.Tensor:
    """Bounds of the stays of a pack (S + 1, int32); with `fixed`, filled up with stays of no token.

    A length that varied from pack to pack would be compiled anew.

    >>> bounds_tensor(np.array([0, 3, 5]), fixed=True).shape
    torch.Size([128])
    """
    wanted = max(128, 1 << (len(bounds) - 1).bit_length()) if fixed else len(bounds)
    filled = np.concatenate([bounds, np.full(wanted - len(bounds), bounds[-1])])
    return torch.from_numpy(filled.astype(np.int32))


def per_stay_attention(
    module: torch.nn.Module,
    query: torch.Tensor,  # 1 × H × N × D
    key: torch.Tensor,  # 1 × K × N × D
    value: torch.Tensor,  # 1 × K × N × D
    attention_mask: torch.Tensor | None,
    *,
    stays: torch.Tensor,  # bounds: S + 1
    scaling: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention within each stay; returns 1 × N × H × D and no weights."""
    assert attention_mask is None, "bounds take the place of a mask"
    value = value.to(query.dtype)
    if query.is_cuda and varlen_attn is not None and query.dtype in (torch.bfloat16, torch.float16):
        return _in_one_call(module, query, key, value, stays, scaling), None
    return _stay_by_stay(query, key, value, stays, scaling), None


def _in_one_call(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    stays: torch.Tensor,
    scaling: float | None,
) -> torch.Tensor:
    groups = query.shape[1] // key.shape[1]
    if groups > 1:  # the kernel takes fewer key heads, its Python face not in every release
        key, value = (x.repeat_interleave(groups, dim=1) for x in (key, value))
    query, key, value = (x.squeeze(0).transpose(0, 1) for x in (query, key, value))
    longest = int(module.config.max_position_embeddings)  # type: ignore[union-attr, arg-type]
    scale = {"scale": scaling} if "scale" in _TAKES else {}  # the default is the usual one
    out = varlen_attn(query, key, value, stays, stays, longest, longest, **scale, **_CAUSAL)
    return out.unsqueeze(0)


@torch.compiler.disable
def _stay_by_stay(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    stays: torch.Tensor,
    scaling: float | None,
) -> torch.Tensor:
    lengths = [length for length in stays.diff().tolist() if length]
    parts = zip(*(x.split(lengths, dim=2) for x in (query, key, value)), strict=True)
    gqa = query.shape[1] != key.shape[1]
    by_products = query.device.type == "cpu" and query.dtype == torch.bfloat16
    out = [
        _by_products(q, k, v, scaling)
        if by_products and q.shape[2] <= LONGEST_BY_PRODUCTS
        else functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scaling, enable_gqa=gqa)
        for q, k, v in parts
    ]
    return torch.cat(out, dim=2).transpose(1, 2)


def _by_products(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float | None
) -> torch.Tensor:
    """Attention in one stay as three matrix products, of 1 × H × T × D.

    In bfloat16 a CPU makes these about twice as fast, forward and backward, as its flash kernel does
    (docs/log.md). Queries come in blocks, so that most of what lies after them is not computed.
    """
    groups, length = query.shape[1] // key.shape[1], query.shape[2]
    if groups > 1:
        key, value = (x.repeat_interleave(groups, dim=1) for x in (key, value))
    scale = query.shape[3] ** -0.5 if scaling is None else scaling
    out = []
    for begin in range(0, length, BLOCK):
        end = min(begin + BLOCK, length)
        later = _later(query.dtype)[begin:end, :end].expand(query.shape[1], -1, -1)
        known = key[0, :, :end].transpose(1, 2)
        scores = torch.baddbmm(later, query[0, :, begin:end], known, alpha=scale)
        out.append(torch.bmm(torch.softmax(scores, dim=-1), value[0, :, :end]))
    return (out[0] if len(out) == 1 else torch.cat(out, dim=1))[None]


@cache
def _later(dtype: torch.dtype) -> torch.Tensor:
    """What is added to scores: −∞ where the key comes after the query."""
    side = LONGEST_BY_PRODUCTS
    return torch.full((side, side), float("-inf"), dtype=dtype).triu(1)


AttentionInterface.register(IMPLEMENTATION, per_stay_attention)
