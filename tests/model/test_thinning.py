"""Events leave a window whole, and nothing else does."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as some

from ehrfm_core.model.thinning import Roles, thinned
from ehrfm_core.ragged import Ragged
from ehrfm_core.tokens import vocabulary as names

CODES = ["lab/a", "lab/b", "vital/c", "assessment/d"]
VOCABULARY = names.build({*CODES, "answer/yes", "time/5m-15m"}, n_bins=4)
ROLES = Roles.of(VOCABULARY)
VALUES = [names.bin_token(0), names.bin_token(3), "answer/yes"]
EVENT = some.tuples(some.sampled_from([*CODES, names.UNK]), some.sampled_from([None, *VALUES]))
WINDOW = some.lists(EVENT, max_size=12)


def ids(events: list[tuple[str, str | None]]) -> list[int]:
    """A prefix of two tokens and the events, a time before every third."""
    found = [VOCABULARY[names.START], VOCABULARY[CODES[0]]]
    for i, (code, value) in enumerate(events):
        tokens = ["time/5m-15m"] if i % 3 == 2 else []
        tokens += [code] if value is None else [code, value]
        found += [VOCABULARY[token] for token in tokens]
    return found


def events_of(tokens: list[int]) -> list[tuple[int, ...]]:
    """The events after the prefix: a code, with its value where one follows."""
    found: list[tuple[int, ...]] = []
    for token in tokens[2:]:
        if ROLES.attached[token] and found:
            found[-1] = (*found[-1], token)
        else:
            found.append((token,))
    return found


@given(some.lists(WINDOW, min_size=1, max_size=5), some.floats(0, 0.99), some.integers(0, 99))
def test_only_whole_events_leave(
    windows: list[list[tuple[str, str | None]]], share: float, seed: int
) -> None:
    lists = [ids(events) for events in windows]
    whole = Ragged.from_lengths(np.array([i for part in lists for i in part]), np.array([*map(len, lists)]))
    part = thinned(whole, ROLES, share, prefix=2, generator=np.random.default_rng(seed))
    assert len(part) == len(whole)
    for before, after in zip(lists, (part[i].tolist() for i in range(len(part))), strict=True):
        assert after[:2] == before[:2]
        left = iter(events_of(before))
        assert all(event in left for event in events_of(after)), "in their order, and none is half"
        times = VOCABULARY["time/5m-15m"]
        assert after.count(times) == before.count(times)


def test_nothing_leaves_with_a_share_of_none() -> None:
    whole = Ragged.from_lengths(np.arange(5, 15), np.array([4, 0, 6]))
    part = thinned(whole, ROLES, 0.0, prefix=1, generator=np.random.default_rng(0))
    assert np.array_equal(part.values, whole.values)
    assert np.array_equal(part.offsets, whole.offsets)


def test_the_share_differs_between_stays_and_between_draws() -> None:
    code = VOCABULARY["lab/a"]
    whole = Ragged.from_lengths(np.full(200 * 500, code), np.full(200, 500))
    generator = np.random.default_rng(0)
    one, other = (thinned(whole, ROLES, 0.5, prefix=1, generator=generator).lengths for _ in range(2))
    left = 1 - one / 500
    assert left.min() < 0.05
    assert 0.45 < left.max() < 0.6
    assert abs(left.mean() - 0.25) < 0.03
    assert (one != other).mean() > 0.9
