"""What there is to be read at a moment of a stay: the state between two full hours, and what is constant."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from ehrfm_core.synthesis.hospital import Hospital
from ehrfm_core.synthesis.latent.care import DEVICE, ICU, IMV, PLACE
from ehrfm_core.synthesis.latent.patients import Patients
from ehrfm_core.synthesis.latent.physiology import N_ORGANS, SEVERITY
from ehrfm_core.synthesis.latent.simulate import Stays
from ehrfm_core.synthesis.latent.step import ARRIVAL

# what differs between two healthy people, and stays with a person: one standard normal each
OWN = (
    *("heart_rate", "pressure", "temperature", "saturation", "sodium", "potassium", "bicarbonate"),
    *("creatinine", "urea", "glucose", "calcium", "albumin", "hemoglobin", "wbc", "platelets", "inr"),
    *("liver_enzymes", "bilirubin", "alkaline_phosphatase", "inflammation", "clotting"),
)


ON_THE_HOUR = 0.75  # of rounds


class Moments(NamedTuple):
    """n moments: `stay` and `minute` since its admission, organs `x` (n, 7) and `care` (n, len(CARE)) then.

    `severity` (n) follows from x; `clock` (n) is the hour of the day; `day` (n) the days since admission.
    """

    stay: np.ndarray
    minute: np.ndarray
    x: np.ndarray
    care: np.ndarray
    severity: np.ndarray
    clock: np.ndarray
    day: np.ndarray

    def __len__(self) -> int:
        return len(self.stay)

    def organ(self, organ: int) -> np.ndarray:
        """How far an organ is off, 0 where it is better than healthy (n)."""
        return np.maximum(self.x[:, organ].astype(np.float64), 0.0)

    def where(self, mask: np.ndarray) -> Moments:
        """Some of them."""
        return Moments(*(values[mask] for values in self))


@dataclass(frozen=True, eq=False)
class Chart:
    """Stays of a hospital, ready to be read, with R rows of a full hour each (none after a stay's end).

    `stay` and `hour` (R) say whose row it is, `row` (R) where it stands in `stays.organs`; `severity` (R);
    `tick` (R) counts hours from midnight of the first day; `own` (patients, len(OWN)) are standard normals.
    """

    hospital: Hospital
    patients: Patients
    stays: Stays
    own: np.ndarray
    stay: np.ndarray = field(init=False)
    hour: np.ndarray = field(init=False)
    row: np.ndarray = field(init=False)
    severity: np.ndarray = field(init=False)
    tick: np.ndarray = field(init=False)
    arrived: np.ndarray = field(init=False)  # minutes from midnight to admission (n)
    minutes: np.ndarray = field(init=False)  # length of each stay (n)

    def __post_init__(self) -> None:
        stays = self.stays
        lengths = np.diff(stays.offset) - 1
        stay = np.repeat(np.arange(len(lengths)), lengths)
        begin = np.cumsum(lengths) - lengths
        hour = np.arange(len(stay)) - begin[stay]
        row = stays.offset[stay] + hour
        put = object.__setattr__
        put(self, "stay", stay)
        put(self, "hour", hour)
        put(self, "row", row)
        put(self, "severity", severity_of(stays.organs[row]))
        put(self, "arrived", np.round(stays.traits[:, ARRIVAL] * 60).astype(np.int64))
        put(self, "tick", self.arrived[stay] // 60 + hour)
        put(self, "minutes", np.round(stays.hours * 60).astype(np.int64))

    def care_of(self, what: int) -> np.ndarray:
        """One part of the care at each row (R)."""
        return self.stays.care[self.row, what]

    @property
    def in_icu(self) -> np.ndarray:
        """Rows in the ICU (R, boolean)."""
        return self.care_of(PLACE) == ICU

    @property
    def ventilated(self) -> np.ndarray:
        """Rows under invasive ventilation (R, boolean)."""
        return self.care_of(DEVICE) == IMV

    def moments(self, at: np.ndarray, share: np.ndarray) -> Moments:
        """Moments in the hours `at` (k, indices of rows), at a `share` of the hour (k, 0 to below 1).

        Organs are interpolated; care changes where the hour's moment has come. What would fall behind
        the end of a stay is left out.
        """
        minute = np.floor((self.hour[at] + share) * 60.0 + 0.01).astype(np.int64)  # whole ones stay whole
        inside = minute < self.minutes[self.stay[at]]
        at, share, minute = at[inside], share[inside], minute[inside]
        stays, row = self.stays, self.row[at]
        x = stays.organs[row] + share[:, None].astype(np.float32) * (
            stays.organs[row + 1] - stays.organs[row]
        )
        changed = minute - 60 * self.hour[at] >= np.round(stays.moment[row] * 60)  # in whole minutes
        care = stays.care[row + changed]
        stay = self.stay[at]
        clock = (self.arrived[stay] + minute) % 1440 / 60.0
        return Moments(stay, minute, x, care, severity_of(x), clock, minute / 1440.0)

    def round_share(self, at: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """When within the hours `at` (k) a round is charted: mostly on the full hour of the clock."""
        full = -self.arrived[self.stay[at]] % 60 / 60.0
        return np.where(rng.random(len(at)) < ON_THE_HOUR, full, rng.random(len(at)))

    def of(self, name: str, stay: np.ndarray) -> np.ndarray:
        """A standard normal of the patient of each stay (k)."""
        return self.own[self.stays.patient[stay], OWN.index(name)]

    def trait(self, trait: int, stay: np.ndarray) -> np.ndarray:
        """A trait of each stay (k)."""
        return self.stays.traits[stay, trait]

    def has(self, disease: int, stay: np.ndarray) -> np.ndarray:
        """Whether the patient has a disease, 0 or 1 (k)."""
        return self.stays.comorbid[stay, disease]


def severity_of(x: np.ndarray) -> np.ndarray:
    """`physiology.severity` of many states (n, 7)."""
    return np.maximum(x[:, :N_ORGANS], 0.0) @ SEVERITY.astype(x.dtype)


def every(chart: Chart, interval: np.ndarray, phase: np.ndarray) -> np.ndarray:
    """Rows (R) where what is due every `interval` hours (0: never) is done; `phase` (stays) shifts it."""
    due = np.maximum(interval, 1)
    return (interval > 0) & ((chart.tick + phase[chart.stay]) % due == 0)
