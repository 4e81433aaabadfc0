"""Run patients through a hospital, stay after stay, hour after hour."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from ehrfm_core.synthesis.hospital import Calendar, Hospital, Policy, Population
from ehrfm_core.synthesis.latent import care as c
from ehrfm_core.synthesis.latent.care import FIRST_DAY
from ehrfm_core.synthesis.latent.patients import LASTING_TABLE, Patients, draw_patients, reason_of, wave
from ehrfm_core.synthesis.latent.physiology import (
    CARDIAC_SURGERY,
    COVID,
    ELECTIVE,
    INSULT,
    N_ORGANS,
    chronic_level,
)
from ehrfm_core.synthesis.latent.step import (
    AGE,
    ARRIVAL,
    DEATH,
    DIED,
    FRAILTY,
    HOURS_A_YEAR,
    ILLNESS,
    INTUBATION,
    LEFT,
    LONGEST_HOURS,
    N_CARE,
    N_TRAITS,
    PACE,
    PLANNED,
    REASON,
    RECOVERY,
    STAYING,
    STRAIN,
    TO_ICU,
    TO_IMV,
    step,
)


class Stays(NamedTuple):
    """What the simulation tells of n stays and their R hours in all: the truth, not what is charted.

    `patient` indexes the patients; `admission` is in hours since `hospital.EPOCH`, `hours` the length; `exit`
    is DIED or LEFT; `first_icu` and `first_imv` are hours since admission, −1 where never. Rows `offset[i]`
    to `offset[i + 1]` of `organs` (R, 7) and `care` (R, len(CARE)) are stay i's state at each full hour, the
    first after its end included; what changes between two rows changes at `moment` (R, share of the hour).
    `comorbid` (n, 7) are the diseases known at admission. `expected` (n, 4) sums the probabilities of each
    event of RISKS over the hours after the first day in which it could happen (nothing for the long stay).
    `x` and `d` (n, 7) and `care_then` (n, len(CARE)) are the state at 24 h, all that the future depends on.
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
    limited: bool,
) -> None:
    """A new stay: why, how ill, where to; `limited` where care was so in an earlier one.

    Fills `traits`, `x`, `d` and `care` in place.
    """
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
    if planned or reason == CARDIAC_SURGERY:
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
    if limited or (not planned and rng.random() < limits):
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
    x, d, care, chances = np.zeros(N_ORGANS), np.zeros(N_ORGANS), np.zeros(N_CARE), np.zeros(5)
    i = 0
    last_hour = calendar.start + calendar.hours
    for p in range(len(patients.age)):
        comorbid = patients.comorbid[p].copy()
        begin, limited = patients.first[p], False
        while i < n:
            if offset[i] + LONGEST_HOURS + 2 > n_rows:
                break
            age = patients.age[p] + (begin - patients.first[p]) / HOURS_A_YEAR
            frailty = patients.frailty[p]
            _admit(
                rng,
                population,
                policy,
                calendar,
                begin,
                age,
                frailty,
                comorbid,
                traits[i],
                x,
                d,
                care,
                limited,
            )
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
                ended = step(rng, x, d, care, level, comorbid, traits[i], hour, policy, chances, False)
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
            limited = care[c.CODE] >= c.DO_NOT_RESUSCITATE
            if (
                ended == DIED
                or care[c.CODE] == c.COMFORT
                or rng.random() > c.sigmoid(-0.5 + 0.45 * frailty + 0.2 * comorbid.sum())
            ):
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
