"""One vector a stay from the states of its tokens. Needs torch alone.

Symbols: N tokens in a pack, S stays, D the hidden size.
"""

from __future__ import annotations

import torch

POOLINGS = ("last", "mean")
RECENT = 40  # tokens: some hours of a ward's charting, an hour of an intensive care unit's


def pooled_width(hidden: int, pooling: str) -> int:
    """Length of the vector: D, or 3 · D with `mean`."""
    return hidden if pooling == "last" else 3 * hidden


def pooled(hidden: torch.Tensor, first: torch.Tensor, last: torch.Tensor, *, pooling: str) -> torch.Tensor:
    """From states (N × D) and each stay's first and last token (S): its last state, or that and two means.

    `mean`: the last state, the mean over `first` … `last`, and over the last `RECENT` of these (S × 3 · D).
    What one state holds depends on what was charted last; the means do not.

    >>> states = torch.tensor([[1.0], [3.0], [5.0]])
    >>> pooled(states, torch.tensor([0, 2]), torch.tensor([1, 2]), pooling="mean").tolist()
    [[3.0, 2.0, 2.0], [5.0, 5.0, 5.0]]
    """
    at_end = hidden[last]
    if pooling == "last":
        return at_end
    # in float64: differences of running sums
    sums = torch.cat([hidden.new_zeros(1, hidden.shape[1]), hidden]).double().cumsum(0)
    recent = torch.maximum(first, last + 1 - RECENT)
    means = [
        ((sums[last + 1] - sums[begin]) / (last + 1 - begin)[:, None]).to(hidden.dtype)
        for begin in (first, recent)
    ]
    return torch.cat([at_end, *means], dim=1)
