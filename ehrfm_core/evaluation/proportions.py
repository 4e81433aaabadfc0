"""The interval of a proportion."""

from __future__ import annotations

import numpy as np
from statsmodels.stats.proportion import proportion_confint


def wilson_interval(
    events: int | np.ndarray, n: int | np.ndarray, *, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Score interval of shares of independent stays: arrays of lower and upper bounds (Wilson, JASA 1927).

    `events` of `n` stays each; every n must be at least 1.

    >>> low, high = wilson_interval(np.array([0, 5]), np.array([10, 10]))
    >>> low.round(3).tolist(), high.round(3).tolist()
    ([0.0, 0.237], [0.278, 0.763])
    """
    events, n = np.asarray(events), np.asarray(n)
    low, high = proportion_confint(events, n, alpha=1 - level, method="wilson")
    return np.where(events == 0, 0.0, low), np.where(events == n, 1.0, high)  # exact, where rounding is not
