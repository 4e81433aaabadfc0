"""Who comes to a hospital: demographics, chronic disease, frailty, and what brings them in when."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from ehrfm_core.synthesis.hospital import Calendar, Population
from ehrfm_core.synthesis.latent.physiology import (
    CARDIAC_SURGERY,
    CHRONIC_KIDNEY,
    CIRRHOSIS,
    COMORBIDITIES,
    COPD,
    COVID,
    DEMENTIA,
    ELECTIVE,
    HEART_FAILURE,
    REASONS,
)

YOUNGEST, OLDEST = 18.0, 98.0
HEART, LUNG_DISEASE, LIVER_DISEASE, KIDNEY_DISEASE, STROKE, TRAUMA = (
    REASONS.index(name) for name in ("heart", "lungs", "liver", "kidney", "brain", "trauma")
)
# log-odds of each comorbidity at 60 years, and what ten years more add
COMORBID_AT_60 = np.array([-2.2, -2.3, -2.0, -3.4, -1.2, -2.1, -4.2])
COMORBID_PER_DECADE = np.array([0.50, 0.35, 0.40, 0.00, 0.20, 0.20, 0.90])
# after a stay for a reason, the chance to live on with a disease
LASTING = {("heart", HEART_FAILURE): 0.35, ("lungs", COPD): 0.10, ("kidney", CHRONIC_KIDNEY): 0.20}
LASTING |= {("liver", CIRRHOSIS): 0.5, ("brain", DEMENTIA): 0.05, ("covid", COPD): 0.03}
LASTING_TABLE = np.zeros((len(REASONS), len(COMORBIDITIES)))
for (_reason, _disease), _share in LASTING.items():
    LASTING_TABLE[REASONS.index(_reason), _disease] = _share
# waves of the pandemic: peak in days after 1 March 2020, width in days, height
WAVES = np.array([[50.0, 24.0, 1.0], [265.0, 36.0, 1.0], [415.0, 30.0, 0.35], [675.0, 20.0, 0.9]])
COVID_SHARE = 0.325  # at a peak, to all other reasons taken together 1


class Patients(NamedTuple):
    """The traits of n patients, an array of n each.

    `age` in years at the first admission, `female` and `hispanic` 0 or 1, `race` an index into
    `hospital.RACES`, `frailty` about standard normal, `comorbid` (n, 7) 0 or 1, `first` (admission) in hours
    since `hospital.EPOCH`, `weight` and `height` in kg and cm.
    """

    age: np.ndarray
    female: np.ndarray
    race: np.ndarray
    hispanic: np.ndarray
    frailty: np.ndarray
    comorbid: np.ndarray
    first: np.ndarray
    weight: np.ndarray
    height: np.ndarray


def draw_patients(rng: np.random.Generator, n: int, population: Population, calendar: Calendar) -> Patients:
    """Draw n patients of a hospital."""
    age = _truncated_normal(rng, n, population.age_mean, population.age_sd)
    female = (rng.random(n) < population.female).astype(np.int64)
    race = rng.choice(len(population.race), n, p=population.race / population.race.sum())
    hispanic = ((rng.random(n) < population.hispanic * 3) & (race >= 5)).astype(np.int64)
    hispanic |= ((rng.random(n) < population.hispanic * 0.7) & (race < 5)).astype(np.int64)
    frailty = rng.standard_normal(n) * 0.9 + (age - 60.0) / 40.0
    logit = (
        COMORBID_AT_60
        + COMORBID_PER_DECADE * (age[:, None] - 60.0) / 10.0
        + 0.35 * frailty[:, None]
        + population.comorbid_shift
    )
    comorbid = (rng.random(logit.shape) < 1.0 / (1.0 + np.exp(-logit))).astype(np.float64)
    first = calendar.start + rng.random(n) * calendar.hours
    height = np.clip(np.where(female, 162.0, 176.0) + 7.0 * rng.standard_normal(n), 140.0, 205.0)
    bmi = np.exp(np.log(27.5) + 0.2 * rng.standard_normal(n))
    weight = np.clip(bmi * (height / 100.0) ** 2, 38.0, 210.0)
    return Patients(age, female, race, hispanic, frailty, comorbid, first, weight, height)


def _truncated_normal(rng: np.random.Generator, n: int, mean: float, sd: float) -> np.ndarray:
    """Normal draws between YOUNGEST and OLDEST; what falls outside is drawn anew."""
    values = rng.normal(mean, sd, n)
    while (outside := (values < YOUNGEST) | (values > OLDEST)).any():
        values[outside] = rng.normal(mean, sd, int(outside.sum()))
    return values


@njit(nogil=True)
def wave(calendar: Calendar, hour: float) -> float:
    """How high the pandemic stands at an hour since `hospital.EPOCH`, 0 to about 1; 0 where there is none."""
    if not calendar.pandemic:
        return 0.0
    day = (hour - calendar.start) / 24.0
    height = 0.0
    for i in range(len(WAVES)):
        height += WAVES[i, 2] * np.exp(-0.5 * ((day - WAVES[i, 0]) / WAVES[i, 1]) ** 2)
    return height


@njit(nogil=True)
def reason_of(population: Population, height: float, age: float, comorbid: np.ndarray, u: float) -> int:
    """Why a patient comes (index into REASONS), by population, disease, age and wave; `u` is uniform."""
    weights = population.reason.copy()
    weights[HEART] *= 1.0 + 1.5 * comorbid[HEART_FAILURE]
    weights[LUNG_DISEASE] *= 1.0 + 1.5 * comorbid[COPD]
    weights[LIVER_DISEASE] *= 1.0 + 5.0 * comorbid[CIRRHOSIS]
    weights[KIDNEY_DISEASE] *= 1.0 + 1.0 * comorbid[CHRONIC_KIDNEY]
    if age < 40.0:
        weights[HEART] *= 0.3
        weights[STROKE] *= 0.6
        weights[TRAUMA] *= 2.0
        weights[CARDIAC_SURGERY] *= 0.1
    weights[ELECTIVE] *= 1.0 - 0.65 * min(height, 1.0)
    weights[CARDIAC_SURGERY] *= 1.0 - 0.5 * min(height, 1.0)
    weights[TRAUMA] *= 1.0 - 0.2 * min(height, 1.0)
    weights[COVID] = COVID_SHARE * height * weights.sum()
    left = u * weights.sum()
    for reason in range(len(weights)):
        left -= weights[reason]
        if left < 0.0:
            return reason
    return len(weights) - 2
