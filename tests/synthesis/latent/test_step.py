from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from ehrfm_core.synthesis.hospital import Policy
from ehrfm_core.synthesis.latent import care as c
from ehrfm_core.synthesis.latent.physiology import (
    BRAIN,
    CIRCULATION,
    COVID,
    HIGHEST,
    INFLAMMATION,
    LUNGS,
    N_ORGANS,
    REASONS,
)
from ehrfm_core.synthesis.latent.step import (
    AGE,
    DEATH,
    DIED,
    LEAVING,
    LEFT,
    N_CARE,
    N_TRAITS,
    PACE,
    REASON,
    RECOVERY,
    STAYING,
    TO_ICU,
    TO_IMV,
    step,
)
from tests.synthesis.make_hospital import SIGMAS

POLICY = Policy()
NEVER = Policy(antibiotic_delay=1e12)


@dataclass
class Patient:
    """Somebody of 60 without disease on a ward."""

    x: np.ndarray = field(default_factory=lambda: np.zeros(N_ORGANS))
    d: np.ndarray = field(default_factory=lambda: np.zeros(N_ORGANS))
    care: np.ndarray = field(default_factory=lambda: np.zeros(N_CARE))
    traits: np.ndarray = field(default_factory=lambda: np.zeros(N_TRAITS))
    chances: np.ndarray = field(default_factory=lambda: np.full(5, np.nan))

    def __post_init__(self) -> None:
        self.care[c.PLACE] = self.care[c.WARD_KIND] = c.WARD
        self.traits[AGE], self.traits[RECOVERY], self.traits[PACE] = 60.0, 1.0, 1.0
        self.traits[REASON] = REASONS.index("general")

    def step(
        self, rng: np.random.Generator, hour: int, policy: Policy = POLICY, *, kept: bool = False
    ) -> int:
        level, comorbid = np.zeros(N_ORGANS), np.zeros(N_ORGANS)
        return step(
            rng, self.x, self.d, self.care, level, comorbid, self.traits, hour, policy, self.chances, kept
        )


def infected(hours: int, *, policy: Policy, seed: int, antibiotic: bool) -> float:
    """Mean inflammation from the second day on of somebody with a severe infection."""
    one, rng = Patient(), np.random.default_rng(seed)
    one.x[INFLAMMATION] = one.d[INFLAMMATION] = 1.6
    one.care[c.ANTIBIOTIC] = float(antibiotic)
    path = []
    for _ in range(hours):
        one.step(rng, 0, policy)  # at hour 0 nobody leaves
        path.append(one.x[INFLAMMATION])
    return float(np.mean(path[24:]))


def test_antibiotics_shorten_an_infection() -> None:
    found = [
        [infected(72, policy=NEVER, seed=seed, antibiotic=given) for given in (True, False)]
        for seed in range(25)
    ]
    treated, untreated = np.array(found).T
    assert treated.mean() < 0.8 * untreated.mean()
    assert (treated < untreated).mean() > 0.8


def test_who_gets_them_late_is_ill_for_longer() -> None:
    early, late = (
        np.mean(
            [infected(60, policy=Policy(antibiotic_delay=h), seed=s, antibiotic=False) for s in range(25)]
        )
        for h in (1.0, 48.0)
    )
    assert early < late


@pytest.mark.parametrize(
    ("organ", "part", "value", "reason"),
    [
        (CIRCULATION, c.NOREPINEPHRINE, 0.1, "general"),
        (LUNGS, c.PRONE, 16.0, "general"),
        (LUNGS, c.STEROID, c.STEROID_HOURS, "covid"),
    ],
)
def test_pressors_proning_and_steroids_in_covid_help(
    organ: int, part: int, value: float, reason: str
) -> None:
    """What is left of the insult after an hour: without a pressor also somebody on a ward."""
    left = np.zeros((40, 2))
    for seed in range(len(left)):
        for which, given in enumerate((value, 0.0)):
            one = Patient()
            one.traits[REASON] = REASONS.index(reason)
            one.x[organ], one.d[organ] = 2.0, 2.0
            if given or organ != CIRCULATION:
                one.care[c.PLACE], one.care[c.DEVICE], one.care[part] = c.ICU, c.IMV, given
            one.step(np.random.default_rng(seed), 0)
            left[seed, which] = one.d[organ]
    treated, untreated = np.median(left, axis=0)
    assert treated < untreated - 0.003


def test_lungs_of_covid_heal_slowly() -> None:
    left = []
    for reason in ("covid", "lungs"):
        one = Patient()
        one.traits[REASON] = REASONS.index(reason)
        one.d[LUNGS] = 1.0
        one.step(np.random.default_rng(0), 0)
        left.append(one.d[LUNGS])
    assert REASONS[COVID] == "covid"
    assert 1 - left[0] < 0.6 * (1 - left[1])


