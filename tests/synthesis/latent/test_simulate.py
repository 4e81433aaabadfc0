from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from ehrfm_core.synthesis.charting.chart import severity_of
from ehrfm_core.synthesis.hospital import PARTS, Hospital, hospitals
from ehrfm_core.synthesis.latent.care import CODE, COMFORT, DO_NOT_RESUSCITATE, EVER_ICU, EVER_IMV
from ehrfm_core.synthesis.latent.physiology import COVID
from ehrfm_core.synthesis.latent.simulate import Stays
from ehrfm_core.synthesis.latent.step import (
    AGE,
    ARRIVAL,
    DEATH,
    DIED,
    FIRST_DAY,
    FRAILTY,
    HOURS_A_YEAR,
    LEFT,
    LONGEST_HOURS,
    PACE,
    PLANNED,
    REASON,
    RISKS,
    TO_ICU,
    TO_IMV,
)
from tests.synthesis.make_hospital import SIGMAS, Simulated, simulate

FIRST, SECOND = hospitals(frozenset(PARTS))


@pytest.fixture(params=["base", "shifted"])
def hospital(request: pytest.FixtureRequest) -> Simulated:
    return request.getfixturevalue(request.param)


def test_every_stay_is_whole_and_lasts_a_day_or_more(hospital: Simulated) -> None:
    stays = hospital.stays
    length = np.diff(stays.offset) - 1  # full hours, without the row after the end
    assert (length == np.ceil(stays.hours)).all()
    assert stays.hours.min() > FIRST_DAY
    assert stays.hours.max() <= LONGEST_HOURS
    assert set(stays.exit) == {DIED, LEFT}
    assert np.isfinite(stays.organs).all()
    for values in (stays.hours, stays.admission):
        assert np.allclose(values * 60, np.round(values * 60), atol=1e-4), "times are whole minutes"
    assert (stays.moment > 0).all()
    assert (stays.moment < 1).all()


def test_the_state_at_24_hours_is_that_of_its_hour(hospital: Simulated) -> None:
    stays = hospital.stays
    rows = stays.offset[:-1] + FIRST_DAY
    assert np.allclose(stays.organs[rows], stays.x, atol=1e-5)
    assert np.allclose(stays.care[rows], stays.care_then, atol=1e-5)
    for first, ever in ((stays.first_icu, EVER_ICU), (stays.first_imv, EVER_IMV)):
        early = (first >= 0) & (first < FIRST_DAY)
        assert (early == (stays.care_then[:, ever] > 0)).all()


def test_the_sicker_die_more_often(base: Simulated) -> None:
    """Over quantiles of severity at 24 h, what came and the true risk."""
    severity = severity_of(base.stays.x)
    group = np.searchsorted(np.quantile(severity, [0.5, 0.8, 0.95]), severity)
    for deaths in (base.happened[:, DEATH], base.risks[0][:, DEATH]):
        rates = [deaths[group == i].mean() for i in range(4)]
        assert rates == sorted(rates)
        assert rates[0] < 0.005
        assert 0.15 < rates[3] < 0.6
        assert rates[3] > 3 * rates[2]


@pytest.mark.parametrize("risk", [DEATH, TO_ICU, TO_IMV], ids=lambda risk: RISKS[risk])
def test_as_many_events_come_as_the_hazards_sum_to(hospital: Simulated, risk: int) -> None:
    """Events less the sum of their chances hour by hour is a martingale, of variance at most that sum."""
    expected = hospital.stays.expected[:, risk].sum()
    came = hospital.happened[:, risk].sum()
    assert expected > 50
    assert abs(came - expected) < SIGMAS * np.sqrt(expected)


def stays_in_turn(stays: Stays) -> list[tuple[int, int]]:
    """Pairs of a patient's stays that follow each other."""
    return [(i, j) for i, j in pairwise(range(len(stays.hours))) if stays.patient[i] == stays.patient[j]]


