from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from ehrfm_core.synthesis.charting.breathing import (
    SUPPORT_HOURS,
    Columns,
    chart_crrt,
    chart_position,
    chart_support,
)
from ehrfm_core.synthesis.charting.chart import Chart
from ehrfm_core.synthesis.hospital import SITES
from ehrfm_core.synthesis.latent.care import DEVICE, DEVICES, HIGH_FLOW, IMV, NIPPV, PRONE, RENAL, ROOM_AIR
from ehrfm_core.synthesis.latent.physiology import LUNGS
from tests.synthesis.make_hospital import ID, Simulated, Written

BY_SITE = pytest.mark.parametrize("site", SITES)
Support = tuple[Chart, np.ndarray, np.ndarray, Columns]


@pytest.fixture(scope="module", params=["base", "shifted"])
def support(request: pytest.FixtureRequest) -> Support:
    """Chart, stay, minute and columns of the support of a hospital."""
    chart = request.getfixturevalue(request.param).chart
    return chart, *chart_support(chart, np.random.default_rng(0))


def care_at(chart: Chart, stay: np.ndarray, minute: np.ndarray, part: int) -> np.ndarray:
    """A part of the care at minutes of stays, from the hours and the moments in which it changes."""
    stays = chart.stays
    row = stays.offset[stay] + minute // 60
    changed = minute % 60 >= np.round(stays.moment[row] * 60)
    return stays.care[row + changed, part]


def first_minute(chart: Chart, stay: np.ndarray, minute: np.ndarray) -> np.ndarray:
    """Earliest minute of each stay of the chart; −1 where there is none."""
    found = np.full(len(chart.stays.hours), 10**9)
    np.minimum.at(found, stay, minute)
    return np.where(found < 10**9, found, -1)


def test_an_intubation_is_charted_in_its_minute(support: Support) -> None:
    chart, stay, minute, columns = support
    ventilated = columns["device"] == IMV
    charted = first_minute(chart, stay[ventilated], minute[ventilated])
    true = np.where(chart.stays.first_imv >= 0, np.round(chart.stays.first_imv * 60), -1)
    assert (true >= 0).sum() > 200
    assert (charted == true).all()


def test_the_device_charted_is_the_one_in_use(support: Support) -> None:
    chart, stay, minute, columns = support
    assert (columns["device"] == care_at(chart, stay, minute, DEVICE)).all()
    assert (minute >= 0).all()
    assert (minute < chart.minutes[stay]).all()
    assert set(columns["device"]) == set(range(len(DEVICES)))


def test_the_end_of_ventilation_is_charted_too(support: Support) -> None:
    chart, stay, minute, columns = support
    device = chart.care_of(DEVICE)
    off = np.flatnonzero((chart.stay[1:] == chart.stay[:-1]) & (device[:-1] == IMV) & (device[1:] != IMV))
    assert len(off) > 100
    when = chart.hour[off] * 60 + np.round(chart.stays.moment[chart.row[off]] * 60)
    known = set(zip(stay[columns["device"] != IMV], minute[columns["device"] != IMV], strict=True))
    assert known >= set(zip(chart.stay[off], when, strict=True))


def test_who_is_ventilated_is_charted_every_four_hours(support: Support) -> None:
    _, stay, minute, columns = support
    ventilated = columns["device"] == IMV
    order = np.lexsort((minute, stay))
    stay, minute, ventilated = stay[order], minute[order], ventilated[order]
    both = (stay[1:] == stay[:-1]) & ventilated[1:] & ventilated[:-1]
    assert both.sum() > 5000
    gap = np.diff(minute)[both]
    assert gap.max() < (SUPPORT_HOURS + 1) * 60
    assert np.median(gap) > (SUPPORT_HOURS - 1) * 60


def test_settings_are_those_of_the_device(support: Support) -> None:
    chart, _, _, columns = support
    device = columns["device"]
    filled = {name: np.isfinite(values) for name, values in columns.items() if values.dtype.kind == "f"}
    ventilated, pressure = device == IMV, np.isin(device, (IMV, NIPPV))
    assert (filled["peep_set"] == pressure).all()
    assert (filled["tidal_volume_obs"] == pressure).all()
    for name in ("peep_obs", "peak_inspiratory_pressure_obs", "minute_vent_obs", "mean_airway_pressure_obs"):
        assert (filled[name] == ventilated).all()
    assert not filled["fio2_set"][device == ROOM_AIR].any()
    assert filled["fio2_set"][pressure | (device == HIGH_FLOW)].all()
    assert filled["lpm_set"][device == HIGH_FLOW].all()
    assert not filled["lpm_set"][ventilated].any()
    assert ((columns["mode"] >= 0) == ventilated).all()
    controlled = columns["mode"] == 0
    assert 0.2 < controlled[ventilated].mean() < 0.9
    for name in ("tidal_volume_set", "resp_rate_set", "plateau_pressure_obs"):
        assert (filled[name] == controlled).all()
    by_pressure = chart.hospital.measurement.volume_mode.startswith("Pressure")
    assert (filled["pressure_control_set"] == (controlled & by_pressure)).all()
    assert (filled["flow_rate_set"] == (controlled & (not by_pressure))).all()


