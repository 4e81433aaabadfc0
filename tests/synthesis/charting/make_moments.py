"""Moments of a chart in which the state is as one likes it."""

from __future__ import annotations

import numpy as np

from ehrfm_core.synthesis.charting.chart import Chart, Moments, severity_of
from ehrfm_core.synthesis.latent.care import CARE
from ehrfm_core.synthesis.latent.physiology import ORGANS


def moments(chart: Chart, **state: float | np.ndarray) -> Moments:
    """A moment in the first hour of every stay: all organs and care 0 but for what `state` names."""
    at = chart.moments(np.flatnonzero(chart.hour == 0), np.zeros(len(chart.stays.hours)))
    x, care = np.zeros_like(at.x), np.zeros_like(at.care)
    for name, value in state.items():
        if name in ORGANS:
            x[:, ORGANS.index(name)] = value
        else:
            care[:, CARE.index(name)] = value
    return Moments(at.stay, at.minute, x, care, severity_of(x), at.clock, at.day)
