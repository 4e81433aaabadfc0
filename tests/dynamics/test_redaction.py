from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehrfm_core.dynamics.redaction import event_begins, redact
from ehrfm_core.ragged import Ragged

VOCABULARY = {"TL_START": 0, "sex/male": 1, "Q0": 2, "Q1": 3, "lab/a": 4, "lab/b": 5, "location/icu": 6}
PREFIX = 2


def one_stay() -> tuple[Ragged, Ragged, Ragged]:
    """Three events: a=Q0 (3 nats), icu (5), b=Q1 (2)."""
    tokens = Ragged.from_lengths(np.array([0, 1, 4, 2, 6, 5, 3]), np.array([7]))
    minutes = Ragged(np.array([0, 0, 5, 5, 6, 7, 7], dtype=np.float32), tokens.offsets)
    information = Ragged(np.array([np.nan, 9, 1, 2, 5, 1.5, 0.5], dtype=np.float32), tokens.offsets)
    return tokens, minutes, information


def without(*lists: Ragged, share: float, dropped: str, seed: int = 0) -> tuple[Ragged, Ragged]:
    begins = event_begins(lists[0], VOCABULARY, prefix=PREFIX)
    how: Any = dropped
    return redact(*lists, begins, share=share, dropped=how, seed=seed, prefix=PREFIX)


@pytest.mark.parametrize(
    ("dropped", "share", "left"),
    [
        ("most", 0.34, [0, 1, 4, 2, 5, 3]),
        ("least", 0.34, [0, 1, 4, 2, 6]),
        ("most", 0.67, [0, 1, 5, 3]),
        ("least", 0.2, [0, 1, 4, 2, 6, 5, 3]),
    ],
)
def test_whole_events_go_by_their_information(dropped: str, share: float, left: list[int]) -> None:
    tokens, minutes, information = one_stay()
    kept, times = without(tokens, minutes, information, share=share, dropped=dropped)
    assert kept.values.tolist() == left
    assert len(times.values) == len(left)


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=6),
    st.floats(0, 0.99),
    st.sampled_from(["most", "least", "random"]),
    st.integers(0, 99),
)
def test_a_share_of_each_stay_goes_and_the_prefix_stays(
    events: list[int], share: float, dropped: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    lists = []
    for n in events:
        kinds = [[6], [4, int(rng.integers(2, 4))]]
        lists.append([0, 1, *(token for _ in range(n) for token in kinds[rng.integers(2)])])
    tokens = Ragged.from_lengths(np.concatenate(lists).astype(np.int64), np.array([len(x) for x in lists]))
    minutes = Ragged(tokens.positions.astype(np.float32), tokens.offsets)
    information = Ragged(rng.random(len(tokens.values)).astype(np.float32), tokens.offsets)
    begins = event_begins(tokens, VOCABULARY, prefix=PREFIX)
    assert np.bincount(tokens.rows[begins], minlength=len(events)).tolist() == events
    kept, times = without(tokens, minutes, information, share=share, dropped=dropped, seed=seed)
    left = event_begins(kept, VOCABULARY, prefix=PREFIX)
    for i, n in enumerate(events):
        assert kept[i][:2].tolist() == [0, 1]
        assert left[kept.offsets[i] : kept.offsets[i + 1]].sum() == n - int(share * n + 1e-9)
        places = times[i].astype(int)
        assert np.array_equal(tokens[i][places], kept[i]), "what is left is in its place"