def test_a_life_goes_on_from_stay_to_stay(hospital: Simulated) -> None:
    stays = hospital.stays
    before, after = np.array(stays_in_turn(stays)).T
    assert len(before) > 500
    assert (np.diff(stays.patient) >= 0).all(), "the stays of a patient stand together"
    assert (stays.exit[before] == LEFT).all(), "nobody comes back from the dead"
    last, next_ = stays.care[stays.offset[before + 1] - 1, CODE], stays.care[stays.offset[after], CODE]
    assert (last < COMFORT).all(), "nor from a hospice"
    assert (last == DO_NOT_RESUSCITATE).sum() > 20
    assert (next_ >= last).all(), "care once limited stays so"
    away = stays.admission[after] - stays.admission[before] - stays.hours[before]
    assert away.min() > 24
    gained = stays.comorbid[after] - stays.comorbid[before]
    assert gained.min() == 0, "nobody loses a disease"
    assert 0.005 < (gained.sum(1) > 0).mean() < 0.3
    assert (stays.traits[after, FRAILTY] == stays.traits[before, FRAILTY]).all()
    years = stays.traits[after, AGE] - stays.traits[before, AGE]
    passed = (stays.admission[after] - stays.admission[before]) / HOURS_A_YEAR
    assert years.min() > 0
    assert np.abs(years - passed).max() < 2 / 365  # an admission is moved within its day


def test_the_sick_come_back_more_often(base: Simulated) -> None:
    stays = base.stays
    again = np.bincount(stays.patient, minlength=stays.patient.max() + 1) > 1
    first = np.unique(stays.patient, return_index=True)[1]
    ill = stays.comorbid[first].sum(1) >= 2
    assert again[stays.patient[first]][ill].mean() > 0.03 + again[stays.patient[first]][~ill].mean()


def test_admissions_keep_to_calendar_and_clock(hospital: Simulated) -> None:
    stays, calendar = hospital.stays, hospital.hospital.calendar
    assert stays.admission.min() >= calendar.start
    assert stays.admission.max() < calendar.start + calendar.hours + 24
    clock = stays.traits[:, ARRIVAL]
    assert np.allclose(clock, stays.admission % 24, atol=1e-6)
    planned = stays.traits[:, PLANNED] > 0
    assert ((clock[planned] >= 6) & (clock[planned] < 9)).all()
    assert ((clock[~planned] > 8) & (clock[~planned] < 20)).mean() > 0.6
    left = (clock + stays.hours)[stays.exit == LEFT] % 24
    assert ((left > 8) & (left < 22)).mean() > 0.8
    assert ((stays.traits[:, REASON] == COVID).sum() > 30) == calendar.pandemic


def test_help_at_home_shortens_the_stay(base: Simulated) -> None:
    pace, hours = base.stays.traits[:, PACE], base.stays.hours
    fast = pace > np.median(pace)
    assert np.median(hours[fast]) < 0.8 * np.median(hours[~fast])


def test_the_seed_tells_all(base: Simulated) -> None:
    one, same, other = (simulate(FIRST, 60, seed=seed) for seed in (0, 0, 1))
    for first, second in ((one.stays, same.stays), (one.patients, same.patients)):
        assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not np.array_equal(one.stays.hours, other.stays.hours)


def changed(**policy: float) -> Hospital:
    return replace(FIRST, policy=FIRST.policy._replace(**policy))


@pytest.mark.parametrize(
    ("policy", "risk", "more"),
    [
        ({"icu": 2.5}, "first_icu", True),
        ({"icu": 5.0}, "first_icu", False),
        ({"intubate": 1.8}, "first_imv", True),
        ({"discharge": 0.06}, "hours", False),
        ({"surgery_in_icu": 0.6}, "first_icu", True),
    ],
)
def test_a_policy_does_what_it_says(base: Simulated, policy: dict[str, float], risk: str, more: bool) -> None:
    found = getattr(simulate(changed(**policy), 1_500).stays, risk)
    usual = getattr(base.stays, risk)
    one, other = (
        (values.mean() / 100 if risk == "hours" else (values >= 0).mean()) for values in (found, usual)
    )
    assert (one > other + 0.02) if more else (one < other - 0.02)
