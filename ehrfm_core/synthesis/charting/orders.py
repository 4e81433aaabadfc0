"""When blood is drawn: on arrival, each morning, and more often the worse the patient; panels go together."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from ehrfm_core.synthesis.charting.chart import Chart
from ehrfm_core.synthesis.charting.laboratory import HEART, LABS, PANELS
from ehrfm_core.synthesis.hospital import DIFFERING
from ehrfm_core.synthesis.latent.care import CODE, COMFORT, PLACE, PROCEDURAL
from ehrfm_core.synthesis.latent.physiology import (
    BLEEDING,
    CARDIAC_SURGERY,
    CIRCULATION,
    DIABETES,
    INFLAMMATION,
    LIVER,
    LUNGS,
    REASONS,
)
from ehrfm_core.synthesis.latent.step import PLANNED, REASON

MORNING, EVENING = 5, 17
TOGETHER = 0.6  # share of the variance of "is it ordered?" that the panels of one hour have in common
SLOW, PAUSE = 30.0, 3  # a panel that takes more minutes is not drawn again within so many hours
LOST = 0.01  # results that never come
INFECTION, LUNG, COVID_REASON = (REASONS.index(name) for name in ("infection", "lungs", "covid"))
NAMES = list(LABS)
Chance = float | np.ndarray


def wanted(chart: Chart) -> dict[str, np.ndarray]:
    """Probability that each panel is drawn in each hour (R), from the state and the place."""
    stays = chart.stays
    x = np.maximum(stays.organs[chart.row], 0.0)
    s, hour, clock = chart.severity, chart.hour, chart.tick % 24
    icu, ventilated = chart.in_icu, chart.ventilated
    comfort = chart.care_of(CODE) == COMFORT
    theatre = chart.care_of(PLACE) == PROCEDURAL
    reason = stays.traits[chart.stay, REASON]
    first = (hour == 0) & (stays.traits[chart.stay, PLANNED] == 0)
    arrival = first | (theatre & (hour == 3))
    morning, evening = (clock == MORNING) & (hour > 2), (clock == EVENING) & (hour > 2)
    heart = np.isin(reason, (HEART, CARDIAC_SURGERY))
    infected = np.isin(reason, (INFECTION, LUNG, COVID_REASON))
    worse = np.exp(0.55 * np.clip(s - 1.2, 0.0, 6.0))

    def times(at_arrival: Chance, ward: Chance, in_icu: Chance, late: float, rate: Chance) -> np.ndarray:
        """One less the probability of none of: on arrival, in the morning, in the evening, for cause."""
        none = 1.0 - arrival * np.asarray(at_arrival, dtype=float)
        none = none * (1.0 - morning * np.where(icu, in_icu, ward)) * (1.0 - (evening & icu) * late)
        return 1.0 - none * np.exp(-np.asarray(rate, dtype=float) * ~arrival)

    ward_morning = np.clip(0.34 + 0.18 * s, 0.0, 0.95)
    found = {
        "metabolic": times(0.95, ward_morning, 0.98, 0.55, 0.006 * worse),
        "minerals": times(0.35, 0.65 * ward_morning, 0.95, 0.50, 0.003 * worse),
        "blood_count": times(0.95, ward_morning, 0.97, 0.25, 0.004 * worse + 0.06 * (x[:, BLEEDING] > 0.7)),
        "differential": times(0.32, 0.10, 0.25, 0.02, 0.001 * worse),
        "coagulation": times(0.40 + 0.2 * heart, 0.12 + 0.25 * heart, 0.55, 0.1, 0.002 * worse),
        "liver": times(0.30, 0.06 + 0.25 * np.minimum(x[:, LIVER], 2.0), 0.40, 0.02, 0.001 * worse),
        "gas": times(
            np.clip(0.25 * x[:, LUNGS] - 0.1, 0.0, 0.8),
            0.02,
            0.3 + 0.5 * ventilated,
            0.2,
            icu * (0.012 * worse + 0.12 * ventilated) + 0.02 * (x[:, LUNGS] > 1.7),
        ),
        "lactate": times(
            np.clip(0.12 + 0.3 * x[:, CIRCULATION] * (x[:, CIRCULATION] > 0.7) + 0.35 * infected, 0.0, 0.9),
            0.02,
            0.25,
            0.1,
            0.05 * (x[:, CIRCULATION] > 1.5) + 0.004 * (x[:, INFLAMMATION] > 1.0),
        ),
        "cardiac": times(
            0.15 + 0.65 * (reason == HEART),
            0.01,
            0.04,
            0.01,
            0.12 * ((reason == HEART) & (hour < 12)) + 0.0015 * x[:, CIRCULATION],
        ),
        "inflammation": times(0.06 + 0.2 * infected, 0.03, 0.08, 0.0, 0.0006 * x[:, INFLAMMATION]),
        "fingerstick": times(0.25, 0.05, 0.1, 0.0, 0.02 + 0.15 * stays.comorbid[chart.stay, DIABETES]),
    }
    more = chart.hospital.measurement.order_more
    quiet = np.where(comfort, 0.05, 1.0) * np.where(theatre & (hour < 3), 0.1, 1.0)
    return {name: np.clip(p * quiet * more.get(name, 1.0), 0.0, 1.0) for name, p in found.items()}


def chart_labs(chart: Chart, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Every result: stay, lab (index into LABS), panel (into PANELS), value, and three times in minutes.

    `ordered`, `collected` and `resulted` are whole minutes since admission; each is later than the one before
    but for the bedside's, which comes at once.
    """
    measurement = chart.hospital.measurement
    done = {name for name in LABS if name not in DIFFERING or name in measurement.only}
    shared = rng.standard_normal(len(chart.row))
    share = rng.random(len(chart.row))
    parts: list[tuple[np.ndarray, ...]] = []
    for index, (name, p) in enumerate(wanted(chart).items()):
        panel = PANELS[name]
        own = rng.standard_normal(len(chart.row))
        rows = np.flatnonzero(ndtr(np.sqrt(TOGETHER) * shared + np.sqrt(1.0 - TOGETHER) * own) < p)
        if panel.minutes > SLOW:  # nobody asks again before the last result has been read
            again = (np.diff(rows, prepend=-99) < PAUSE) & (np.diff(chart.stay[rows], prepend=-1) == 0)
            rows = rows[~again]
        at = chart.moments(rows, share[rows])
        ordered = at.minute - np.where(at.minute > 30, rng.integers(5, 30, len(at)), 0)
        waits = panel.minutes * np.exp(0.35 * rng.standard_normal(len(at)))
        resulted = at.minute + np.maximum(np.round(waits), 1).astype(np.int64)
        for lab, values in panel.read(chart, at, rng).items():
            if lab not in done:
                continue
            kept = (rng.random(len(at)) > LOST) & (resulted < chart.minutes[at.stay])
            known = LABS[lab]
            value = np.clip(values * measurement.offset.get(lab, 1.0), known.low, known.high)
            parts.append(
                (
                    at.stay[kept],
                    np.full(int(kept.sum()), NAMES.index(lab)),
                    np.full(int(kept.sum()), index),
                    np.round(value, known.decimals)[kept],
                    ordered[kept],
                    at.minute[kept],
                    resulted[kept],
                )
            )
    names = ("stay", "lab", "panel", "value", "ordered", "collected", "resulted")
    return {
        name: np.concatenate(column) for name, column in zip(names, zip(*parts, strict=True), strict=True)
    }
