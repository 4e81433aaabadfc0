"""Drugs: infusions follow the state and are charted where they change; the others go by the clock."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from ehrfm_core.synthesis.charting.breathing import at_changes, changes
from ehrfm_core.synthesis.charting.chart import Chart
from ehrfm_core.synthesis.charting.laboratory import HEART, HEPARIN_BELOW
from ehrfm_core.synthesis.charting.nursing import OPERATED
from ehrfm_core.synthesis.latent.care import (
    ANTIBIOTIC,
    CODE,
    COMFORT,
    NOREPINEPHRINE,
    PRONE,
    SEDATION,
    STEROID,
    VASOPRESSIN,
)
from ehrfm_core.synthesis.latent.physiology import (
    BLEEDING,
    CARDIAC_SURGERY,
    CIRCULATION,
    COPD,
    DIABETES,
    HEART_FAILURE,
    INFLAMMATION,
    LUNGS,
    REASONS,
)
from ehrfm_core.synthesis.latent.step import LEFT, REASON


class Drug(NamedTuple):
    """CLIF's group of a drug, and the unit of its dose."""

    group: str
    unit: str


INFUSIONS: dict[str, Drug] = {
    "norepinephrine": Drug("vasoactives", "mcg/kg/min"),
    "vasopressin": Drug("vasoactives", "units/min"),
    "propofol": Drug("sedation", "mcg/kg/min"),
    "dexmedetomidine": Drug("sedation", "mcg/kg/hr"),
    "midazolam": Drug("sedation", "mg/hr"),
    "fentanyl": Drug("sedation", "mcg/hr"),
    "cisatracurium": Drug("paralytics", "mcg/kg/min"),
    "insulin": Drug("endocrine", "units/hr"),
    "heparin": Drug("anticoagulation", "units/hr"),
    "furosemide": Drug("diuretics", "mg/hr"),
    "amiodarone": Drug("cardiac", "mg/min"),
    "pantoprazole": Drug("gastrointestinal", "mg/hr"),
    "morphine": Drug("sedation", "mg/hr"),
    "lactated_ringers_solution": Drug("fluids_electrolytes", "ml/hr"),
}
SEPSIS = "CMS_sepsis_qualifying_antibiotics"
DOSES: dict[str, tuple[str, str, float, str]] = {  # group, unit, dose, route
    "vancomycin": (SEPSIS, "mg", 1250.0, "iv"),
    "cefepime": (SEPSIS, "mg", 2000.0, "iv"),
    "piperacillin_tazobactam": (SEPSIS, "mg", 4500.0, "iv"),
    "ceftriaxone": (SEPSIS, "mg", 2000.0, "iv"),
    "azithromycin": (SEPSIS, "mg", 500.0, "iv"),
    "cefazolin": (SEPSIS, "mg", 2000.0, "iv"),
    "dexamethasone": ("steroid", "mg", 6.0, "iv"),
    "methylprednisolone": ("steroid", "mg", 40.0, "iv"),
    "acetaminophen": ("analgesia", "mg", 650.0, "enteral"),
    "hydromorphone": ("analgesia", "mg", 0.5, "iv"),
}
SHORTEST_RUN = 6  # hours
ACTIONS = ("start", "dose_change", "stop")
LUNG = REASONS.index("lungs")


