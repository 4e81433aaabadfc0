"""What is read from a state by a straight line; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class LinearReadouts:
    """K logits read from a state: R @ weight + bias. `names` (K), `weight` (D × K) and `bias` (K)."""

    names: tuple[str, ...]
    weight: np.ndarray
    bias: np.ndarray
