"""Run patients through a hospital: stay after stay, hour after hour; and the futures behind the true risks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from ehrfm_core.synthesis import care as c
from ehrfm_core.synthesis.care import CARE, FIRST_DAY
from ehrfm_core.synthesis.hospital import Calendar, Hospital, Policy, Population
from ehrfm_core.synthesis.patients import LASTING_TABLE, Patients, draw_patients, reason_of, wave
from ehrfm_core.synthesis.physiology import (
    BLEEDING,
    CARDIAC_SURGERY,
    CIRCULATION,
    CIRRHOSIS,
    COVID,
    COVID_DECAY_HOURS,
    DECAY_HOURS,
    ELECTIVE,
    HEART_FAILURE,
    INFLAMMATION,
    INSULT,
    LUNGS,
    N_ORGANS,
    SHOCK_RATE,
    SHOCK_SIZE,
    advance,
    chronic_level,
    severity,
)

LONGEST_HOURS = 90 * 24  # whoever is still there then is discharged
LONG_STAY = 7 * 24
HOURS_A_YEAR = 365.25 * 24
STAYING, DIED, LEFT = 0, 1, 2
RISKS = ("death", "long_los", "icu", "imv")
DEATH, LONG, TO_ICU, TO_IMV = range(4)
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


class Stays(NamedTuple):
    """What the simulation tells of n stays and their R hours in all: the truth, not what is charted.

    `patient` indexes the patients; `admission` is in hours since `hospital.EPOCH`, `hours` the length; `exit` is
    DIED or LEFT; `first_icu` and `first_imv` are hours since admission, −1 where never. Rows `offset[i]` to
    `offset[i + 1]` of `organs` (R, 7) and `care` (R, len(CARE)) are stay i's state at each full hour, the
    first after its end included; what changes between two rows changes at `moment` (R, share of the hour).
    `comorbid` (n, 7) are the diseases known at admission. `expected` (n, 4) sums the probabilities of each
    event of RISKS over the hours after the first day in which it could happen (nothing for the long stay). `x`
    and `d` (n, 7) and `care_then` (n, len(CARE)) are the state at 24 h, from which the future depends on nothing else.
    """

    patient: np.ndarray
    admission: np.ndarray
    hours: np.ndarray
    exit: np.ndarray
    first_icu: np.ndarray
    first_imv: np.ndarray
    traits: np.ndarray
    comorbid: np.ndarray
    expected: np.ndarray
    x: np.ndarray
    d: np.ndarray
    care_then: np.ndarray
    offset: np.ndarray
    organs: np.ndarray
    care: np.ndarray
    moment: np.ndarray


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
) -> int:
    """One hour of a stay: the probability of each event goes into `chances` (4), the state moves on in place.

    Death comes first, then intubation and transfer to the ICU, then discharge. Returns DIED or LEFT where
    the stay ends within the hour, else STAYING.
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
    chances[DEATH] = death
    chances[TO_IMV] = (1.0 - death) * imv
    chances[TO_ICU] = (1.0 - death) * icu
    ended = STAYING
    if rng.random() < death:
        ended = DIED
    elif imv > 0.0 and rng.random() < imv:
        c.intubate(care)
    elif icu > imv and rng.random() < (icu - imv) / (1.0 - imv):
        c.enter_icu(care)
    else:
        if hour >= FIRST_DAY and rng.random() < c.p_discharge(care, acute, clock, traits[PACE], policy):
            ended = LEFT
        else:
            c.places(x, care, s, hour, clock, int(traits[REASON]), policy, rng)
        c.breathing(x, care, policy, covid, rng)
    c.treatments(x, care, policy, covid, rng)
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
        recovery[LUNGS] *= DECAY_HOURS[LUNGS] / COVID_DECAY_HOURS * (1.35 if care[c.STEROID] > 0 else 1.0)
    vulnerable = np.exp(0.35 * traits[FRAILTY] + 0.25 * max(s - 1.0, 0.0))
    for k in range(N_ORGANS):
        rate = SHOCK_RATE[k] * vulnerable
        if care[c.DEVICE] == c.IMV and (k == LUNGS or k == INFLAMMATION):
            rate *= 3.0
        if k == CIRCULATION:
            rate *= 1.0 + 2.0 * comorbid[HEART_FAILURE]
        elif k == BLEEDING:
            rate *= 1.0 + 3.0 * comorbid[CIRRHOSIS]
        if rng.random() < rate:
            size = SHOCK_SIZE[k] * np.exp(0.5 * rng.standard_normal())
            shock[k] += size
            if k == INFLAMMATION or k == BLEEDING:
                shock[CIRCULATION] += 0.4 * size
    advance(x, d, level, recovery, shock, noise)
    return ended


