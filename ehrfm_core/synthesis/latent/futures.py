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
    LONG,
    LONG_STAY,
    LONGEST_HOURS,
    N_CARE,
    STAYING,
    TO_ICU,
    TO_IMV,
    step,
)


@njit(nogil=True)
def futures(
    rng: np.random.Generator, stays: Stays, policy: Policy, draws: int
) -> tuple[np.ndarray, np.ndarray]:
    """True risk of each outcome of RISKS at 24 h and its standard error (both n, 4; NaN: does not count).

    From the state at 24 h `draws` futures are run. For death, ICU and ventilation the probabilities of the
    event in each hour it could happen are summed (the compensator of the event, whose mean is the risk and
    which varies less than the event itself); the long stay is counted. The error is that of Monte Carlo. NaN
    for ICU and ventilation where they were in the first day.
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
