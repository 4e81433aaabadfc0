from __future__ import annotations

import numpy as np
import pytest

from ehrfm_core.synthesis.hospital import PARTS, Calendar, Population, hospitals
from ehrfm_core.synthesis.latent.patients import (
    OLDEST,
    WAVES,
    YOUNGEST,
    Patients,
    draw_patients,
    reason_of,
    wave,
)
from ehrfm_core.synthesis.latent.physiology import (
    CIRRHOSIS,
    COMORBIDITIES,
    COVID,
    DEMENTIA,
    ELECTIVE,
    HEART_FAILURE,
    REASONS,
)
from tests.synthesis.make_hospital import SIGMAS

N = 20_000
FIRST, SECOND = hospitals(frozenset(PARTS))
WELL = np.zeros(len(COMORBIDITIES))


def draw(population: Population, calendar: Calendar = FIRST.calendar) -> Patients:
    return draw_patients(np.random.default_rng(0), N, population, calendar)


def near(share: float, expected: float, n: int = N) -> bool:
    return abs(share - expected) < SIGMAS * np.sqrt(expected * (1 - expected) / n)


@pytest.mark.parametrize("hospital", [FIRST, SECOND], ids=["first", "second"])
def test_people_are_as_the_population_says(hospital: object) -> None:
    population, calendar = hospital.population, hospital.calendar
    patients = draw(population, calendar)
    assert near(patients.female.mean(), population.female)
    for race, share in enumerate(population.race / population.race.sum()):
        assert near((patients.race == race).mean(), share)
    assert patients.age.mean() == pytest.approx(population.age_mean, abs=1.5)  # the edges cost a little
    assert patients.age.min() >= YOUNGEST
    assert patients.age.max() <= OLDEST
    assert patients.first.min() >= calendar.start
    assert patients.first.max() <= calendar.start + calendar.hours
    assert patients.height[patients.female == 0].mean() > 10 + patients.height[patients.female == 1].mean()


def test_disease_comes_with_age_frailty_and_the_population() -> None:
    patients = draw(FIRST.population)
    old = patients.age > 75
    for disease in (HEART_FAILURE, DEMENTIA):
        assert patients.comorbid[old, disease].mean() > 1.5 * patients.comorbid[~old, disease].mean()
    frail = patients.frailty > 1
    assert patients.comorbid[frail].sum(1).mean() > patients.comorbid[~frail].sum(1).mean()
    more = draw(FIRST.population._replace(comorbid_shift=0.35))
    assert more.comorbid.mean() > 1.2 * patients.comorbid.mean()


def reasons(
    population: Population = FIRST.population,
    height: float = 0.0,
    age: float = 60.0,
    comorbid: np.ndarray = WELL,
) -> np.ndarray:
    """Share of each reason over evenly spread draws."""
    found = [reason_of(population, height, age, comorbid, (i + 0.5) / 2000) for i in range(2000)]
    return np.bincount(found, minlength=len(REASONS)) / 2000


@pytest.mark.parametrize("hospital", [FIRST, SECOND], ids=["first", "second"])
def test_reasons_come_in_the_shares_of_the_population(hospital: object) -> None:
    population = hospital.population
    shares = population.reason / population.reason.sum()
    assert np.abs(reasons(population) - shares).max() < 0.001


def test_what_people_have_is_what_they_come_for() -> None:
    liver = REASONS.index("liver")
    assert reasons(comorbid=np.eye(len(COMORBIDITIES))[CIRRHOSIS])[liver] > 3 * reasons()[liver]
    assert reasons(age=30.0)[REASONS.index("trauma")] > 1.5 * reasons()[REASONS.index("trauma")]


def test_the_pandemic_comes_in_waves_and_only_where_there_is_one() -> None:
    calendar = SECOND.calendar
    assert calendar.pandemic
    peak = calendar.start + 24 * WAVES[0, 0]
    assert wave(calendar, peak) > 0.9 > 0.1 > wave(calendar, calendar.start + 24 * 160)
    assert wave(FIRST.calendar, peak) == 0
    quiet, loud = reasons(height=0.0), reasons(height=1.0)
    assert quiet[COVID] == 0
    assert loud[COVID] > 0.1
    assert loud[ELECTIVE] < 0.5 * quiet[ELECTIVE]  # elective care is cut
