"""Respiratory support, prone positioning and CRRT, as charted: every change of device, and on rounds."""

from __future__ import annotations

import numpy as np

from ehrfm_core.synthesis.charting.chart import Chart, Moments, every
from ehrfm_core.synthesis.charting.oxygen import end_expiratory, inspired, litres, set_rate
from ehrfm_core.synthesis.latent.care import (
    CANNULA,
    DEVICE,
    HIGH_FLOW,
    ICU,
    IMV,
    NIPPV,
    PLACE,
    PRONE,
    RENAL,
    ROOM_AIR,
    SEDATION,
    TRACHEOSTOMY,
)
from ehrfm_core.synthesis.latent.physiology import LUNGS

SUPPORT_HOURS = 4  # between rounds at a ventilator, a mask, high flow
Columns = dict[str, np.ndarray]


def changes(chart: Chart, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hours (indices of rows) in which `value` (R, a part of the care) changes, and what it becomes.

    A stay's first hour is not a change; the last row of a stay has its successor beyond its end.
    """
    same = chart.stay[:-1] == chart.stay[1:]
    rows = np.flatnonzero(same & (value[:-1] != value[1:]))
    return rows, value[rows + 1]


def at_changes(chart: Chart, rows: np.ndarray) -> Moments:
    """The very moments in which the care of these hours changes."""
    return chart.moments(rows, chart.stays.moment[chart.row[rows]].astype(np.float64))


def chart_support(chart: Chart, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, Columns]:
    """Stay, minute and columns of respiratory_support.

    Every change to or from a ventilator, and every change in the ICU, is charted; changes of simple oxygen on
    a ward only where the ward charts.
    """
    coverage = chart.hospital.coverage
    device = chart.care_of(DEVICE)
    rows, after = changes(chart, device)
    strong = np.isin(device[rows], (IMV, NIPPV, HIGH_FLOW)) | np.isin(after, (IMV, NIPPV, HIGH_FLOW))
    heard = rng.random(len(rows)) < (0.9 if coverage.ward_respiratory > 0 else 0.03)
    rows = rows[strong | chart.in_icu[rows] | heard]
    arrived, _ = changes(chart, chart.care_of(PLACE))
    arrived = arrived[chart.care_of(PLACE)[arrived + 1] == ICU]
    interval = np.where(
        np.isin(device, (IMV, NIPPV, HIGH_FLOW)) | chart.in_icu, SUPPORT_HOURS, coverage.ward_respiratory
    )
    rounds = np.flatnonzero(every(chart, interval, rng.integers(0, 24, len(chart.stays.hours))))
    parts = [
        at_changes(chart, np.union1d(rows, arrived)),
        chart.moments(rounds, chart.round_share(rounds, rng)),
    ]
    at = Moments(*(np.concatenate(pair) for pair in zip(*parts, strict=True)))
    return at.stay, at.minute, _settings(chart, at, rng)


def _settings(chart: Chart, at: Moments, rng: np.random.Generator) -> Columns:
    """Settings and readings by device; NaN where a device has none."""
    n = len(at)
    device, lungs = at.care[:, DEVICE], at.organ(LUNGS)
    ventilated, noninvasive = device == IMV, device == NIPPV
    supported = ventilated & (at.care[:, SEDATION] <= 1)  # breathes along
    controlled = ventilated & ~supported
    by_pressure = chart.hospital.measurement.volume_mode.startswith("Pressure")
    height = chart.patients.height[chart.stays.patient[at.stay]]
    ideal = 50.0 + 0.91 * (height - 152.4) - 4.5 * chart.patients.female[chart.stays.patient[at.stay]]
    tidal = np.round(np.clip(6.8 * ideal, 250, 620) / 10.0) * 10.0
    rate = set_rate(at)
    peep = np.where(noninvasive, 6.0, end_expiratory(at))
    pressure = np.round(np.clip(8.0 + 3.0 * (lungs - 1.0), 5.0, 20.0))
    noise = rng.standard_normal((5, n))
    plateau = peep + 10.0 + 4.0 * np.maximum(lungs - 1.0, 0.0) + 1.5 * noise[0]
    observed_rate = np.where(
        controlled, rate + np.maximum(noise[1], 0.0), 18.0 + 3.5 * lungs + 3.0 * noise[1]
    )
    observed_tidal = np.clip(tidal * np.exp(np.where(controlled, 0.05, 0.16) * noise[2]), 120, 1200)
    peak = plateau + 4.0 + np.abs(2.0 * noise[3])
    fraction = inspired(at)
    nothing = np.full(n, np.nan)

    def only(mask: np.ndarray, values: np.ndarray | float, decimals: int = 0) -> np.ndarray:
        return np.where(mask, np.round(values, decimals), np.nan)

    mode = np.full(n, -1)
    mode[controlled], mode[supported] = 0, 1
    return {
        "device": device.astype(np.int64),
        "mode": mode,
        "tracheostomy": at.care[:, TRACHEOSTOMY].astype(np.int64),
        "fio2_set": np.where((device == ROOM_AIR) | (device == CANNULA), np.nan, fraction),
        "lpm_set": litres(at),
        "tidal_volume_set": only(controlled, tidal),
        "resp_rate_set": only(controlled, rate),
        "pressure_control_set": only(controlled, plateau - peep) if by_pressure else nothing,
        "pressure_support_set": only(supported | noninvasive, pressure),
        "flow_rate_set": nothing if by_pressure else only(controlled, 55.0 + 5.0 * noise[4]),
        "peak_inspiratory_pressure_set": only(noninvasive, peep + pressure),
        "inspiratory_time_set": only(controlled, np.clip(0.95 - 0.05 * (rate - 16) / 4.0, 0.6, 1.2), 2),
        "peep_set": only(ventilated | noninvasive, peep),
        "tidal_volume_obs": only(ventilated | noninvasive, observed_tidal),
        "resp_rate_obs": only(ventilated | noninvasive, np.clip(observed_rate, 6.0, 50.0)),
        "plateau_pressure_obs": only(controlled, np.clip(plateau, 8.0, 45.0)),
        "peak_inspiratory_pressure_obs": only(ventilated, np.clip(peak, 10.0, 60.0)),
        "peep_obs": only(ventilated, np.clip(peep + 0.3 * noise[4], 0.0, 24.0), 1),
        "minute_vent_obs": only(ventilated, np.clip(observed_tidal * observed_rate / 1000.0, 2.0, 30.0), 1),
        "mean_airway_pressure_obs": only(ventilated, np.clip(peep + 0.33 * (plateau - peep), 5.0, 35.0), 1),
    }


def chart_position(chart: Chart, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stay, minute, and whether prone: each turn, and every four hours at a ventilator."""
    prone = chart.care_of(PRONE) > 0
    turned, _ = changes(chart, prone)
    interval = np.where(chart.ventilated, SUPPORT_HOURS, 0.0)
    rounds = np.flatnonzero(every(chart, interval, rng.integers(0, 24, len(chart.stays.hours))))
    parts = [at_changes(chart, turned), chart.moments(rounds, rng.random(len(rounds)))]
    at = Moments(*(np.concatenate(pair) for pair in zip(*parts, strict=True)))
    return at.stay, at.minute, at.care[:, PRONE] > 0


def chart_crrt(chart: Chart, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, Columns]:
    """Stay, minute and columns of crrt_therapy: hourly while it runs."""
    rows = np.flatnonzero(chart.care_of(RENAL) > 0)
    at = chart.moments(rows, np.minimum(0.05 + 0.1 * rng.random(len(rows)), 0.99))
    at = at.where(at.care[:, RENAL] > 0)
    weight = chart.patients.weight[chart.stays.patient[at.stay]]
    dose = np.round(25.0 * weight / 2.0, -1)
    return (
        at.stay,
        at.minute,
        {
            "blood_flow_rate": np.round(
                np.clip(200.0 + 25.0 * rng.standard_normal(len(at)), 150.0, 300.0), -1
            ),
            "pre_filter_replacement_fluid_rate": dose,
            "post_filter_replacement_fluid_rate": np.full(len(at), 200.0),
            "dialysate_flow_rate": dose,
            "ultrafiltration_out": np.round(np.clip(90.0 + 70.0 * rng.standard_normal(len(at)), 0.0, 450.0)),
        },
    )
