"""A model and boosting on charted values asked together, to see what each knows alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit

NEVER, ALWAYS = 1e-9, 1 - 1e-9


def together(one: ArrayLike, other: ArrayLike) -> np.ndarray:
    """The mean of two risks in log-odds, n values each; nothing is fitted, so that nothing is chosen.

    >>> float(together([0.5], [0.9])[0])
    0.75
    """
    mean = (logit(np.clip(one, NEVER, ALWAYS)) + logit(np.clip(other, NEVER, ALWAYS))) / 2
    return expit(mean)
