from __future__ import annotations

import numpy as np
import pytest

from ehrfm_core.synthesis.charting.chart import severity_of
from ehrfm_core.synthesis.latent.care import CODE, FULL
from ehrfm_core.synthesis.latent.futures import futures
from ehrfm_core.synthesis.latent.simulate import Stays
from ehrfm_core.synthesis.latent.step import DEATH, FIRST_DAY, LONG, RISKS, TO_ICU, TO_IMV
from tests.synthesis.make_hospital import DRAWS, SIGMAS, Simulated

BY_NAME = pytest.mark.parametrize("risk", range(4), ids=RISKS)


@pytest.fixture(params=["base", "shifted"])
def hospital(request: pytest.FixtureRequest) -> Simulated:
    return request.getfixturevalue(request.param)


def too_far(came: np.ndarray, risk: np.ndarray) -> float:
    """How many standard deviations what came lies from what was to come.

    Each event is a draw of its own from all that was true at 24 h. The risks are means of a few simulated
    futures, with an error of their own; where few events are expected, those that came tell the variance
    better.
    """
    drawn = float((risk * (1 - np.minimum(risk, 1))).sum()), len(came) * float(came.var())
    return float(abs(came.sum() - risk.sum())) / (max(*drawn, 1.0) * (1 + 2 / DRAWS)) ** 0.5


@BY_NAME
def test_what_comes_is_what_was_to_come(hospital: Simulated, risk: int) -> None:
    """On the whole and in each fifth; ranked by one set of futures, expected by another."""
    ranked, expected = hospital.risks[0][:, risk], hospital.other_risks[0][:, risk]
    counts = ~np.isnan(ranked)
    ranked, expected, came = ranked[counts], expected[counts], hospital.happened[counts, risk]
    assert came.sum() > 50
    assert too_far(came, expected) < SIGMAS
    for part in np.array_split(np.argsort(ranked, kind="stable"), 5):
        assert too_far(came[part], expected[part]) < SIGMAS


@BY_NAME
def test_in_both_hospitals_together_no_more_and_no_fewer(
    base: Simulated, shifted: Simulated, risk: int
) -> None:
    """With the variance that risks leave: Σ p (1 − p), and that of the simulation."""
    difference = variance = 0.0
    for hospital in (base, shifted):
        (one, error), (other, its) = hospital.risks, hospital.other_risks
        counts = ~np.isnan(one[:, risk])
        mean = (one + other)[counts, risk] / 2
        difference += hospital.happened[counts, risk].sum() - mean.sum()
        variance += (mean * (1 - mean)).sum() + (error**2 + its**2)[counts, risk].sum() / 4
    assert abs(difference) < SIGMAS * variance**0.5


@BY_NAME
def test_the_risks_tell_people_apart(base: Simulated, risk: int) -> None:
    ranked, came = base.risks[0][:, risk], base.happened[:, risk]
    counts = ~np.isnan(ranked)
    parts = np.array_split(np.argsort(ranked[counts], kind="stable"), 5)
    assert came[counts][parts[-1]].mean() > 4 * max(came[counts][parts[0]].mean(), 0.001)


def test_who_was_there_in_the_first_day_does_not_count(hospital: Simulated) -> None:
    stays = hospital.stays
    for risks, errors in (hospital.risks, hospital.other_risks):
        for risk, first in ((TO_ICU, stays.first_icu), (TO_IMV, stays.first_imv)):
            early = (first >= 0) & (first < FIRST_DAY)
            assert 50 < early.sum() < len(early) / 2
            assert (np.isnan(risks[:, risk]) == early).all()
            assert (np.isnan(errors[:, risk]) == early).all()
        assert np.isfinite(risks[:, [DEATH, LONG]]).all()
        assert np.nanmin(risks) >= 0
        assert 0.99 < risks[:, LONG].max() <= 1
        assert np.nanmax(risks) <= 1


@BY_NAME
def test_the_error_is_that_of_another_simulation(hospital: Simulated, risk: int) -> None:
    (one, error), (other, its) = hospital.risks, hospital.other_risks
    counts = ~np.isnan(one[:, risk])
    difference = (one - other)[counts, risk]
    told = (error**2 + its**2)[counts, risk]
    assert (difference**2).sum() == pytest.approx(told.sum(), rel=0.25)
    assert abs(difference.sum()) < SIGMAS * np.sqrt(told.sum())


def first(hospital: Simulated, n: int) -> Stays:
    """The first stays alone."""
    return hospital.stays._replace(hours=hospital.stays.hours[:n])


def test_more_futures_are_closer_to_the_truth(base: Simulated) -> None:
    squares = [
        (futures(np.random.default_rng(0), first(base, 300), base.hospital.policy, draws)[1][:, LONG] ** 2)
        for draws in (5, 45)
    ]
    assert squares[1].mean() == pytest.approx(squares[0].mean() / 9, rel=0.2)


def test_few_futures_have_the_mean_of_many(base: Simulated) -> None:
    """A risk may be inexact, not biased. Under a policy by which many go to the ICU, and leave soon.

    Of two futures the bounds 0 and 1 bend the mean of ICU and ventilation; of four hardly.
    """
    policy = base.hospital.policy._replace(icu=2.8, intubate=1.6, discharge=0.08)
    stays, n, times, draws = base.stays, 250, 12, 4
    again = np.arange(n).repeat(times)
    known = ("hours", "x", "d", "care_then", "traits", "comorbid")
    repeated = stays._replace(**{name: getattr(stays, name)[again] for name in known})
    many, its = futures(np.random.default_rng(1), first(base, n), policy, draws * times)
    few, error = futures(np.random.default_rng(2), repeated, policy, draws)
    difference = np.nansum(many, 0) - np.nansum(few, 0) / times
    spread = np.sqrt(np.nansum(its**2, 0) + np.nansum(error**2, 0) / times**2)
    assert (np.abs(difference) < SIGMAS * spread).all(), difference / spread


def test_an_event_counts_once_however_often_it_comes(base: Simulated) -> None:
    """Where all go to the ICU and to the ventilator, and back, again and again, the risk is still 1."""
    policy = base.hospital.policy._replace(icu=-1.0, leave_icu=6.0, intubate=-1.0)
    risks, _ = futures(np.random.default_rng(0), first(base, 200), policy, 4)
    able = base.stays.care_then[:200, CODE] == FULL
    for risk in (TO_ICU, TO_IMV):
        assert np.nanmean(risks[able, risk]) == pytest.approx(1, abs=0.2)


def test_risk_rises_with_severity_and_a_risk_of_the_icu_with_that_of_ventilation(base: Simulated) -> None:
    severity, risks = severity_of(base.stays.x), base.risks[0]
    for risk in (DEATH, LONG, TO_ICU):
        counts = ~np.isnan(risks[:, risk])
        assert np.corrcoef(severity[counts], risks[counts, risk])[0, 1] > 0.3
    both = ~np.isnan(risks[:, [TO_ICU, TO_IMV]]).any(1)
    assert (risks[both, TO_ICU] >= risks[both, TO_IMV] - 1e-9).mean() > 0.95