def test_numbers_are_those_of_a_ventilator(support: Support) -> None:
    chart, stay, _, columns = support
    for name, (low, high) in {
        "fio2_set": (0.21, 1.0),
        "lpm_set": (1, 60),
        "peep_set": (5, 18),
        "tidal_volume_set": (250, 620),
        "resp_rate_set": (10, 34),
        "resp_rate_obs": (6, 50),
        "plateau_pressure_obs": (8, 45),
        "peak_inspiratory_pressure_obs": (10, 60),
        "minute_vent_obs": (2, 30),
    }.items():
        values = columns[name][np.isfinite(columns[name])]
        assert values.min() >= low, name
        assert values.max() <= high, name
    ventilated = columns["device"] == IMV
    product = (columns["tidal_volume_obs"] * columns["resp_rate_obs"] / 1000)[ventilated]
    assert np.median(np.abs(product - columns["minute_vent_obs"][ventilated])) < 0.3
    assert (columns["plateau_pressure_obs"] > columns["peep_set"])[columns["mode"] == 0].mean() > 0.99
    tall = chart.patients.height[chart.stays.patient[stay]] > 175
    volume = columns["tidal_volume_set"]
    assert np.nanmean(volume[tall]) > np.nanmean(volume[~tall]) + 50


def test_worse_lungs_get_more_pressure_and_oxygen(support: Support) -> None:
    chart, stay, minute, columns = support
    ventilated = columns["device"] == IMV
    lungs = chart.stays.organs[chart.stays.offset[stay] + minute // 60, LUNGS][ventilated]
    for name, least in (("peep_set", 0.85), ("fio2_set", 0.85), ("peak_inspiratory_pressure_obs", 0.5)):
        assert np.corrcoef(lungs, columns[name][ventilated])[0, 1] > least


@BY_SITE
def test_wards_chart_simple_oxygen_only_where_they_chart(written: Written, site: str) -> None:
    rows = written.beside_truth(site, "respiratory_support").filter(pl.col("place") == "ward")
    rows = rows.filter(pl.col("device_category").is_in(["Room Air", "Nasal Cannula", "Face Mask"]))
    stays = written.truth(site, "hours").filter(pl.col("place") == "ward")[ID].n_unique()
    share = rows[ID].n_unique() / stays
    assert (share < 0.3) if site == "mimic" else (share > 0.95)


@BY_SITE
def test_every_ventilated_stay_has_rows_and_no_other_stay(written: Written, site: str) -> None:
    rows = written.table(site, "respiratory_support").filter(pl.col("device_category") == "IMV")
    truth = written.truth(site, "stays").filter("happened_imv")
    assert set(rows[ID]) == set(truth[ID])


@BY_SITE
def test_no_row_of_a_ventilator_outside_ventilated_hours(written: Written, site: str) -> None:
    """An hour counts where the ventilator ran at its begin or at its end."""
    hours = written.truth(site, "hours").select(ID, "hour", (pl.col("device") == "IMV").alias("on"))
    either = hours.join(hours.with_columns(pl.col("hour") - 1), on=[ID, "hour"], suffix="_after", how="left")
    rows = written.beside_truth(site, "respiratory_support").join(either, on=[ID, "hour"])
    ventilated = rows.filter(pl.col("device_category") == "IMV")
    assert ventilated.height > 3000
    assert ventilated.select((pl.col("on") | pl.col("on_after").fill_null(value=False)).all()).item()


def test_turns_are_charted_and_position_is_looked_after(support: Support) -> None:
    chart = support[0]
    stay, minute, prone = chart_position(chart, np.random.default_rng(0))
    assert (prone == (care_at(chart, stay, minute, PRONE) > 0)).all()
    ventilated = set(chart.stay[chart.ventilated | (chart.care_of(PRONE) > 0)])
    assert set(stay) <= ventilated
    assert len(set(stay)) > 0.95 * len(ventilated)  # a few hours at a ventilator may see no round
    assert set(stay[prone]) == set(chart.stay[chart.care_of(PRONE) > 0])
    assert 0.001 < prone.mean() < 0.3


def test_crrt_is_charted_while_it_runs(support: Support) -> None:
    chart = support[0]
    stay, minute, columns = chart_crrt(chart, np.random.default_rng(0))
    assert (care_at(chart, stay, minute, RENAL) > 0).all()
    running = chart.care_of(RENAL) > 0
    assert 0.9 * running.sum() < len(stay) <= running.sum()
    assert set(stay) <= set(chart.stay[running])
    for values in columns.values():
        assert values.min() >= 0
    assert 150 <= columns["blood_flow_rate"].min() <= columns["blood_flow_rate"].max() <= 300


def test_position_and_crrt_tables(written: Written) -> None:
    for site in SITES:
        assert set(written.table(site, "position")["position_category"]) == {"prone", "not_prone"}
        ventilated = written.truth(site, "stays").filter("happened_imv")
        assert set(written.table(site, "position")[ID]) <= set(ventilated[ID])
        crrt = written.table(site, "crrt_therapy")
        icu = written.truth(site, "stays").filter("happened_icu")
        assert set(crrt[ID]) <= set(icu[ID])


def test_proning_is_rarer_in_the_first_hospital(base: Simulated, shifted: Simulated) -> None:
    shares = [
        (hospital.chart.care_of(PRONE) > 0).sum() / hospital.chart.ventilated.sum()
        for hospital in (base, shifted)
    ]
    assert 0 < shares[0] < shares[1]
