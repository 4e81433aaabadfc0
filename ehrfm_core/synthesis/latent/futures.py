"""The true risks: what becomes of a stay, many times over, from its state at 24 h."""

from __future__ import annotations

import numpy as np
from numba import njit

from ehrfm_core.synthesis.hospital import Policy
from ehrfm_core.synthesis.latent import care as c
from ehrfm_core.synthesis.latent.care import FIRST_DAY
from ehrfm_core.synthesis.latent.physiology import N_ORGANS, chronic_level
from ehrfm_core.synthesis.latent.simulate import Stays
from ehrfm_core.synthesis.latent.step import (
    DEATH,
    FRAILTY,
    LEAVING,
    LONG,
    LONG_STAY,
    LONGEST_HOURS,
    N_CARE,
    TO_ICU,
    TO_IMV,
    step,
)

ROULETTE_BELOW = 0.05


@njit(nogil=True)
def futures(
    rng: np.random.Generator, stays: Stays, policy: Policy, draws: int
) -> tuple[np.ndarray, np.ndarray]:
    """True risk of each outcome of RISKS at 24 h and its standard error (both n, 4; NaN: does not count).

    `draws` futures are run from the state at 24 h, in which nobody dies or leaves; S is the probability to be
    still there. What is averaged, always within 0 and 1: for death Σ S p(death); for the long stay S at seven
    days (both exact given the path, Rao–Blackwell). For ICU and ventilation N, S when they come, and
    Λ = Σ S p(coming) until then have the same mean, and N + β (Λ − N) least variance at β = 1 − E[NΛ]/E[N], a
    control variate. Paths with small S are ended or doubled at random, which changes no mean. The error is
    that of Monte Carlo. NaN for ICU and ventilation where they were in the first day.
    """
    n = len(stays.hours)
    risk, error = np.full((n, 4), np.nan), np.full((n, 4), np.nan)
    x, d, care, chances = np.zeros(N_ORGANS), np.zeros(N_ORGANS), np.zeros(N_CARE), np.zeros(5)
    came, foreseen = np.zeros((draws, 4)), np.zeros((draws, 4))
    for i in range(n):
        level = chronic_level(stays.comorbid[i], stays.traits[i, FRAILTY])
        came[:], foreseen[:] = 0.0, 0.0
        for k in range(draws):
            x[:], d[:], care[:] = stays.x[i], stays.d[i], stays.care_then[i]
            hour, there = FIRST_DAY, 1.0
            while hour < LONGEST_HOURS:
                had_icu, had_imv = care[c.EVER_ICU] > 0, care[c.EVER_IMV] > 0
                step(rng, x, d, care, level, stays.comorbid[i], stays.traits[i], hour, policy, chances, True)
                foreseen[k, DEATH] += there * chances[DEATH]
                alive = there * (1.0 - chances[DEATH])
                if not had_icu:
                    foreseen[k, TO_ICU] += there * chances[TO_ICU]
                    came[k, TO_ICU] += alive * care[c.EVER_ICU]
                if not had_imv:
                    foreseen[k, TO_IMV] += there * chances[TO_IMV]
                    came[k, TO_IMV] += alive * care[c.EVER_IMV]
                there = alive * (1.0 - chances[LEAVING])
                hour += 1
                # a stay that ends in its 169th hour is longer than seven days
                if hour == LONG_STAY:
                    foreseen[k, LONG] = there
                if there < ROULETTE_BELOW:
                    if rng.random() < 0.5:
                        break
                    there *= 2.0
        for outcome in range(4):
            if (outcome == TO_ICU and stays.care_then[i, c.EVER_ICU] > 0) or (
                outcome == TO_IMV and stays.care_then[i, c.EVER_IMV] > 0
            ):
                continue
            events = came[:, outcome].sum()
            both = (came[:, outcome] * foreseen[:, outcome]).sum()
            values = np.empty(draws)
            for k in range(draws):  # each weighed by the others alone, so that no mean is bent
                one, likely = came[k, outcome], foreseen[k, outcome]
                weight = 1.0
                if events - one > 1e-12:
                    weight = min(max(1.0 - (both - one * likely) / (events - one), 0.0), 1.0)
                values[k] = one + weight * (likely - one)
            risk[i, outcome] = min(max(values.mean(), 0.0), 1.0)
            error[i, outcome] = values.std() / np.sqrt(draws - 1.0)
    return risk, error
