"""The latent state of a stay: how far each organ system is off, hour by hour.

Each organ has a dysfunction x (0 is healthy, 1 clearly disturbed, 2 severe, 3 failing; below 0 robust) and an
acute insult d behind it, which decays. Per hour, with rates κ, coupling A and Gaussian noise ε:

    x_k ← x_k + κ_k (b_k + d_k + Σ_j A_kj min((x_j − 0.8)⁺, 2.2) − x_k) + σ_k ε
    d_k ← d_k exp(−r / τ_k)

an Ornstein–Uhlenbeck process around a moving target, stepped by the hour. b is chronic disease, r the
patient's own speed of recovery, which nobody sees. New insults ("shocks") come at rates that depend on the
patient and the state. So a stay can get worse before it gets better, organs pull each other down, and where
it goes can be told in part, not wholly. The constants are set by clinical plausibility (shock within hours,
kidneys over days, the liver slower still), not fitted to any data.
"""

from __future__ import annotations

import numpy as np
from numba import njit

ORGANS = ("circulation", "lungs", "kidney", "liver", "brain", "inflammation", "bleeding")
CIRCULATION, LUNGS, KIDNEY, LIVER, BRAIN, INFLAMMATION, BLEEDING = range(7)
N_ORGANS = len(ORGANS)

COMORBIDITIES = ("heart_failure", "copd", "chronic_kidney", "cirrhosis", "diabetes", "cancer", "dementia")
HEART_FAILURE, COPD, CHRONIC_KIDNEY, CIRRHOSIS, DIABETES, CANCER, DEMENTIA = range(7)

REASONS = (
    "elective_surgery",
    "cardiac_surgery",
    "heart",
    "lungs",
    "infection",
    "bleeding",
    "liver",
    "kidney",
    "brain",
    "trauma",
    "general",
    "covid",
)
ELECTIVE, CARDIAC_SURGERY = 0, 1
COVID = REASONS.index("covid")