def infusion_rates(chart: Chart, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Rate of each infusion at each row (R), in steps as pumps are set; 0 where it does not run."""
    n = len(chart.stays.hours)
    care = {part: chart.care_of(part) for part in (NOREPINEPHRINE, VASOPRESSIN, SEDATION, PRONE, CODE)}
    x = np.maximum(chart.stays.organs[chart.row], 0.0)
    icu, stay, sedation = chart.in_icu, chart.stay, care[SEDATION]
    reason = chart.stays.traits[stay, REASON]
    heart = np.isin(reason, (HEART, CARDIAC_SURGERY))
    chosen = rng.random(n)[stay]  # which sedative
    habit = rng.random((4, n))[:, stay]
    body = np.exp(0.25 * rng.standard_normal(n))[stay]
    diabetic = chart.stays.comorbid[stay, DIABETES] > 0
    failing = chart.stays.comorbid[stay, HEART_FAILURE] > 0
    comfort = care[CODE] == COMFORT
    deep = sedation >= 2
    needs_heparin = chart.of("clotting", stay) < HEPARIN_BELOW

    pressor = care[NOREPINEPHRINE] > 0

    def steps(value: np.ndarray, size: float) -> np.ndarray:
        return np.round(size * np.round(value.astype(np.float64) / size), 4)

    def runs(start: np.ndarray, stop: np.ndarray, hours: int = SHORTEST_RUN) -> np.ndarray:
        return _running(start, stop, stay, hours)

    heparin = runs(
        heart & needs_heparin & (x[:, BLEEDING] < 0.5) & ~comfort, (x[:, BLEEDING] > 0.9) | comfort, 12
    )
    diuresis = runs(
        icu & failing & (habit[1] < 0.35) & (x[:, LUNGS] > 1.0) & ~pressor & ~comfort,
        (x[:, LUNGS] < 0.6) | pressor | comfort | ~icu,
    )
    antacid = runs((x[:, BLEEDING] > 1.0) & (habit[3] < 0.7) & ~comfort, (x[:, BLEEDING] < 0.4) | comfort, 24)
    sweet = runs(
        icu & diabetic & (habit[0] < 0.6) & (x[:, INFLAMMATION] > 0.7) & ~comfort,
        (x[:, INFLAMMATION] < 0.4) | ~icu | comfort,
    )
    fluid = runs(
        icu & (x[:, CIRCULATION] > 0.9) & ~failing & ~comfort, (x[:, CIRCULATION] < 0.6) | ~icu | comfort
    )
    rhythm = runs(icu & heart & (habit[2] < 0.15) & ~comfort, ~icu | comfort, 12)
    return {
        "norepinephrine": steps(care[NOREPINEPHRINE], 0.03),
        "vasopressin": np.round(care[VASOPRESSIN].astype(np.float64), 3),
        "propofol": steps(
            (sedation > 0) * ((chosen < 0.75) | ~deep) * (chosen < 0.85) * 16.0 * sedation * body, 5.0
        ),
        "dexmedetomidine": steps((sedation == 1) * (chosen >= 0.6) * 0.6 * body, 0.2),
        "midazolam": steps((sedation == 3) * (chosen >= 0.7) * 4.0 * body, 1.0),
        "fentanyl": steps((sedation > 0) * (25.0 + 30.0 * sedation) * body, 25.0),
        "cisatracurium": 2.0 * (care[PRONE] > 0),
        "insulin": steps(sweet * (2.0 + np.maximum(x[:, INFLAMMATION] - 0.6, 0.0)), 1.0),
        "heparin": steps(heparin * 1150.0 * body, 100.0),
        "furosemide": 8.0 * diuresis,
        "amiodarone": 0.5 * rhythm,
        "pantoprazole": 8.0 * antacid,
        "morphine": steps(comfort * (1.0 + 0.6 * np.minimum(chart.severity, 9.0)), 1.0),
        "lactated_ringers_solution": steps(fluid * np.maximum(75.0 * x[:, CIRCULATION], 50.0), 25.0),
    }


@njit(nogil=True)
def _running(start: np.ndarray, stop: np.ndarray, stay: np.ndarray, hours: int) -> np.ndarray:
    """Whether something runs at each row (R): begun at `start`, ended at `stop` but not within `hours`."""
    runs = np.zeros(len(start), np.bool_)
    on, since = False, 0
    for row in range(len(start)):
        if row > 0 and stay[row] != stay[row - 1]:
            on = False
        if on:
            since += 1
            on = not (stop[row] and since >= hours)
        elif start[row] and not stop[row]:
            on, since = True, 0
        runs[row] = on
    return runs


def chart_infusions(chart: Chart, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Stay, minute, drug (index into INFUSIONS), dose, and what was done (index into ACTIONS)."""
    first = np.flatnonzero(chart.hour == 0)
    last = np.flatnonzero(np.r_[chart.stay[1:] != chart.stay[:-1], True])
    home = chart.stays.exit == LEFT
    parts: list[tuple[np.ndarray, ...]] = []
    for index, rate in enumerate(infusion_rates(chart, rng).values()):
        rows, dose = changes(chart, rate)
        at = at_changes(chart, rows)
        action = np.where(rate[rows] == 0, 0, np.where(dose == 0, 2, 1))
        # what runs from the first hour on was started in it; what still runs when a patient leaves is stopped
        begun, ended = first[rate[first] > 0], last[(rate[last] > 0) & home]
        started = at_changes(chart, begun)
        stay = np.concatenate([at.stay, started.stay, chart.stay[ended]])
        minute = np.concatenate([at.minute, started.minute // 4 + 1, chart.minutes[chart.stay[ended]] - 1])
        dose = np.concatenate([dose, rate[begun], np.zeros(len(ended))])
        action = np.concatenate([action, np.repeat([0, 2], [len(begun), len(ended)])])
        parts.append((stay, minute, np.full(len(stay), index), dose, action))
    stay, minute, drug, dose, action = (np.concatenate(column) for column in zip(*parts, strict=True))
    return stay, minute, drug, dose, action


def chart_doses(chart: Chart, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stay, minute and drug (index into DOSES) of everything given at once."""
    n = len(chart.stays.hours)
    regimen = rng.random(n)[chart.stay]
    reason = chart.stays.traits[chart.stay, REASON]
    treated = chart.care_of(ANTIBIOTIC) > 0
    since = chart.hour - _onset(chart, treated)
    operated = np.isin(reason, OPERATED)
    steroid = chart.care_of(STEROID) > 1.0
    comfort = chart.care_of(CODE) == COMFORT
    lungs = (reason == LUNG) & (chart.stays.comorbid[chart.stay, COPD] > 0) & (chart.hour < 120)
    clock = chart.tick % 24
    chance = rng.random((2, len(chart.row)))
    broad, mild = treated & (regimen < 0.45), treated & (regimen >= 0.45)
    given = {
        "vancomycin": broad & (since % 12 == 0),
        "cefepime": broad & (regimen < 0.25) & (since % 8 == 0),
        "piperacillin_tazobactam": broad & (regimen >= 0.25) & (since % 6 == 0),
        "ceftriaxone": mild & (since % 24 == 0),
        "azithromycin": mild & (reason == LUNG) & (since % 24 == 0),
        "cefazolin": operated & np.isin(chart.hour, (3, 11, 19)),
        "dexamethasone": steroid & ~comfort & (clock == 9),
        "methylprednisolone": lungs & ~comfort & (clock % 12 == 9),
        "acetaminophen": chance[0]
        < 0.015 + 0.03 * operated + 0.03 * (chart.stays.organs[chart.row, INFLAMMATION] > 1),
        "hydromorphone": chance[1] < 0.10 * operated * (chart.hour < 72),
    }
    parts = []
    for index, name in enumerate(DOSES):
        rows = np.flatnonzero(given[name])
        at = chart.moments(rows, rng.random(len(rows)))
        parts.append((at.stay, at.minute, np.full(len(at), index)))
    stay, minute, drug = (np.concatenate(column) for column in zip(*parts, strict=True))
    return stay, minute, drug


def _onset(chart: Chart, running: np.ndarray) -> np.ndarray:
    """Hour in which what runs at a row began (R)."""
    fresh = running & ~(np.r_[False, running[:-1]] & (np.r_[-1, chart.stay[:-1]] == chart.stay))
    begun = np.where(fresh, np.arange(len(running)), -1)
    begun = np.maximum.accumulate(begun)
    return np.where(running, chart.hour[np.maximum(begun, 0)], 0)