@njit(nogil=True)
def _admit(
    rng: np.random.Generator,
    population: Population,
    policy: Policy,
    calendar: Calendar,
    admission: float,
    age: float,
    frailty: float,
    comorbid: np.ndarray,
    traits: np.ndarray,
    x: np.ndarray,
    d: np.ndarray,
    care: np.ndarray,
) -> None:
    """A new stay: why, how ill, where to. Fills `traits`, `x`, `d` and `care` in place."""
    height = wave(calendar, admission)
    reason = reason_of(population, height, age, comorbid, rng.random())
    planned = reason == ELECTIVE or (reason == CARDIAC_SURGERY and rng.random() < 0.6)
    illness = population.severity * np.exp(0.42 * rng.standard_normal() + 0.10 * frailty)
    traits[AGE], traits[FRAILTY], traits[REASON] = age, frailty, reason
    traits[RECOVERY] = np.exp(0.40 * rng.standard_normal() - 0.12 * frailty)
    traits[PACE] = np.exp(0.65 * rng.standard_normal() - 0.010 * (age - 60.0) - 0.15 * frailty)
    traits[STRAIN] = height
    first_wave = calendar.pandemic and admission - calendar.start < 150 * 24
    traits[INTUBATION] = (-0.35 if first_wave else 0.2) if reason == COVID else 0.0
    traits[ARRIVAL] = admission % 24.0
    traits[PLANNED], traits[ILLNESS] = (1.0 if planned else 0.0), illness
    level = chronic_level(comorbid, frailty)
    for k in range(N_ORGANS):
        d[k] = INSULT[reason, k] * illness * np.exp(0.35 * rng.standard_normal())
        # illness had some hours or days to show before the patient came; surgery had not
        shown = 0.3 if planned else 0.85
        x[k] = level[k] + shown * d[k] + 0.15 * rng.standard_normal()
    care[:] = 0.0
    if planned:
        care[c.PLACE] = c.PROCEDURAL
    elif rng.random() < 0.13:
        care[c.PLACE] = c.WARD
    else:
        care[c.PLACE] = c.ED
    care[c.WARD_KIND] = c.STEPDOWN if rng.random() < policy.stepdown else c.WARD
    if care[c.PLACE] == c.WARD:
        care[c.PLACE] = care[c.WARD_KIND]
    care[c.NONINVASIVE] = 1.0 if rng.random() < policy.noninvasive else 0.0
    limits = c.sigmoid(-4.6 + 0.075 * (age - 65.0) + 0.7 * frailty)
    if not planned and rng.random() < limits:
        care[c.CODE] = c.DO_NOT_RESUSCITATE


@njit(nogil=True)
def _run(
    rng: np.random.Generator,
    n: int,
    population: Population,
    policy: Policy,
    calendar: Calendar,
    patients: Patients,
    n_rows: int,
) -> tuple[Stays, int]:
    """Simulate until n stays or n_rows hours are full; return them and how many stays are whole."""
    patient = np.zeros(n, np.int64)
    admission, hours = np.zeros(n), np.zeros(n)
    exit_ = np.zeros(n, np.int64)
    first_icu, first_imv = np.full(n, -1.0), np.full(n, -1.0)
    traits, known = np.zeros((n, N_TRAITS)), np.zeros((n, N_ORGANS))
    expected = np.zeros((n, 4))
    x_then, d_then, care_then = np.zeros((n, N_ORGANS)), np.zeros((n, N_ORGANS)), np.zeros((n, N_CARE))
    offset = np.zeros(n + 1, np.int64)
    organs = np.zeros((n_rows, N_ORGANS), np.float32)
    cares = np.zeros((n_rows, N_CARE), np.float32)
    moment = np.zeros(n_rows, np.float32)
    x, d, care, chances = np.zeros(N_ORGANS), np.zeros(N_ORGANS), np.zeros(N_CARE), np.zeros(4)
    i = 0
    last_hour = calendar.start + calendar.hours
    for p in range(len(patients.age)):
        comorbid = patients.comorbid[p].copy()
        begin = patients.first[p]
        while i < n:
            if offset[i] + LONGEST_HOURS + 2 > n_rows:
                break
            age = patients.age[p] + (begin - patients.first[p]) / HOURS_A_YEAR
            frailty = patients.frailty[p]
            _admit(rng, population, policy, calendar, begin, age, frailty, comorbid, traits[i], x, d, care)
            # operations begin in the morning, the others come by day more than by night
            clock = 6.0 + 3.0 * rng.random() if traits[i, PLANNED] > 0 else 13.5 + 5.5 * rng.standard_normal()
            begin = np.floor(np.floor(begin / 24.0) * 1440.0 + (clock % 24.0) * 60.0) / 60.0  # a whole minute
            traits[i, ARRIVAL] = begin % 24.0
            level = chronic_level(comorbid, frailty)
            patient[i], admission[i], known[i] = p, begin, comorbid
            row = offset[i]
            ended, hour = STAYING, 0
            while ended == STAYING:
                organs[row + hour] = x
                cares[row + hour] = care
                moment[row + hour] = np.floor(1.0 + 59.0 * rng.random()) / 60.0
                when = hour + moment[row + hour]
                if hour == FIRST_DAY:
                    x_then[i], d_then[i], care_then[i] = x, d, care
                had_icu, had_imv = care[c.EVER_ICU] > 0, care[c.EVER_IMV] > 0
                ended = step(rng, x, d, care, level, comorbid, traits[i], hour, policy, chances)
                if hour >= FIRST_DAY:
                    expected[i, DEATH] += chances[DEATH]
                    if not had_icu:
                        expected[i, TO_ICU] += chances[TO_ICU]
                    if not had_imv:
                        expected[i, TO_IMV] += chances[TO_IMV]
                if care[c.EVER_ICU] > 0 and not had_icu:
                    first_icu[i] = when
                if care[c.EVER_IMV] > 0 and not had_imv:
                    first_imv[i] = when
                hour += 1
                if hour >= LONGEST_HOURS and ended == STAYING:
                    ended = LEFT
            organs[row + hour] = x
            cares[row + hour] = care
            moment[row + hour] = 0.5
            hours[i] = when
            exit_[i] = ended
            offset[i + 1] = row + hour + 1
            reason = int(traits[i, REASON])
            for disease in range(N_ORGANS):
                if rng.random() < LASTING_TABLE[reason, disease]:
                    comorbid[disease] = 1.0
            i += 1
            if ended == DIED or rng.random() > c.sigmoid(-0.5 + 0.45 * frailty + 0.2 * comorbid.sum()):
                break
            begin = begin + hours[i - 1] + 24.0 * (3.0 + rng.exponential(170.0))
            if begin > last_hour:
                break
        if i == n or offset[i] + LONGEST_HOURS + 2 > n_rows:
            break
    rows = offset[i]
    return (
        Stays(
            patient[:i],
            admission[:i],
            hours[:i],
            exit_[:i],
            first_icu[:i],
            first_imv[:i],
            traits[:i],
            known[:i],
            expected[:i],
            x_then[:i],
            d_then[:i],
            care_then[:i],
            offset[: i + 1],
            organs[:rows],
            cares[:rows],
            moment[:rows],
        ),
        i,
    )


