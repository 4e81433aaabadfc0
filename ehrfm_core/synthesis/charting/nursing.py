"""What nurses assess: consciousness, sedation, delirium, skin, falls, pain."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ehrfm_core.synthesis.charting.chart import Chart, Moments, every
from ehrfm_core.synthesis.latent.care import DEVICE, ICU, IMV, PLACE, SEDATION, STEPDOWN, WARD
from ehrfm_core.synthesis.latent.physiology import BLEEDING, BRAIN, DEMENTIA, INFLAMMATION, REASONS
from ehrfm_core.synthesis.latent.step import AGE, FRAILTY, REASON

OPERATED = tuple(REASONS.index(name) for name in ("elective_surgery", "cardiac_surgery", "trauma"))
# category, CLIF's group, and the answers of those that have no number
ASSESSMENTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "gcs_eye": ("Neurological", ()),
    "gcs_verbal": ("Neurological", ()),
    "gcs_motor": ("Neurological", ()),
    "gcs_total": ("Neurological", ()),
    "AVPU": ("Neurological", ("Alert", "Voice", "Pain", "Unresponsive")),
    "RASS": ("Sedation/Agitation", ()),
    "cam_total": ("Delirium", ("Negative", "Positive")),
    "braden_sensory": ("Nursing Risk", ()),
    "braden_moisture": ("Nursing Risk", ()),
    "braden_activity": ("Nursing Risk", ()),
    "braden_mobility": ("Nursing Risk", ()),
    "braden_nutrition": ("Nursing Risk", ()),
    "braden_friction": ("Nursing Risk", ()),
    "braden_total": ("Nursing Risk", ()),
    "Morse Fall Scale": ("Nursing Risk", ()),
    "NRS": ("Pain", ()),
}
NAMES = list(ASSESSMENTS)


class Assessed(NamedTuple):
    """Stay, minute, index into NAMES, and a number or the index of an answer (k each)."""

    stay: np.ndarray
    minute: np.ndarray
    kind: np.ndarray
    value: np.ndarray


def chart_assessments(chart: Chart, rng: np.random.Generator) -> Assessed:
    """Every assessment: in the ICU by its own rhythm, on wards where the hospital charts there."""
    coverage, alert = chart.hospital.coverage, chart.hospital.measurement.consciousness
    ward = np.isin(chart.care_of(PLACE), (WARD, STEPDOWN))
    icu = chart.care_of(PLACE) == ICU
    sedated = chart.ventilated
    nursing = np.where(ward, coverage.ward_nursing, 0.0)
    phase = rng.integers(0, 24, len(chart.stays.hours))
    parts: list[Assessed] = []

    def add(read: dict[str, np.ndarray], at: Moments) -> None:
        for name, value in read.items():
            kept = np.isfinite(value)
            kind = np.full(int(kept.sum()), NAMES.index(name))
            parts.append(Assessed(at.stay[kept], at.minute[kept], kind, value[kept]))

    def rounds(interval: np.ndarray) -> Moments:
        rows = np.flatnonzero(every(chart, interval, phase))
        return chart.moments(rows, chart.round_share(rows, rng))

    hours = float(coverage.icu_nursing)
    at = rounds(np.where(icu, hours, nursing))
    add(_coma(at, rng) if alert == "gcs" else _alertness(at, rng), at)
    at = rounds(np.where(sedated, hours, np.where(icu, 2 * hours, 0.0)))
    add({"RASS": _sedation_scale(at, rng)}, at)
    at = rounds(np.where(icu, 12.0, 0.0))
    add({"cam_total": _delirium(chart, at, rng)}, at)
    at = rounds(np.where(icu, 12.0, 2.0 * nursing))
    add(_braden(chart, at, rng), at)
    at = rounds(4.0 * nursing)
    add({"Morse Fall Scale": _falls(chart, at, rng)}, at)
    at = rounds(np.where(icu & ~sedated, hours, nursing))
    add({"NRS": _pain(chart, at, rng)}, at)
    return Assessed(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _clouded(at: Moments) -> np.ndarray:
    """Brain and sedation together: how far consciousness is off."""
    return at.organ(BRAIN) + 0.95 * at.care[:, SEDATION]


def _step(value: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.clip(np.round(value), low, high)


def _coma(at: Moments, rng: np.random.Generator) -> dict[str, np.ndarray]:
    noise = 0.25 * rng.standard_normal((3, len(at)))
    off = _clouded(at)
    eye = _step(4.3 - 0.95 * np.maximum(off - 0.5, 0.0) + noise[0], 1, 4)
    verbal = _step(5.2 - 1.2 * np.maximum(off - 0.45, 0.0) + noise[1], 1, 5)
    verbal = np.where(at.care[:, DEVICE] == IMV, 1.0, verbal)
    motor = _step(6.3 - 1.15 * np.maximum(off - 0.9, 0.0) + noise[2], 1, 6)
    return {"gcs_eye": eye, "gcs_verbal": verbal, "gcs_motor": motor, "gcs_total": eye + verbal + motor}


def _alertness(at: Moments, rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {"AVPU": _step(0.85 * (_clouded(at) - 0.75) + 0.25 * rng.standard_normal(len(at)), 0, 3)}


def _sedation_scale(at: Moments, rng: np.random.Generator) -> np.ndarray:
    restless = (at.organ(BRAIN) > 0.9) & (at.care[:, SEDATION] == 0)
    value = -1.35 * at.care[:, SEDATION] - 0.5 * np.maximum(at.organ(BRAIN) - 1.0, 0.0)
    return _step(value + restless * rng.normal(0.6, 1.2, len(at)) + 0.5 * rng.standard_normal(len(at)), -5, 4)


def _delirium(chart: Chart, at: Moments, rng: np.random.Generator) -> np.ndarray:
    logit = (
        -2.6 + 1.6 * at.organ(BRAIN) + 0.025 * (chart.trait(AGE, at.stay) - 60.0) + 0.4 * at.care[:, SEDATION]
    )
    logit = logit + 0.9 * chart.has(DEMENTIA, at.stay)
    positive = (rng.random(len(at)) < 1.0 / (1.0 + np.exp(-logit))).astype(float)
    return np.where(at.care[:, SEDATION] >= 3, np.nan, positive)  # nobody can be asked


def _braden(chart: Chart, at: Moments, rng: np.random.Generator) -> dict[str, np.ndarray]:
    noise = 0.35 * rng.standard_normal((6, len(at)))
    off, weak = _clouded(at), 0.35 * chart.trait(FRAILTY, at.stay)
    ill = np.maximum(at.severity - 0.6, 0.0)
    bed = 1.1 * (at.care[:, PLACE] == ICU)
    parts = {
        "braden_sensory": _step(4.0 - 0.6 * np.maximum(off - 0.3, 0.0) + noise[0], 1, 4),
        "braden_moisture": _step(3.9 - 0.12 * ill - 0.3 * weak + noise[1], 1, 4),
        "braden_activity": _step(3.5 - 0.25 * ill - 0.8 * weak - bed + noise[2], 1, 4),
        "braden_mobility": _step(3.7 - 0.25 * ill - 0.6 * weak - 0.4 * bed + noise[3], 1, 4),
        "braden_nutrition": _step(3.2 - 0.15 * ill - 0.3 * weak + noise[4], 1, 4),
        "braden_friction": _step(2.9 - 0.18 * ill - 0.4 * weak + noise[5], 1, 3),
    }
    return parts | {"braden_total": np.sum(list(parts.values()), axis=0)}


def _falls(chart: Chart, at: Moments, rng: np.random.Generator) -> np.ndarray:
    value = 38.0 + 0.5 * (chart.trait(AGE, at.stay) - 55.0) + 9.0 * chart.trait(FRAILTY, at.stay)
    value = value + 8.0 * at.organ(BRAIN) + 10.0 * rng.standard_normal(len(at))
    return np.clip(5.0 * np.round(value / 5.0), 0.0, 125.0)


def _pain(chart: Chart, at: Moments, rng: np.random.Generator) -> np.ndarray:
    operated = np.isin(chart.trait(REASON, at.stay), OPERATED)
    level = (
        1.2 + 2.8 * operated * np.exp(-at.day / 2.5) + 0.6 * at.organ(INFLAMMATION) + 0.4 * at.organ(BLEEDING)
    )
    value = _step(level + 1.9 * rng.standard_normal(len(at)), 0, 10)
    return np.where(_clouded(at) > 2.0, np.nan, value)