@pytest.mark.parametrize("hour", [0, 12, 23])
def test_nobody_dies_or_leaves_in_the_first_day(hour: int) -> None:
    rng = np.random.default_rng(hour)
    for x in (np.full(N_ORGANS, HIGHEST), np.zeros(N_ORGANS)):
        for code in (c.FULL, c.COMFORT):
            for _ in range(50):
                one = Patient(x.copy())
                one.care[c.CODE], one.traits[PACE] = code, 100.0
                assert one.step(rng, hour) == STAYING
                assert one.chances[DEATH] == 0


def test_afterwards_they_do() -> None:
    rng = np.random.default_rng(0)
    ended = {Patient(np.full(N_ORGANS, value)).step(rng, 24) for value in (0.0, 5.0) for _ in range(2000)}
    assert ended == {STAYING, DIED, LEFT}


def test_who_is_kept_neither_dies_nor_leaves_and_is_told_how_likely_it_was() -> None:
    rng = np.random.default_rng(0)
    told = np.zeros(5)
    for value in (0.0, 5.0):
        for _ in range(500):
            one = Patient(np.full(N_ORGANS, value))
            assert one.step(rng, 40, kept=True) == STAYING
            told = np.maximum(told, one.chances)
    assert told[DEATH] > 0.01
    assert told[LEAVING] > 0.01


def test_people_leave_as_often_as_it_is_said() -> None:
    rng, n = np.random.default_rng(0), 4000
    left = told = 0.0
    for _ in range(n):
        one = Patient()
        left += one.step(rng, 40) == LEFT
        told += one.chances[LEAVING]
    assert told > 40
    assert abs(left - told) < SIGMAS * np.sqrt(told)


def test_steroids_are_a_course_that_ends_and_is_not_begun_again() -> None:
    one, rng = Patient(), np.random.default_rng(0)
    one.traits[REASON] = COVID
    course = []
    for _ in range(600):
        one.x[LUNGS], one.care[c.DEVICE] = 1.0, c.CANNULA
        one.step(rng, 0)
        course.append(one.care[c.STEROID] > 1)
    assert sum(course) == pytest.approx(c.STEROID_HOURS, abs=2)
    assert np.abs(np.diff(np.array(course, dtype=int))).sum() == 2


def very_ill(code: int = c.FULL) -> Patient:
    one = Patient()
    one.x[[CIRCULATION, LUNGS, BRAIN]] = 2.6, 2.5, 2.0
    one.traits[AGE], one.care[c.CODE] = 90.0, code
    return one


@pytest.mark.parametrize(
    ("code", "events"), [(c.FULL, (TO_ICU, TO_IMV)), (c.DO_NOT_RESUSCITATE, (TO_ICU,)), (c.COMFORT, (DEATH,))]
)
def test_what_happens_is_as_frequent_as_it_is_said_to_be(code: int, events: tuple[int, ...]) -> None:
    """From one state, many times over: deaths, intubations and moves to the ICU against their chances."""
    rng, n = np.random.default_rng(0), 3000
    came, told = np.zeros(4), np.zeros(4)
    for _ in range(n):
        one = very_ill(code)
        died = one.step(rng, 30) == DIED
        came += died, 0, one.care[c.EVER_ICU] > 0, one.care[c.EVER_IMV] > 0
        told[[DEATH, TO_ICU, TO_IMV]] = one.chances[[DEATH, TO_ICU, TO_IMV]]
    assert all(n * told[event] > 50 for event in events)
    assert (np.abs(came - n * told) <= SIGMAS * np.sqrt(n * told * (1 - told))).all()


def test_chances_where_an_event_cannot_happen_are_zero() -> None:
    rng = np.random.default_rng(0)
    one = very_ill()
    one.step(rng, 30)
    assert 0 < one.chances[TO_IMV] < one.chances[TO_ICU] < 1  # who is intubated is in the ICU then

    there = very_ill()
    there.care[c.PLACE] = c.ICU
    there.step(rng, 30)
    assert there.chances[TO_ICU] == 0 < there.chances[TO_IMV]

    ventilated = very_ill()
    ventilated.care[c.PLACE], ventilated.care[c.DEVICE] = c.ICU, c.IMV
    ventilated.step(rng, 30)
    assert ventilated.chances[TO_IMV] == ventilated.chances[TO_ICU] == 0

    comfort = very_ill(c.COMFORT)
    comfort.step(rng, 30)
    assert comfort.chances[TO_IMV] == comfort.chances[TO_ICU] == 0 < comfort.chances[DEATH]
