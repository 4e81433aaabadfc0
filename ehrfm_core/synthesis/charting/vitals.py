"""Vital signs as readings of the state, and when they are charted."""

from __future__ import annotations

import numpy as np

from ehrfm_core.synthesis.charting.chart import Chart, Moments, every
from ehrfm_core.synthesis.charting.oxygen import arterial_oxygen, saturation, set_rate
from ehrfm_core.synthesis.latent.care import (
    DEVICE,
    ED,
    ICU,
    IMV,
    NOREPINEPHRINE,
    PLACE,
    PROCEDURAL,
    PRONE,
    RENAL,
    SEDATION,
    STEPDOWN,
    WARD,
)
from ehrfm_core.synthesis.latent.physiology import (
    BLEEDING,
    CIRCULATION,
    HEART_FAILURE,
    INFLAMMATION,
    KIDNEY,
    LUNGS,
)
from ehrfm_core.synthesis.latent.step import AGE

VITALS = ("heart_rate", "respiratory_rate", "spo2", "sbp", "dbp", "map", "temp_c", "weight_kg", "height_cm")
DECIMALS = (0, 0, 0, 0, 0, 0, 1, 1, 0)
LIMITS = ((25, 220), (5, 55), (55, 100), (45, 260), (20, 150), (30, 190), (32.5, 41.8), (31, 300), (120, 215))
MISSED = 0.03  # of a round
MORNING = 5  # o'clock, when patients are weighed
WORSE = 1.8  # severity at which a ward charts twice as often
A_DAY = 2 * np.pi / 24.0


def vital_rounds(chart: Chart, rng: np.random.Generator) -> Moments:
    """When somebody goes round: by place and hospital, on wards twice as often for those who are worse."""
    coverage = chart.hospital.coverage
    n = len(chart.stays.hours)
    place = chart.care_of(PLACE)
    charted = rng.random(n) < coverage.ward_share
    ward = np.where(charted, coverage.ward_vitals_then, coverage.ward_vitals)[chart.stay]
    interval = np.zeros(len(chart.stay))
    for where, value in (
        (WARD, ward),
        (STEPDOWN, coverage.stepdown_vitals),
        (ICU, coverage.icu_vitals),
        (ED, coverage.ed_vitals),
        (PROCEDURAL, coverage.ed_vitals),
    ):
        interval = np.where(place == where, value, interval)
    worse = (chart.severity > WORSE) & (interval > 1.0)
    interval = np.where(worse, np.maximum(interval / 2.0, 1.0), interval)
    due = every(chart, interval, rng.integers(0, 24, n))
    again = rng.random(len(place)) < coverage.recheck * chart.severity
    rows = np.flatnonzero(due | (again & np.isin(place, (WARD, STEPDOWN))))
    return chart.moments(rows, chart.round_share(rows, rng))


