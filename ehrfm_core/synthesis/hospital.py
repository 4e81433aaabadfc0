"""What makes a hospital, and how the second differs from the first: one part of the shift at a time.

The first hospital is shaped after MIMIC-IV (Boston), the second, with every part of the shift on, after UCMC
(Chicago), as far as arXiv 2504.10422 tells. With no part on, both are one and the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np

from ehrfm_core.errors import UserError

PARTS = ("population", "coverage", "policy", "measurement", "time")
GROUPS = {"all": PARTS, "institution": PARTS[:-1], "none": ()}
SITES = ("mimic", "ucmc")
RACES = (
    "White",
    "Black or African American",
    "Asian",
    "American Indian or Alaska Native",
    "Native Hawaiian or Other Pacific Islander",
    "Other",
    "Unknown",
)


class Population(NamedTuple):
    """Who comes, and why. Reasons in the order of `physiology.REASONS`; shares sum to 1."""

    age_mean: float = 60.3  # years, of all patients; those with several stays are older
    age_sd: float = 17.5
    female: float = 0.545
    race: np.ndarray = np.array([0.68, 0.165, 0.04, 0.003, 0.002, 0.05, 0.06])
    hispanic: float = 0.055
    comorbid_shift: float = 0.0  # on the log-odds of each comorbidity
    #                            surgery    heart       infection    liver       brain       general
    reason: np.ndarray = np.array(
        [0.20, 0.026, 0.15, 0.09, 0.10, 0.06, 0.035, 0.065, 0.085, 0.06, 0.129, 0.0]
    )
    severity: float = 0.82  # median severity of the illness at admission


class Policy(NamedTuple):
    """When care is stepped up and down. Thresholds are of severity or of an organ's dysfunction."""

    icu: float = 3.75  # severity at which every other patient is moved to the ICU within some hours
    leave_icu: float = 2.5  # severity below which the ICU lets go
    intubate: float = 2.35  # dysfunction of lungs or brain
    stepdown: float = 0.06  # share of ward beds that are stepdown
    noninvasive: float = 0.35  # share with NIPPV rather than high flow
    discharge: float = 0.0255  # per hour, of a patient without any dysfunction
    antibiotic_delay: float = 3.0  # hours
    renal: float = 2.4  # dysfunction of the kidney at which CRRT begins in the ICU
    prone: float = 0.06  # share of those in question per day
    comfort: float = 0.7  # how readily goals of care change
    surgery_in_icu: float = 0.08  # share of elective operations that go to the ICU afterwards


class Calendar(NamedTuple):
    """From when to when first admissions happen, and whether a pandemic comes in waves."""

    start: float = 0.0  # hours since EPOCH
    hours: float = 4 * 365.25 * 24
    pandemic: bool = False


# labs that one hospital may do and another may not
DIFFERING = frozenset(
    {"troponin_t", "troponin_i", "calcium_ionized", "esr", "crp", "procalcitonin", "glucose_fingerstick"}
)


@dataclass(frozen=True)
class Coverage:
    """What is charted where. Intervals in hours; 0 is never."""

    ward_vitals: float = 0.0
    ward_share: float = 0.05  # of ward stays whose vitals are charted all the same
    ward_vitals_then: float = 8.0  # interval for those
    stepdown_vitals: float = 4.0
    icu_vitals: float = 1.0
    ed_vitals: float = 0.0
    recheck: float = 0.0  # further rounds an hour on a ward, per unit of severity
    ward_nursing: float = 0.0  # pain, falls, skin, consciousness
    ward_respiratory: float = 0.0
    icu_nursing: float = 4.0


@dataclass(frozen=True)
class Measurement:
    """What the laboratory and the ventilators write."""

    offset: dict[str, float] = field(default_factory=dict)  # factor on a lab's values
    only: frozenset[str] = frozenset({"troponin_t", "calcium_ionized", "esr", "crp"})  # of DIFFERING
    order_more: dict[str, float] = field(default_factory=dict)  # factor on how often a panel is drawn
    volume_mode: str = "Assist Control-Volume Control"
    consciousness: str = "gcs"


