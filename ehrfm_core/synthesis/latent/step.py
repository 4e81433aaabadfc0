"""One hour of a stay: what may happen, what care does, and how the state moves on."""

from __future__ import annotations

import numpy as np
from numba import njit

from ehrfm_core.synthesis.hospital import Policy
from ehrfm_core.synthesis.latent import care as c
from ehrfm_core.synthesis.latent.care import CARE, FIRST_DAY
from ehrfm_core.synthesis.latent.physiology import (
    BLEEDING,
    CIRCULATION,
    CIRRHOSIS,
    COVID,
    COVID_DECAY_HOURS,
    DECAY_HOURS,
    HEART_FAILURE,
    INFLAMMATION,
    LUNGS,
    N_ORGANS,
    SHOCK_RATE,
    SHOCK_SIZE,
    advance,
    severity,
)

LONGEST_HOURS = 90 * 24  # whoever is still there then is discharged
LONG_STAY = 7 * 24
HOURS_A_YEAR = 365.25 * 24
STAYING, DIED, LEFT = 0, 1, 2
RISKS = ("death", "long_los", "icu", "imv")
DEATH, LONG, TO_ICU, TO_IMV = range(4)
LEAVING = 4  # beside them in the chances of an hour
# what belongs to a stay and does not change within it
TRAITS = (
    "age",
    "frailty",
    "recovery",
    "pace",
    "strain",
    "intubation_shift",
    "arrival_hour",
    "reason",
    "planned",
    "illness",
)
AGE, FRAILTY, RECOVERY, PACE, STRAIN, INTUBATION, ARRIVAL, REASON, PLANNED, ILLNESS = range(len(TRAITS))
N_CARE, N_TRAITS = len(CARE), len(TRAITS)


@njit(nogil=True)
def step(
    rng: np.random.Generator,
    x: np.ndarray,
    d: np.ndarray,
    care: np.ndarray,
    level: np.ndarray,
    comorbid: np.ndarray,
    traits: np.ndarray,
    hour: int,
    policy: Policy,
    chances: np.ndarray,
    kept: bool,
) -> int:
    """One hour of a stay: the probability of each event goes into `chances` (5), the state moves on in place.

    Death comes first, then intubation and transfer to the ICU, then discharge. Returns DIED or LEFT where
    the stay ends within the hour, else STAYING. `chances[LEAVING]` is that of leaving alive in an hour in
    which nothing else happens. With `kept` nobody dies or leaves: the path of those who are still there.
    """
    s = severity(x)
    acute = s - severity(level)
    clock = (traits[ARRIVAL] + hour) % 24.0
    covid = traits[REASON] == COVID
    death = c.p_death(care, s, traits[AGE], traits[FRAILTY]) if hour >= FIRST_DAY else 0.0
    imv = c.p_intubation(x, care, policy, traits[INTUBATION]) if care[c.DEVICE] != c.IMV else 0.0
    icu = 0.0
    if care[c.PLACE] != c.ICU:
        icu = 1.0 - (1.0 - imv) * (1.0 - c.p_icu(x, care, s - 0.4 * traits[STRAIN], policy))
    chances[DEATH], chances[LEAVING] = death, 0.0
    chances[TO_IMV] = (1.0 - death) * imv
    chances[TO_ICU] = (1.0 - death) * icu
    if not kept and rng.random() < death:
        return DIED
    if imv > 0.0 and rng.random() < imv:
        c.intubate(care)
    elif icu > imv and rng.random() < (icu - imv) / (1.0 - imv):
        c.enter_icu(care)
    else:
        if hour >= FIRST_DAY:
            chances[LEAVING] = c.p_discharge(care, acute, clock, traits[PACE], policy)
            if not kept and rng.random() < chances[LEAVING]:
                return LEFT
        c.places(x, care, s, hour, clock, int(traits[REASON]), policy, rng)
        c.breathing(x, care, policy, covid, rng)
    c.treatments(x, care, policy, covid and traits[INTUBATION] >= 0.0, rng)
    c.goals(care, s, hour, traits[AGE], traits[FRAILTY], policy, rng)

    recovery, shock, noise = np.empty(N_ORGANS), np.zeros(N_ORGANS), np.empty(N_ORGANS)
    for k in range(N_ORGANS):
        recovery[k], noise[k] = traits[RECOVERY], rng.standard_normal()
    if care[c.ANTIBIOTIC] > 0:
        recovery[INFLAMMATION] *= 1.7
    if care[c.NOREPINEPHRINE] > 0:
        recovery[CIRCULATION] *= 1.25
    if care[c.PRONE] > 0:
        recovery[LUNGS] *= 1.4
    if covid:
        recovery[LUNGS] *= DECAY_HOURS[LUNGS] / COVID_DECAY_HOURS * (1.35 if care[c.STEROID] > 1.0 else 1.0)
    vulnerable = np.exp(0.35 * traits[FRAILTY] + 0.25 * max(s - 1.0, 0.0))
    for k in range(N_ORGANS):
        rate = SHOCK_RATE[k] * vulnerable
        if care[c.DEVICE] == c.IMV and k in (LUNGS, INFLAMMATION):
            rate *= 3.0
        if k == CIRCULATION:
            rate *= 1.0 + 2.0 * comorbid[HEART_FAILURE]
        elif k == BLEEDING:
            rate *= 1.0 + 3.0 * comorbid[CIRRHOSIS]
        if rng.random() < rate:
            size = SHOCK_SIZE[k] * np.exp(0.5 * rng.standard_normal())
            shock[k] += size
            if k in (INFLAMMATION, BLEEDING):
                shock[CIRCULATION] += 0.4 * size
    advance(x, d, level, recovery, shock, noise)
    return STAYING
