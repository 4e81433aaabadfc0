"""How a hospital answers the state of a patient: places, devices, drugs, goals of care, and the way out.

All decisions are draws whose rate depends on the latent state and on the hospital's policy. Rates are per
hour; a step of an hour turns a rate h into the probability 1 − exp(−h).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ehrfm_core.synthesis.hospital import Policy
from ehrfm_core.synthesis.latent.physiology import (
    BRAIN,
    CARDIAC_SURGERY,
    CIRCULATION,
    ELECTIVE,
    INFLAMMATION,
    KIDNEY,
    LUNGS,
)

# the care a patient is under, as one array of numbers
CARE = (
    "place",
    "device",
    "norepinephrine",  # mcg/kg/min
    "vasopressin",  # units/min
    "sedation",  # 0 none … 3 deep
    "antibiotic",
    "renal",  # CRRT
    "prone",  # hours left of a session
    "code",
    "ventilated_hours",
    "ward_kind",
    "ever_icu",
    "ever_imv",
    "steroid",
    "noninvasive",  # this patient's kind of support before intubation
    "tracheostomy",
)
(
    PLACE,
    DEVICE,
    NOREPINEPHRINE,
    VASOPRESSIN,
    SEDATION,
    ANTIBIOTIC,
    RENAL,
    PRONE,
    CODE,
    VENTILATED_HOURS,
    WARD_KIND,
    EVER_ICU,
    EVER_IMV,
    STEROID,
    NONINVASIVE,
    TRACHEOSTOMY,
) = range(len(CARE))
PLACES = ("ed", "ward", "stepdown", "icu", "procedural")
ED, WARD, STEPDOWN, ICU, PROCEDURAL = range(5)
DEVICES = ("Room Air", "Nasal Cannula", "Face Mask", "High Flow NC", "NIPPV", "IMV", "Trach Collar")
ROOM_AIR, CANNULA, MASK, HIGH_FLOW, NIPPV, IMV, COLLAR = range(7)
CODES = ("Full", "DNR/DNI", "AND")  # AND: allow natural death, comfort care
FULL, DO_NOT_RESUSCITATE, COMFORT = range(3)

FIRST_DAY = 24  # the cohort: stays of at least 24 h, so nobody leaves before
FAILING = 6.0  # severity beyond which organs fail together and death comes faster
STEROID_HOURS = 240.0  # a course of ten days, counted down
# how disturbed lungs may be before a device is not enough, in the order of DEVICES
SUFFICES = np.array([0.55, 1.15, 1.65, 9.0, 9.0, 9.0, 9.0])


@njit(nogil=True)
def sigmoid(z: float) -> float:
    """1 / (1 + e^−z)."""
    return 1.0 / (1.0 + np.exp(-z))


@njit(nogil=True)
def chance(rate: float) -> float:
    """Probability of an event within an hour at a rate per hour."""
    return 1.0 - np.exp(-rate)


@njit(nogil=True)
def daytime(clock: float) -> float:
    """How much happens by day: 1 at 15 h, 0.05 at 3 h, averaging about a half."""
    return 0.05 + 0.95 * (0.5 + 0.5 * np.cos((clock - 15.0) * np.pi / 12.0)) ** 1.5


@njit(nogil=True)
def p_icu(x: np.ndarray, care: np.ndarray, s: float, policy: Policy) -> float:
    """Probability of moving to the ICU in this hour, for a patient who is not there."""
    if care[CODE] == COMFORT or care[PLACE] == PROCEDURAL:
        return 0.0
    need = max(s, 1.15 * x[CIRCULATION] + 1.0, 1.0 * x[LUNGS] + 0.9)
    rate = 0.35 * sigmoid((need - policy.icu) / 0.15)
    return chance(rate)


@njit(nogil=True)
def p_intubation(x: np.ndarray, care: np.ndarray, policy: Policy, threshold_shift: float) -> float:
    """Probability of intubation in this hour, for a patient who is not ventilated."""
    if care[CODE] != FULL:
        return 0.0
    need = max(x[LUNGS], x[BRAIN] - 0.1, 0.75 * x[CIRCULATION])
    return chance(0.30 * sigmoid((need - policy.intubate - threshold_shift) / 0.14))


@njit(nogil=True)
def p_death(care: np.ndarray, s: float, age: float, frailty: float) -> float:
    """Probability of death in this hour."""
    log_rate = -12.55 + 0.65 * s + 0.22 * max(s - FAILING, 0.0) + 0.035 * (age - 60.0) + 0.25 * frailty
    if care[CODE] == DO_NOT_RESUSCITATE:
        log_rate += 0.5
    rate = np.exp(log_rate)
    if care[CODE] == COMFORT:
        rate += 0.012 * max(s, 0.3)
    return chance(min(rate, 0.08))


@njit(nogil=True)
def p_discharge(care: np.ndarray, acute: float, clock: float, pace: float, policy: Policy) -> float:
    """Probability of leaving alive in this hour.

    `acute` is the severity above the patient's own usual state; `pace` is the stay's own: a bed to go to,
    help at home.
    """
    if care[CODE] == COMFORT:
        return chance(0.07 * daytime(clock))  # to a hospice, or home
    ventilated = care[DEVICE] == IMV or care[DEVICE] == NIPPV or care[DEVICE] == HIGH_FLOW
    if care[PLACE] == ICU or ventilated or care[RENAL] > 0:
        return 0.0
    return chance(2.0 * policy.discharge * pace * daytime(clock) * np.exp(-1.9 * max(acute - 0.35, 0.0)))


@njit(nogil=True)
def enter_icu(care: np.ndarray) -> None:
    """Move the patient to the ICU."""
    care[PLACE] = ICU
    care[EVER_ICU] = 1.0


@njit(nogil=True)
def intubate(care: np.ndarray) -> None:
    """Begin invasive ventilation, which happens in the ICU."""
    enter_icu(care)
    care[DEVICE] = IMV
    care[EVER_IMV] = 1.0
    care[VENTILATED_HOURS] = 0.0


@njit(nogil=True)
def places(
    x: np.ndarray,
    care: np.ndarray,
    s: float,
    hour: int,
    clock: float,
    reason: int,
    policy: Policy,
    rng: np.random.Generator,
) -> None:
    """Emergency department to ward, operating theatre and back, ICU to ward."""
    here = care[PLACE]
    if here == ED and rng.random() < chance(0.25):
        care[PLACE] = care[WARD_KIND]
    elif here == PROCEDURAL and hour >= 2 and rng.random() < chance(0.4):
        if reason == CARDIAC_SURGERY:
            enter_icu(care)
            if care[CODE] == FULL and rng.random() < 0.85:
                intubate(care)
        elif reason == ELECTIVE and rng.random() < policy.surgery_in_icu:
            enter_icu(care)
        else:
            care[PLACE] = care[WARD_KIND]
    elif here == ICU:
        busy = care[DEVICE] == IMV or (
            care[CODE] != COMFORT and (care[NOREPINEPHRINE] > 0 or care[RENAL] > 0)
        )
        calm = max(s, 1.0 * x[LUNGS] + 0.7) < policy.leave_icu or care[CODE] == COMFORT
        if calm and not busy and rng.random() < chance(0.12 * daytime(clock)):
            care[PLACE] = care[WARD_KIND]


@njit(nogil=True)
def breathing(x: np.ndarray, care: np.ndarray, policy: Policy, covid: bool, rng: np.random.Generator) -> None:
    """Oxygen, mask, high flow, extubation, tracheostomy and proning."""
    lungs = x[LUNGS]
    if care[DEVICE] == IMV:
        care[VENTILATED_HOURS] += 1.0
        ready = lungs < 1.5 and x[BRAIN] < 1.7 and x[CIRCULATION] < 1.8
        if care[CODE] == COMFORT:
            if rng.random() < chance(0.4):
                care[DEVICE] = CANNULA
        elif ready and care[VENTILATED_HOURS] > 4 and rng.random() < chance(0.11):
            care[DEVICE] = COLLAR if care[TRACHEOSTOMY] > 0 else CANNULA
        elif care[VENTILATED_HOURS] > 12 * 24 and care[TRACHEOSTOMY] == 0 and rng.random() < chance(0.015):
            care[TRACHEOSTOMY] = 1.0
        if care[PRONE] > 0:
            care[PRONE] -= 1.0
        elif lungs > 2.5 and rng.random() < chance((5.0 if covid else 1.0) * policy.prone / 24):
            care[PRONE] = 16.0
    else:
        care[PRONE] = 0.0
        if care[TRACHEOSTOMY] > 0:
            care[DEVICE] = COLLAR
        elif care[CODE] == COMFORT:
            care[DEVICE] = ROOM_AIR if lungs < SUFFICES[ROOM_AIR] else CANNULA
        # somebody looks every few hours, and at once where the device is clearly not enough
        elif rng.random() < 0.3 or lungs > SUFFICES[int(care[DEVICE])] + 0.3:
            if lungs < SUFFICES[ROOM_AIR]:
                care[DEVICE] = ROOM_AIR
            elif lungs < SUFFICES[CANNULA]:
                care[DEVICE] = CANNULA
            elif lungs < SUFFICES[MASK] or not (care[PLACE] == ICU or care[PLACE] == STEPDOWN):
                care[DEVICE] = MASK
            else:
                care[DEVICE] = NIPPV if care[NONINVASIVE] > 0 else HIGH_FLOW


@njit(nogil=True)
def treatments(
    x: np.ndarray, care: np.ndarray, policy: Policy, steroids: bool, rng: np.random.Generator
) -> None:
    """Vasopressors, sedation, antibiotics, CRRT; `steroids` for a patient who gets them once on oxygen."""
    shock = x[CIRCULATION]
    if care[PLACE] == ICU and care[CODE] != COMFORT:
        on = care[NOREPINEPHRINE] > 0
        if shock > 1.75 or (on and shock > 1.3):
            dose = 0.05 * np.exp(1.25 * (shock - 1.5))
            care[NOREPINEPHRINE] = min(max(dose, 0.02), 1.5)
            care[VASOPRESSIN] = 0.04 if shock > 2.6 or (care[VASOPRESSIN] > 0 and shock > 2.2) else 0.0
        else:
            care[NOREPINEPHRINE] = 0.0
            care[VASOPRESSIN] = 0.0
        if care[RENAL] > 0:
            if x[KIDNEY] < policy.renal - 0.8 and rng.random() < chance(0.05):
                care[RENAL] = 0.0
        elif x[KIDNEY] > policy.renal and rng.random() < chance(0.08):
            care[RENAL] = 1.0
    else:
        care[NOREPINEPHRINE] = 0.0
        care[VASOPRESSIN] = 0.0
        care[RENAL] = 0.0
    if care[DEVICE] == IMV:
        care[SEDATION] = 3.0 if x[LUNGS] > 2.4 or care[PRONE] > 0 else 2.0 if x[LUNGS] > 1.6 else 1.0
    else:
        care[SEDATION] = 0.0
    infection = x[INFLAMMATION]
    if care[CODE] == COMFORT:
        care[ANTIBIOTIC] = 0.0
    elif care[ANTIBIOTIC] > 0:
        if infection < 0.35 and rng.random() < chance(0.02):
            care[ANTIBIOTIC] = 0.0
    elif infection > 0.9 and rng.random() < chance(1.0 / policy.antibiotic_delay):
        care[ANTIBIOTIC] = 1.0
    if care[STEROID] > 1.0:
        care[STEROID] -= 1.0  # ends at 1, so that no second course begins
    elif steroids and care[STEROID] == 0 and care[DEVICE] > ROOM_AIR and rng.random() < chance(0.15):
        care[STEROID] = STEROID_HOURS


@njit(nogil=True)
def goals(
    care: np.ndarray,
    s: float,
    hour: int,
    age: float,
    frailty: float,
    policy: Policy,
    rng: np.random.Generator,
) -> None:
    """Code status only moves towards comfort within a stay."""
    push = policy.comfort * np.exp(0.7 * (min(s, 9.0) - 5.0) + 0.04 * (age - 65.0) + 0.4 * frailty)
    if care[CODE] == FULL and rng.random() < chance(min(0.002 * push, 0.01)):
        care[CODE] = DO_NOT_RESUSCITATE
    if (
        care[CODE] == DO_NOT_RESUSCITATE
        and hour > 24
        and s > 2.5
        and rng.random() < chance(min(0.0035 * push, 0.015))
    ):
        care[CODE] = COMFORT