def read_vitals(chart: Chart, at: Moments, rng: np.random.Generator) -> np.ndarray:
    """Heart rate to temperature, the first seven of VITALS, at n moments (n, 7)."""
    n = len(at)
    noise = rng.standard_normal((n, 8))
    shock, lungs, fire = at.organ(CIRCULATION), at.organ(LUNGS), at.organ(INFLAMMATION)
    age = chart.trait(AGE, at.stay)
    sleep = np.cos((at.clock - 16.0) * A_DAY)
    sedation, ventilated = at.care[:, SEDATION], at.care[:, DEVICE] == IMV
    pressor = at.care[:, NOREPINEPHRINE] > 0
    trait = chart.of

    heart = 75.0 + 11.0 * trait("heart_rate", at.stay) + 8.5 * shock + 4.0 * lungs + 6.5 * fire
    heart = heart + 6.0 * at.organ(BLEEDING) - 0.12 * (age - 60.0) - 3.0 * chart.has(HEART_FAILURE, at.stay)
    heart = heart + 2.5 * sleep - 4.0 * (sedation >= 2) + 5.0 * noise[:, 0]
    fast = 30.0 * np.tanh(np.maximum(heart - 125.0, 0.0) / 30.0)  # hearts do not go on and on
    heart = np.minimum(heart, 125.0) + fast
    oxygen = saturation(arterial_oxygen(at, 0.08 * noise[:, 2])) + 1.1 * trait("saturation", at.stay)
    hunger = 0.7 * np.maximum(95.5 - oxygen, 0.0)  # for air
    breaths = 15.4 + hunger + 2.4 * lungs + 1.4 * fire + 0.8 * shock + 0.8 * at.organ(KIDNEY) + 0.5 * sleep
    breaths = breaths + 3.2 * noise[:, 1]
    # a ventilator gives at least its rate; deep sedation adds little to it, paralysis nothing
    own = np.where(sedation >= 3, -np.inf, breaths - np.where(sedation == 2, 8.0, 0.0))
    breaths = np.where(
        ventilated, np.maximum(set_rate(at), np.where(at.care[:, PRONE] > 0, 0.0, own)), breaths
    )
    upper = 128.0 + 0.25 * (age - 60.0) + 15.0 * trait("pressure", at.stay) - 13.0 * shock
    upper = upper - 5.0 * at.organ(BLEEDING) - 2.0 * fire + 3.0 * sleep
    upper = np.where(pressor, 0.3 * upper + 0.7 * 114.0, upper) + 10.5 * noise[:, 3]
    lower = 0.44 * upper + 12.0 - 2.0 * shock - 0.12 * (age - 60.0) + 7.5 * noise[:, 4]
    lower = np.minimum(lower, upper - 12.0)
    mean = lower + 0.31 * (upper - lower) + 3.0 * noise[:, 5]
    warmth = 36.8 + 0.15 * trait("temperature", at.stay) + 0.55 * np.minimum(fire, 3.0)
    warmth = warmth - 0.10 * shock - 0.5 * (at.care[:, RENAL] > 0) + 0.2 * sleep + 0.36 * noise[:, 6]
    warmth = warmth - 0.004 * np.maximum(age - 60.0, 0.0)
    return np.column_stack([heart, breaths, oxygen + 1.1 * noise[:, 7], upper, lower, mean, warmth])


def chart_vitals(
    chart: Chart, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Stay, minute, index into VITALS and value of every vital sign charted."""
    at = vital_rounds(chart, rng)
    values = read_vitals(chart, at, rng)
    kept = rng.random(values.shape) > MISSED
    temperature = VITALS.index("temp_c")
    hourly = at.care[:, PLACE] == ICU  # the thermometer goes round every four hours there
    kept[:, temperature] &= ~hourly | (np.floor(at.clock) % 4 == 0)
    which, kind = np.nonzero(kept)
    body = _body(chart, at, rng)
    stay = np.concatenate([at.stay[which], body[0]])
    minute = np.concatenate([at.minute[which], body[1]])
    kind = np.concatenate([kind, body[2]])
    value = np.concatenate([values[which, kind[: len(which)]], body[3]])
    low, high = np.array(LIMITS, dtype=float).T
    value = np.clip(value, low[kind], high[kind])
    scale = 10.0 ** np.array(DECIMALS)[kind]
    return stay, minute, kind, np.round(value * scale) / scale


def _body(
    chart: Chart, at: Moments, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Height once and weight once, with the first round of a stay; weight again each morning in the ICU."""
    first = np.flatnonzero(np.diff(at.stay, prepend=-1) != 0)
    patient = chart.stays.patient
    told = first[rng.random(len(first)) < 0.7]
    weighed = first[rng.random(len(first)) < 0.85]
    morning = np.flatnonzero((at.care[:, PLACE] == ICU) & (np.floor(at.clock) == MORNING) & (at.day > 0.5))
    date = np.floor(at.day[morning] + chart.arrived[at.stay[morning]] / 1440.0)
    _, once = np.unique(at.stay[morning] * 1000 + date.astype(np.int64), return_index=True)
    weighed = np.concatenate([weighed, morning[once]])
    # fluid of the first days, by how shocked the patient came, and its slow way out
    stays, day = at.stay[weighed], at.day[weighed]
    shock = np.maximum(chart.stays.organs[chart.stays.offset[stays], CIRCULATION], 0.0)
    fluid = np.minimum(0.018 * shock * np.minimum(day, 3.0), 0.12) * np.exp(-np.maximum(day - 4.0, 0.0) / 5.0)
    weight = chart.patients.weight[patient[stays]] * (1.0 + fluid) + 0.5 * rng.standard_normal(len(stays))
    height = chart.patients.height[patient[at.stay[told]]]
    rows = np.concatenate([weighed, told])
    kind = np.repeat([VITALS.index("weight_kg"), VITALS.index("height_cm")], [len(weighed), len(told)])
    return at.stay[rows], at.minute[rows], kind, np.concatenate([weight, height])
