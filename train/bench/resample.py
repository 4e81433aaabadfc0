"""States like those of a study, as many and as wide as wanted."""

from __future__ import annotations

import numpy as np

NOISE = 0.2  # standard deviations of each number
STAYS_AT_ONCE = 2_000


def resample(hourly: np.ndarray, *, stays: int, width: int, seed: int) -> np.ndarray:
    """Hourly states (stays × H + 1 × width, half precision) drawn from a study's (n × H + 1 × D).

    Whole stays are drawn with replacement and every state gets noise of its own, except that an hour which
    repeats the one before still does. Another width is reached by a random projection.

    >>> drawn = resample(np.zeros((1, 3, 2)), stays=5, width=4, seed=0)
    >>> drawn.shape, str(drawn.dtype)
    ((5, 3, 4), 'float16')
    """
    rng = np.random.default_rng(seed)
    hourly = hourly.astype(np.float32)
    if width != hourly.shape[2]:
        mix = rng.normal(scale=width**-0.5, size=(hourly.shape[2], width))
        hourly = hourly @ mix.astype(np.float32)
    scale = NOISE * hourly.std(axis=(0, 1))
    moves = np.ones(hourly.shape[:2], dtype=bool)
    moves[:, 1:] = (hourly[:, 1:] != hourly[:, :-1]).any(axis=2)
    since = np.maximum.accumulate(np.where(moves, np.arange(hourly.shape[1]), 0), axis=1)
    made = np.empty((stays, *hourly.shape[1:]), dtype=np.float16)
    for begin in range(0, stays, STAYS_AT_ONCE):
        own = rng.integers(len(hourly), size=min(STAYS_AT_ONCE, stays - begin))
        noise = rng.standard_normal((len(own), *hourly.shape[1:]), dtype=np.float32) * scale
        kept = np.take_along_axis(noise, since[own][:, :, None], axis=1)
        made[begin : begin + len(own)] = hourly[own] + kept
    return made