@dataclass(frozen=True)
class Hospital:
    """One hospital."""

    name: str
    population: Population = field(default_factory=Population)
    policy: Policy = field(default_factory=Policy)
    calendar: Calendar = field(default_factory=Calendar)
    coverage: Coverage = Coverage()
    measurement: Measurement = Measurement()


EPOCH = datetime(2016, 1, 1, tzinfo=UTC)
PANDEMIC = datetime(2020, 3, 1, tzinfo=UTC)

SHIFTED_POPULATION = Population(
    age_mean=53.0,
    age_sd=18.0,
    female=0.57,
    race=np.array([0.25, 0.645, 0.025, 0.002, 0.001, 0.035, 0.042]),
    hispanic=0.07,
    comorbid_shift=0.35,
    reason=np.array([0.15, 0.020, 0.15, 0.10, 0.115, 0.055, 0.045, 0.10, 0.075, 0.07, 0.12, 0.0]),
    severity=0.86,
)
SHIFTED_POLICY = Policy(
    icu=3.60,
    leave_icu=2.1,
    intubate=2.50,
    stepdown=0.0,
    noninvasive=0.55,
    discharge=0.0225,
    antibiotic_delay=5.0,
    renal=2.15,
    prone=0.12,
    comfort=0.6,
    surgery_in_icu=0.05,
)
SHIFTED_COVERAGE = Coverage(
    ward_vitals=4.0,
    ward_share=1.0,
    ward_vitals_then=4.0,
    stepdown_vitals=2.0,
    icu_vitals=1.0,
    ed_vitals=1.0,
    recheck=0.20,
    ward_nursing=4.0,
    ward_respiratory=4.0,
    icu_nursing=3.0,
)
SHIFTED_MEASUREMENT = Measurement(
    offset={"creatinine": 1.08, "lactate": 0.90, "ptt": 1.12, "albumin": 0.94, "alkaline_phosphatase": 1.15},
    only=frozenset({"troponin_i", "glucose_fingerstick", "procalcitonin", "crp"}),
    order_more={"minerals": 1.6, "liver": 2.6, "differential": 3.0, "coagulation": 0.6, "gas": 0.8},
    volume_mode="Pressure-Regulated Volume Control",
    consciousness="avpu",
)


def shift_parts(text: str) -> frozenset[str]:
    """The parts named in `--shift`: a group or parts divided by commas.

    >>> sorted(shift_parts("coverage,time"))
    ['coverage', 'time']
    >>> shift_parts("none")
    frozenset()
    """
    names = [name.strip() for name in text.split(",")]
    if len(names) == 1 and names[0] in GROUPS:
        return frozenset(GROUPS[names[0]])
    if unknown := [name for name in names if name not in PARTS]:
        raise UserError(
            f"--shift {text!r}: {unknown[0]!r} is none of {', '.join(PARTS)}; give one of "
            f"{', '.join(GROUPS)} alone, or parts divided by commas."
        )
    return frozenset(names)


def hospitals(parts: frozenset[str]) -> tuple[Hospital, Hospital]:
    """The first hospital, always the same, and the second, which differs in `parts`."""
    first = Hospital(SITES[0])
    shifted = {
        "population": SHIFTED_POPULATION,
        "coverage": SHIFTED_COVERAGE,
        "policy": SHIFTED_POLICY,
        "measurement": SHIFTED_MEASUREMENT,
    }
    changes = {part: value for part, value in shifted.items() if part in parts}
    second = replace(Hospital(SITES[1]), **changes)  # type: ignore[arg-type]
    if "time" in parts:
        hours = (PANDEMIC - EPOCH).total_seconds() / 3600
        second = replace(second, calendar=Calendar(hours, 2 * 365.25 * 24, pandemic=True))
    return first, second
