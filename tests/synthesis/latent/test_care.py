from __future__ import annotations

import numpy as np
import pytest

from ehrfm_core.synthesis.hospital import Policy
from ehrfm_core.synthesis.latent import care as c
from ehrfm_core.synthesis.latent.physiology import LUNGS, N_ORGANS
from ehrfm_core.synthesis.latent.step import N_CARE
from tests.synthesis.make_hospital import Simulated

POLICY = Policy()


def care(**parts: float) -> np.ndarray:
    values = np.zeros(N_CARE)
    for name, value in {"place": c.WARD, **parts}.items():
        values[c.CARE.index(name)] = value
    return values


def test_death_comes_with_severity_age_and_frailty() -> None:
    by_severity = [c.p_death(care(), s, 60.0, 0.0) for s in (0.0, 2.0, 4.0, 6.0)]
    assert by_severity == sorted(by_severity)
    assert by_severity[-1] > 20 * by_severity[0] > 0
    assert c.p_death(care(), 3.0, 80.0, 0.0) > c.p_death(care(), 3.0, 40.0, 0.0)
    assert c.p_death(care(), 3.0, 60.0, 1.0) > c.p_death(care(), 3.0, 60.0, 0.0)
    assert c.p_death(care(code=c.COMFORT), 3.0, 60.0, 0.0) > 10 * c.p_death(care(), 3.0, 60.0, 0.0)


def test_the_policy_sets_who_goes_to_the_icu_and_who_is_intubated() -> None:
    x = np.full(N_ORGANS, 1.0)
    chances = [c.p_icu(x, care(), s, POLICY) for s in (1.0, 3.0, 3.75, 5.0)]
    assert chances == sorted(chances)
    assert chances[0] < 0.001 < 0.1 < chances[-1]
    assert c.p_icu(x, care(), 3.5, Policy(icu=3.2)) > c.p_icu(x, care(), 3.5, Policy(icu=3.9))
    x[LUNGS] = 2.4
    assert c.p_intubation(x, care(), Policy(intubate=2.2), 0.0) > c.p_intubation(x, care(), POLICY, 0.0)
    assert c.p_intubation(x, care(), POLICY, -0.35) > c.p_intubation(x, care(), POLICY, 0.0)
    assert c.p_intubation(x, care(tracheostomy=1.0), POLICY, 0.0) > 0  # back to the ventilator
    for kept in (care(code=c.DO_NOT_RESUSCITATE), care(code=c.COMFORT)):
        assert c.p_intubation(x, kept, POLICY, 0.0) == 0
    assert c.p_icu(x, care(code=c.COMFORT), 9.0, POLICY) == 0


def test_the_well_leave_by_day_and_nobody_leaves_a_ventilator() -> None:
    leave = [c.p_discharge(care(), acute, 15.0, 1.0, POLICY) for acute in (0.0, 0.5, 1.0, 2.0)]
    assert leave == sorted(leave, reverse=True)
    assert leave[-1] < 0.1 * leave[0]
    assert c.p_discharge(care(), 0.0, 3.0, 1.0, POLICY) < 0.1 * leave[0]
    for kept in (care(place=c.ICU), care(device=c.IMV), care(device=c.HIGH_FLOW), care(renal=1.0)):
        assert c.p_discharge(kept, 0.0, 15.0, 1.0, POLICY) == 0


def test_a_day_averages_about_a_half_and_is_busiest_in_the_afternoon() -> None:
    day = [c.daytime(float(hour)) for hour in range(24)]
    assert np.mean(day) == pytest.approx(0.5, abs=0.06)
    assert (int(np.argmax(day)), int(np.argmin(day))) == (15, 3)


@pytest.fixture(params=["base", "shifted"])
def hospital(request: pytest.FixtureRequest) -> Simulated:
    return request.getfixturevalue(request.param)


def test_care_hangs_together(hospital: Simulated) -> None:
    rows = hospital.chart.row
    care = hospital.stays.care[rows].T
    icu, ventilated = care[c.PLACE] == c.ICU, care[c.DEVICE] == c.IMV
    assert ventilated.sum() > 1000
    comfort = care[c.CODE] == c.COMFORT
    assert icu[ventilated].all(), "a ventilator stands in the ICU"
    for part in (c.NOREPINEPHRINE, c.VASOPRESSIN, c.RENAL):
        assert (care[part] > 0).sum() > 100
        assert icu[care[part] > 0].all()
    assert ((care[c.SEDATION] > 0) == ventilated).all()
    assert (care[c.PRONE] > 0).sum() > 100
    assert ventilated[care[c.PRONE] > 0].mean() > 0.99
    assert comfort[ventilated].mean() < 0.02
    assert (care[c.DEVICE][(care[c.TRACHEOSTOMY] > 0) & ~ventilated] == c.COLLAR).mean() > 0.9


def test_goals_of_care_only_move_towards_comfort(hospital: Simulated) -> None:
    chart = hospital.chart
    code, same = chart.care_of(c.CODE), chart.stay[1:] == chart.stay[:-1]
    change = np.diff(code)[same]
    assert (change >= 0).all()
    assert (change > 0).sum() > 20


def test_once_in_the_icu_or_ventilated_is_remembered(hospital: Simulated) -> None:
    chart, stays = hospital.chart, hospital.stays
    begins = np.flatnonzero(chart.hour == 0)
    for now, ever, first in (
        (chart.in_icu, c.EVER_ICU, stays.first_icu),
        (chart.ventilated, c.EVER_IMV, stays.first_imv),
    ):
        reached = np.logical_or.reduceat(now, begins)
        assert (reached == (first >= 0)).all()
        assert (chart.care_of(ever)[now] == 1).all()
        when = np.where(now, chart.hour, 10**6)
        when = np.minimum.reduceat(when, begins)[reached]
        assert (np.ceil(first[reached]) == when).all()  # the hour after it happened begins there


def test_comfort_care_is_that(hospital: Simulated) -> None:
    """An hour after the decision nothing is left of what keeps alive; the tube soon follows."""
    chart = hospital.chart
    comfort = chart.care_of(c.CODE) == c.COMFORT
    later = comfort & np.r_[False, comfort[:-1] & (chart.stay[1:] == chart.stay[:-1])]
    assert later.sum() > 300
    for part in (c.NOREPINEPHRINE, c.VASOPRESSIN, c.RENAL, c.ANTIBIOTIC):
        assert (chart.care_of(part)[later] == 0).all()
    assert chart.ventilated[later].mean() < 0.1
    assert (chart.care_of(c.DEVICE)[later & ~chart.ventilated] <= c.COLLAR).all()


def test_nobody_with_failing_lungs_is_left_on_room_air(hospital: Simulated) -> None:
    chart = hospital.chart
    lungs = hospital.stays.organs[chart.row, LUNGS]
    ill = (lungs > 1.2) & (chart.hour > 1) & (chart.care_of(c.CODE) != c.COMFORT)
    assert ill.sum() > 5000
    assert (chart.care_of(c.DEVICE)[ill] == c.ROOM_AIR).mean() < 0.001


def test_the_sicker_get_the_stronger_oxygen(hospital: Simulated) -> None:
    chart = hospital.chart
    lungs, device = hospital.stays.organs[chart.row, LUNGS], chart.care_of(c.DEVICE)
    means = [lungs[device == kind].mean() for kind in (c.ROOM_AIR, c.CANNULA, c.MASK, c.HIGH_FLOW)]
    assert means == sorted(means)
    assert means[-1] > means[0] + 1
