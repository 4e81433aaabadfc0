from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ehrfm_core.synthesis.charting.chart import severity_of
from ehrfm_core.synthesis.latent.physiology import (
    CHRONIC,
    CIRCULATION,
    COMORBIDITIES,
    COUPLED_ABOVE,
    COUPLING,
    DECAY_HOURS,
    HIGHEST,
    INFLAMMATION,
    INSULT,
    LOWEST,
    LUNGS,
    N_ORGANS,
    NOISE,
    ORGANS,
    RATE,
    REASONS,
    SEVERITY,
    advance,
    chronic_level,
    severity,
)

NONE = np.zeros(N_ORGANS)
USUAL = np.ones(N_ORGANS)
STATES = st.lists(st.floats(LOWEST, HIGHEST), min_size=N_ORGANS, max_size=N_ORGANS).map(np.array)


def go_on(
    x: np.ndarray,
    *,
    hours: int,
    d: np.ndarray = NONE,
    level: np.ndarray = NONE,
    recovery: np.ndarray = USUAL,
    rng: np.random.Generator | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Dysfunction at each hour (hours + 1, 7) and the insult at the end; without `rng` without noise."""
    x, d, path = x.astype(float), d.astype(float), [x.astype(float)]
    for _ in range(hours):
        noise = NONE if rng is None else rng.standard_normal(N_ORGANS)
        advance(x, d, level, recovery, NONE, noise)
        path.append(x.copy())
    return np.array(path), d


def only(organ: int, value: float) -> np.ndarray:
    state = np.zeros(N_ORGANS)
    state[organ] = value
    return state


def test_organs_at_their_chronic_level_stay_there() -> None:
    level = chronic_level(np.array([1.0, 0, 0, 0, 0, 0, 1]), 0.5)
    assert level.max() < COUPLED_ABOVE
    path, _ = go_on(level, level=level, hours=50)
    assert np.allclose(path, level)


def test_noise_carries_them_off_and_they_come_back() -> None:
    """An Ornstein–Uhlenbeck process: mean b, variance σ² / (1 − (1 − κ)²)."""
    level = np.full(N_ORGANS, -0.2)
    path, _ = go_on(level, level=level, hours=20_000, rng=np.random.default_rng(0))
    spread = NOISE / np.sqrt(1 - (1 - RATE) ** 2)
    assert np.allclose(path.std(0), spread, rtol=0.15)
    error = spread * np.sqrt(2 / RATE / len(path))  # of the mean of a path that remembers 1 / κ hours
    assert (np.abs(path.mean(0) - level) < 4 * error).all()


@pytest.mark.parametrize("organ", range(N_ORGANS))
def test_an_insult_decays_and_the_organ_gets_worse_before_it_gets_better(organ: int) -> None:
    insult = only(organ, 0.7)
    hours = round(DECAY_HOURS[organ])
    path, left = go_on(NONE, d=insult, hours=hours)
    assert left[organ] == pytest.approx(0.7 * np.exp(-hours / DECAY_HOURS[organ]))
    path, left = go_on(NONE, d=insult, hours=1200)
    worst = path[:, organ].argmax()
    assert 2 < worst < 100
    assert 0.2 < path[worst, organ] < 0.7
    assert path[-1, organ] < 0.02
    others = np.delete(path, organ, axis=1)
    assert (others == 0).all()  # 0.7 is not yet disturbed enough to pull others down


def test_who_recovers_twice_as_fast_has_half_the_time() -> None:
    _, slow = go_on(NONE, d=only(LUNGS, 1.0), hours=40)
    _, fast = go_on(NONE, d=only(LUNGS, 1.0), hours=20, recovery=2 * USUAL)
    assert fast == pytest.approx(slow)


def test_a_new_insult_is_added_to_the_old() -> None:
    x, d = NONE.copy(), only(LUNGS, 0.5)
    advance(x, d, NONE, USUAL, only(LUNGS, 0.4), NONE)
    assert d[LUNGS] == pytest.approx(0.9 * np.exp(-1 / DECAY_HOURS[LUNGS]))
    assert x[LUNGS] == pytest.approx(0.9 * RATE[LUNGS])


def test_inflammation_pulls_the_circulation_down_once_it_is_high() -> None:
    for value, rises in ((2.5, True), (0.8, False)):
        path, _ = go_on(only(INFLAMMATION, value), hours=12)
        assert (path[:, CIRCULATION].max() > 0.15) == rises


@pytest.mark.parametrize("source", range(N_ORGANS))
def test_organs_pull_each_other_as_the_table_says(source: int) -> None:
    path, _ = go_on(only(source, 2.8), hours=1)
    pulled = np.delete(path[1] / RATE, source)
    expected = np.delete(COUPLING[:, source] * (2.8 - COUPLED_ABOVE), source)
    assert np.allclose(pulled, expected)


def test_coupling_alone_cannot_keep_a_patient_ill() -> None:
    assert np.abs(np.linalg.eigvals(COUPLING)).max() < 1
    path, _ = go_on(np.full(N_ORGANS, HIGHEST), hours=1000)
    assert path[-1].max() < 0.1


@settings(deadline=None)
@given(x=STATES, d=STATES, seed=st.integers(0, 10**6))
def test_the_state_stays_within_its_limits(x: np.ndarray, d: np.ndarray, seed: int) -> None:
    path, _ = go_on(x, d=3 * d, hours=10, rng=np.random.default_rng(seed))
    assert np.isfinite(path).all()
    assert path.min() >= LOWEST
    assert path.max() <= HIGHEST


@settings(deadline=None)
@given(x=STATES, organ=st.integers(0, N_ORGANS - 1), more=st.floats(0, 2))
def test_severity_never_falls_when_an_organ_gets_worse(x: np.ndarray, organ: int, more: float) -> None:
    assert severity(x + only(organ, more)) >= severity(x) >= 0
    assert severity(x) == pytest.approx(float(np.maximum(x, 0) @ SEVERITY))
    assert severity_of(x[None]) == pytest.approx(severity(x))


def test_chronic_disease_and_frailty_raise_the_level() -> None:
    healthy = chronic_level(np.zeros(len(COMORBIDITIES)), 0.0)
    assert (healthy == 0).all()
    for disease in range(len(COMORBIDITIES)):
        alone = chronic_level(np.eye(len(COMORBIDITIES))[disease], 0.0)
        assert np.allclose(alone, CHRONIC[disease])
        assert alone.max() > 0
    assert (chronic_level(np.zeros(len(COMORBIDITIES)), 1.0) > 0).all()


def test_tables_have_their_shapes_and_each_reason_hits_its_organ() -> None:
    assert INSULT.shape == (len(REASONS), N_ORGANS)
    assert CHRONIC.shape == (len(COMORBIDITIES), N_ORGANS)
    assert (np.diag(COUPLING) == 0).all()
    for name in ("lungs", "liver", "kidney", "brain", "bleeding"):
        assert INSULT[REASONS.index(name)].argmax() == ORGANS.index(name)
    assert INSULT[REASONS.index("infection")].argmax() == INFLAMMATION
    assert INSULT[REASONS.index("heart")].argmax() == CIRCULATION
    assert INSULT[REASONS.index("covid")].argmax() == LUNGS