# the insult on each organ at admission, by reason, for an illness of severity 1
INSULT = np.array(
    [  # circ  lungs kidney liver brain infl. bleed.
        [0.20, 0.25, 0.10, 0.05, 0.10, 0.45, 0.30],  # elective surgery
        [0.90, 0.60, 0.30, 0.15, 0.25, 0.55, 0.60],  # cardiac surgery
        [0.95, 0.55, 0.35, 0.15, 0.10, 0.10, 0.00],  # heart
        [0.25, 1.25, 0.10, 0.00, 0.15, 0.60, 0.00],  # lungs
        [0.65, 0.45, 0.45, 0.25, 0.30, 1.25, 0.00],  # infection
        [0.55, 0.10, 0.20, 0.15, 0.10, 0.10, 1.35],  # bleeding
        [0.35, 0.20, 0.35, 1.30, 0.45, 0.25, 0.35],  # liver
        [0.25, 0.20, 1.35, 0.05, 0.20, 0.20, 0.00],  # kidney
        [0.20, 0.20, 0.05, 0.00, 1.30, 0.10, 0.05],  # brain
        [0.45, 0.45, 0.10, 0.10, 0.50, 0.45, 0.65],  # trauma
        [0.20, 0.15, 0.20, 0.10, 0.15, 0.30, 0.10],  # general
        [0.25, 1.60, 0.30, 0.15, 0.15, 1.00, 0.00],  # covid
    ]
)
# what chronic disease adds to an organ's own level
CHRONIC = np.array(
    [
        [0.55, 0.15, 0.20, 0.05, 0.00, 0.00, 0.00],  # heart failure
        [0.00, 0.60, 0.00, 0.00, 0.00, 0.05, 0.00],  # COPD
        [0.10, 0.00, 0.95, 0.00, 0.00, 0.00, 0.05],  # chronic kidney disease
        [0.10, 0.00, 0.10, 0.90, 0.10, 0.00, 0.15],  # cirrhosis
        [0.05, 0.00, 0.10, 0.00, 0.00, 0.05, 0.00],  # diabetes
        [0.05, 0.10, 0.00, 0.10, 0.00, 0.15, 0.15],  # cancer
        [0.00, 0.00, 0.00, 0.00, 0.55, 0.00, 0.00],  # dementia
    ]
)
RATE = np.array([0.25, 0.14, 0.06, 0.05, 0.16, 0.16, 0.30])  # κ, per hour
DECAY_HOURS = np.array([30.0, 65.0, 90.0, 150.0, 80.0, 60.0, 28.0])  # τ
NOISE = np.array([0.055, 0.050, 0.025, 0.020, 0.045, 0.045, 0.050])  # σ, per √hour
COVID_DECAY_HOURS = 170.0  # of the lungs: a longer course
# COUPLING[k, j]: what organ j, once clearly disturbed, does to organ k
COUPLING = np.zeros((N_ORGANS, N_ORGANS))
COUPLING[CIRCULATION, [LIVER, INFLAMMATION, BLEEDING]] = 0.15, 0.50, 0.55
COUPLING[LUNGS, [CIRCULATION, INFLAMMATION]] = 0.20, 0.30
COUPLING[KIDNEY, [CIRCULATION, LIVER, INFLAMMATION]] = 0.50, 0.15, 0.10
COUPLING[LIVER, CIRCULATION] = 0.25
COUPLING[BRAIN, [LUNGS, KIDNEY, LIVER, INFLAMMATION]] = 0.20, 0.15, 0.30, 0.20
COUPLING[BLEEDING, LIVER] = 0.25
COUPLED_ABOVE, COUPLED_AT_MOST = 0.8, 2.2
# how much each organ counts in overall severity, and so in the need of intensive care and the risk of death
SEVERITY = np.array([1.0, 0.85, 0.40, 0.45, 0.85, 0.30, 0.40])
# new insults: per hour for a patient of average frailty, by organ; and their median size
SHOCK_RATE = np.array([5.0e-4, 8.0e-4, 2.0e-4, 0.4e-4, 5.0e-4, 7.0e-4, 4.0e-4])
SHOCK_SIZE = np.array([1.1, 1.2, 0.9, 0.8, 1.0, 1.2, 1.1])
HIGHEST, LOWEST = 5.0, -1.0


@njit(nogil=True)
def severity(x: np.ndarray) -> float:
    """Overall severity of a state: Σ w_k x_k⁺, about 0.5 on a calm ward and 3 in an ICU.

    >>> float(severity(np.zeros(7)))
    0.0
    """
    total = 0.0
    for k in range(N_ORGANS):
        if x[k] > 0:
            total += SEVERITY[k] * x[k]
    return total


@njit(nogil=True)
def chronic_level(comorbid: np.ndarray, frailty: float) -> np.ndarray:
    """The level b (7) each organ returns to, from comorbidities (7, 0 or 1) and frailty."""
    level = np.full(N_ORGANS, 0.06 * frailty)
    for disease in range(len(comorbid)):
        if comorbid[disease] > 0:
            level += CHRONIC[disease]
    return level


@njit(nogil=True)
def advance(
    x: np.ndarray,
    d: np.ndarray,
    level: np.ndarray,
    recovery: np.ndarray,
    shock: np.ndarray,
    noise: np.ndarray,
) -> None:
    """Move dysfunction `x` and insult `d` (7 each, changed in place) on by one hour.

    `recovery` (7) is how many times the usual speed insults decay, `shock` (7) what is new, `noise` (7)
    standard normal.
    """
    pull = np.zeros(N_ORGANS)
    for j in range(N_ORGANS):
        if x[j] > COUPLED_ABOVE:
            for k in range(N_ORGANS):
                pull[k] += COUPLING[k, j] * min(x[j] - COUPLED_ABOVE, COUPLED_AT_MOST)
    for k in range(N_ORGANS):
        d[k] += shock[k]
        x[k] += RATE[k] * (level[k] + d[k] + pull[k] - x[k]) + NOISE[k] * noise[k]
        x[k] = min(max(x[k], LOWEST), HIGHEST)
        d[k] *= np.exp(-recovery[k] / DECAY_HOURS[k])