def run(rng: np.random.Generator, n: int, hospital: Hospital) -> tuple[Patients, Stays]:
    """Simulate n stays of a hospital and the patients they belong to (at most n, each with a stay)."""
    patients = draw_patients(rng, n, hospital.population, hospital.calendar)
    n_rows = n * 400 + 40 * LONGEST_HOURS
    stays, whole = _run(rng, n, hospital.population, hospital.policy, hospital.calendar, patients, n_rows)
    assert whole == n, "stays take more room than foreseen"
    return patients, stays


@njit(nogil=True)
def futures(
    rng: np.random.Generator, stays: Stays, policy: Policy, draws: int
) -> tuple[np.ndarray, np.ndarray]:
    """True risk of each outcome of RISKS at 24 h, and its Monte Carlo standard error (both n, 4; NaN: does not count).

    From the state at 24 h `draws` futures are run. For death, ICU and ventilation the probabilities of the
    event in each hour it could happen are summed (the compensator of the event, whose mean is the risk and which
    varies less than the event itself); the long stay is counted. NaN for ICU and ventilation where they
    were in the first day.
    """
    n = len(stays.hours)
    risk, error = np.full((n, 4), np.nan), np.full((n, 4), np.nan)
    x, d, care, chances = np.zeros(N_ORGANS), np.zeros(N_ORGANS), np.zeros(N_CARE), np.zeros(4)
    total, squares, one = np.zeros(4), np.zeros(4), np.zeros(4)
    for i in range(n):
        level = chronic_level(stays.comorbid[i], stays.traits[i, FRAILTY])
        total[:], squares[:] = 0.0, 0.0
        for _ in range(draws):
            x[:], d[:], care[:] = stays.x[i], stays.d[i], stays.care_then[i]
            one[:] = 0.0
            hour, ended = FIRST_DAY, STAYING
            while ended == STAYING and hour < LONGEST_HOURS:
                had_icu, had_imv = care[c.EVER_ICU] > 0, care[c.EVER_IMV] > 0
                ended = step(
                    rng, x, d, care, level, stays.comorbid[i], stays.traits[i], hour, policy, chances
                )
                one[DEATH] += chances[DEATH]
                if not had_icu:
                    one[TO_ICU] += chances[TO_ICU]
                if not had_imv:
                    one[TO_IMV] += chances[TO_IMV]
                hour += 1
            # a stay that ends in its 169th hour is longer than seven days
            one[LONG] = 1.0 if hour > LONG_STAY else 0.0
            total += one
            squares += one * one
        for k in range(4):
            if (k == TO_ICU and stays.care_then[i, c.EVER_ICU] > 0) or (
                k == TO_IMV and stays.care_then[i, c.EVER_IMV] > 0
            ):
                continue
            mean = total[k] / draws
            risk[i, k] = mean
            error[i, k] = np.sqrt(max(squares[k] / draws - mean * mean, 0.0) / max(draws - 1, 1))
    return risk, error
