"""Oxygen: what a device gives, what the lungs make of it, and how the blood is saturated."""

from __future__ import annotations

import numpy as np

from ehrfm_core.synthesis.charting.chart import Moments
from ehrfm_core.synthesis.latent.care import CANNULA, COLLAR, DEVICE, HIGH_FLOW, IMV, MASK, NIPPV, PRONE
from ehrfm_core.synthesis.latent.physiology import LUNGS

ROOM_AIR_FRACTION = 0.21


def litres(at: Moments) -> np.ndarray:
    """Flow in l/min by device (n); NaN where the device has no flow to set."""
    lungs, device = at.organ(LUNGS), at.care[:, DEVICE]
    flow = np.full(len(at), np.nan)
    for kind, value in (
        (CANNULA, np.clip(np.round(1.0 + 2.5 * (lungs - 0.4)), 1.0, 6.0)),
        (MASK, np.clip(np.round(6.0 + 5.0 * (lungs - 1.1)), 5.0, 15.0)),
        (HIGH_FLOW, np.clip(10.0 * np.round(4.0 + 1.0 * (lungs - 1.6)), 30.0, 60.0)),
        (COLLAR, np.full(len(at), 8.0)),
    ):
        flow = np.where(device == kind, value, flow)
    return flow


def inspired(at: Moments) -> np.ndarray:
    """Inspired fraction of oxygen by device and need (n, 0.21 to 1)."""
    lungs, device = at.organ(LUNGS), at.care[:, DEVICE]
    fraction = np.full(len(at), ROOM_AIR_FRACTION)
    for kind, value in (
        (CANNULA, 0.20 + 0.04 * np.clip(1.0 + 2.5 * (lungs - 0.4), 1.0, 6.0)),
        (MASK, np.clip(0.36 + 0.16 * (lungs - 1.1), 0.35, 0.6)),
        (HIGH_FLOW, np.clip(0.45 + 0.25 * (lungs - 1.6), 0.35, 0.95)),
        (NIPPV, np.clip(0.42 + 0.22 * (lungs - 1.6), 0.35, 0.9)),
        (IMV, np.clip(0.40 + 0.19 * (lungs - 1.5), 0.4, 1.0)),
        (COLLAR, np.full(len(at), 0.35)),
    ):
        fraction = np.where(device == kind, value, fraction)
    return np.round(fraction, 2)


def end_expiratory(at: Moments) -> np.ndarray:
    """PEEP in cmH2O for a ventilated patient (n)."""
    return np.round(np.clip(5.0 + 2.8 * (at.organ(LUNGS) - 1.4), 5.0, 18.0))


def set_rate(at: Moments) -> np.ndarray:
    """Rate a ventilator is set to, breaths a minute (n)."""
    return np.round(np.clip(14.0 + 4.0 * (at.organ(LUNGS) - 1.2), 10.0, 34.0))


def arterial_oxygen(at: Moments, noise: np.ndarray | float = 0.0) -> np.ndarray:
    """Arterial oxygen pressure in mmHg (n): the P/F ratio falls by a third a unit of lung dysfunction.

    P/F = 430 exp(−0.40 lungs) (430 healthy, 160 at 2.5, 87 at 4), a sixth better when prone.
    """
    ratio = 430.0 * np.exp(-0.40 * at.organ(LUNGS)) * np.where(at.care[:, PRONE] > 0, 1.17, 1.0)
    return np.clip(ratio * inspired(at) * np.exp(noise), 30.0, 550.0)


def saturation(pressure: np.ndarray) -> np.ndarray:
    """Saturation in % at an oxygen pressure in mmHg (Severinghaus, J Appl Physiol 1979; 46: 599–602).

    >>> saturation(np.array([26.9, 60.0, 100.0])).round(1).tolist()
    [50.1, 90.6, 97.7]
    """
    cubed = pressure**3 + 150.0 * pressure
    return 100.0 / (1.0 + 23_400.0 / cubed)
