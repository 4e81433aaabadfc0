from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ehrfm_core.dynamics.forward import Forward
from ehrfm_core.dynamics.later import Later, read_later
from ehrfm_core.dynamics.whole_stays import WholeStays
from ehrfm_core.ragged import Ragged
from tests.dynamics.test_states import MODEL, READOUTS, VOCABULARY, reference

HOURS = 4
MOST = 24  # tokens that the model reads at once


def stays_of(lengths: list[int], *, seed: int = 0, longest: float = 30.0, before: int = 0) -> WholeStays:
    """Stays in a row, each with `before` tokens of other stays in its sight."""
    rng = np.random.default_rng(seed)
    n = np.array(lengths)
    minutes = [np.concatenate([[0], np.sort(rng.uniform(0, 60 * longest, k - 1))]) for k in lengths]
    times = Ragged.from_lengths(np.concatenate(minutes).astype(np.float32), n)
    n_window = np.bincount(times.rows[times.values <= 60 * HOURS], minlength=len(n))
    blocks = n + before
    floor = np.cumsum(blocks) - blocks
    tokens = rng.integers(1, len(VOCABULARY), blocks.sum())
    return WholeStays(tokens, floor + before, floor, times, n_window, HOURS)


def run(whole: WholeStays, **options: int) -> Later:
    return read_later(Forward(MODEL, readouts=READOUTS), whole, **({"max_tokens": MOST} | options))


def by_hand(
    whole: WholeStays, i: int, *, most: int = MOST
) -> list[tuple[int, np.ndarray, float, float, int]]:
    """Hour, state, step, travelled and number of events, each piece read alone by the library's own way."""
    minutes, n_window, size = whole.minutes[i], int(whole.n_window[i]), most // 2
    if len(minutes) == n_window:
        return []
    found = []
    piece_of = lambda t: max(0, (t - n_window) // size)  # noqa: E731

    def piece(k: int) -> tuple[int, np.ndarray]:
        end = whole.origin[i] + min(n_window + (k + 1) * size, len(minutes))
        begin = max(whole.floor[i], whole.origin[i] + n_window + (k + 1) * size - most)
        return int(begin - whole.origin[i]), reference(whole.tokens[begin:end])

    read = {k: piece(k) for k in range(piece_of(len(minutes) - 1) + 1)}
    for hour in range(HOURS + 1, int(np.ceil(minutes[-1] / 60)) + 1):
        now, earlier = (int(np.flatnonzero(minutes <= 60 * h)[-1]) for h in (hour, hour - 1))
        shift, states = read[piece_of(now)]
        step = np.linalg.norm(states[now - shift] - states[earlier - shift]) if earlier >= shift else np.nan
        new = [t for t in range(n_window, len(minutes)) if 60 * (hour - 1) < minutes[t] <= 60 * hour]
        jumps = 0.0
        for t in new:
            shift, own = read[piece_of(t)]
            jumps += float(np.linalg.norm(own[t - shift] - own[t - shift - 1]))
        found.append((hour, states[now - read[piece_of(now)][0]], float(step), jumps, len(new)))
    return found


@pytest.mark.parametrize("before", [0, 9])
@pytest.mark.parametrize("pack_tokens", [1, 70, 10_000])
def test_every_hour_equals_an_independent_computation(before: int, pack_tokens: int) -> None:
    whole = stays_of([90, 2, 17, 40, 61], before=before)
    later = run(whole, pack_tokens=pack_tokens)
    wanted = [(i, *row) for i in range(len(whole)) for row in by_hand(whole, i)]
    assert list(zip(later.stay.tolist(), later.hour.tolist(), strict=True)) == [row[:2] for row in wanted]
    states = np.array([row[2] for row in wanted])
    assert np.allclose(later.states, states, atol=2e-3)
    assert np.allclose(later.step, [row[3] for row in wanted], rtol=1e-3, atol=1e-4, equal_nan=True)
    assert np.allclose(later.travelled, [row[4] for row in wanted], rtol=1e-4, atol=1e-4)
    assert later.n_events.tolist() == [row[5] for row in wanted]
    assert np.allclose(later.risks, states @ READOUTS.weight + READOUTS.bias, atol=5e-3)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=5), st.integers(0, 99), st.integers(2, 30))
def test_every_token_after_the_window_is_counted_once(lengths: list[int], seed: int, most: int) -> None:
    whole = stays_of(lengths, seed=seed)
    later = run(whole, max_tokens=most)
    counted = np.bincount(later.stay, weights=later.n_events, minlength=len(whole))
    assert counted.tolist() == whole.rest.tolist()
    assert np.isfinite(later.states).all()
    assert np.isfinite(later.travelled).all()


def test_what_happens_later_changes_nothing_before() -> None:
    """Whether a stay is cut short or goes on, an hour is the same: pieces begin where the window ends."""
    whole = stays_of([90])
    keep = 60
    short = WholeStays(
        whole.tokens,
        whole.origin,
        whole.floor,
        Ragged.from_lengths(whole.minutes.values[:keep], np.array([keep])),
        whole.n_window,
        HOURS,
    )
    all_of_it, part = run(whole), run(short)
    same = all_of_it.hour < part.hour[-1]
    assert same.sum() > 5
    assert np.allclose(part.states[:-1], all_of_it.states[same], atol=2e-3)


def test_stays_that_end_with_their_window_have_no_hour() -> None:
    whole = stays_of([5, 9], longest=HOURS - 1)
    later = run(whole)
    assert len(later.hour) == 0
    assert later.states.shape == (0, MODEL.config.hidden_size)
