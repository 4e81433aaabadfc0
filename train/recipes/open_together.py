"""A model and boosting on charted values asked together, to see what each knows alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

from ehrfm_core.evaluation.adaptation import log_odds


def together(one: ArrayLike, other: ArrayLike) -> np.ndarray:
    """The mean of two risks in log-odds, n values each; nothing is fitted, so that nothing is chosen.

    >>> float(together([0.5], [0.9])[0])
    0.75
    """
    return expit((log_odds(one) + log_odds(other)) / 2)
