from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import StratifiedTable

from ehrfm_core.evaluation.metrics import roc_auc
from ehrfm_core.evaluation.stratified import (
    MOST_STRATA,
    STAYS_A_STRATUM,
    StratifiedRanking,
    mantel_haenszel,
    strata_of,
)


def case(n: int, seed: int, strata: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, scores with ties, and strata, some of them of one class."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, strata, n)
    return rng.random(n) < 0.15 + 0.2 * group, rng.integers(0, 6, n).astype(float), group


def area_of_pairs(labels: np.ndarray, scores: np.ndarray, strata: np.ndarray, weights: np.ndarray) -> float:
    """Janes and Pepe's area as the mean placement of the events, pair by pair."""
    placements, events = 0.0, 0.0
    for i in np.flatnonzero(labels & (weights > 0)):
        others = ~labels & (strata == strata[i]) & (weights > 0)
        if others.any():
            wins = (scores[i] > scores[others]) + 0.5 * (scores[i] == scores[others])
            placements += weights[i] * np.average(wins, weights=weights[others])
            events += weights[i]
    return placements / events if events else np.nan


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 60))
def test_the_area_is_the_mean_placement_among_stays_of_the_stratum(seed: int, n: int) -> None:
    labels, scores, strata = case(n, seed)
    weights = np.random.default_rng(seed + 1).integers(0, 4, (3, n)).astype(float)
    got = StratifiedRanking.of(labels, scores, strata).roc_auc(weights)
    expected = [area_of_pairs(labels, scores, strata, row) for row in weights]
    assert np.allclose(got, expected, equal_nan=True)


def test_one_stratum_gives_the_common_area() -> None:
    labels, scores, _ = case(200, 3)
    one = StratifiedRanking.of(labels, scores, np.zeros(200, dtype=int))
    assert one.roc_auc(np.ones((1, 200))) == pytest.approx(roc_auc(labels, scores))


def test_a_score_that_only_follows_the_covariate_falls_to_a_half() -> None:
    rng = np.random.default_rng(0)
    tokens = rng.lognormal(5, 1, 20_000)
    labels = rng.random(20_000) < 1 / (1 + np.exp(7 - np.log(tokens)))
    charting = tokens * rng.lognormal(0, 0.3, 20_000)
    signal = charting * np.where(labels, 1.5, 1)
    strata, ones = strata_of(tokens), np.ones((1, 20_000))
    assert roc_auc(labels, charting)[0] > 0.7
    assert StratifiedRanking.of(labels, charting, strata).roc_auc(ones)[0] == pytest.approx(0.5, abs=0.02)
    assert StratifiedRanking.of(labels, signal, strata).roc_auc(ones)[0] > 0.75


@given(st.lists(st.integers(1, 40), max_size=400))
def test_strata_are_ordered_wide_enough_and_never_part_equal_values(values: list[int]) -> None:
    covariate = np.array(values)
    strata = strata_of(covariate)
    order = np.argsort(covariate, kind="stable")
    assert (np.diff(strata[order]) >= 0).all()
    for value in np.unique(covariate):
        assert len(np.unique(strata[covariate == value])) == 1
    if len(values):
        assert set(strata) == set(range(strata.max() + 1))
        assert strata.max() < max(1, len(values) // STAYS_A_STRATUM)


def test_many_stays_have_many_strata_of_one_size() -> None:
    sizes = np.bincount(strata_of(np.random.default_rng(0).permutation(50_000)))
    assert len(sizes) == MOST_STRATA
    assert sizes.min() >= 499
    assert np.bincount(strata_of(np.arange(100))).tolist() == [25] * 4


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_odds_ratio_is_that_of_statsmodels(seed: int) -> None:
    labels, scores, strata = case(300, seed)
    flagged = scores > 3
    tables = [
        [[(x & y & (strata == s)).sum() for y in (labels, ~labels)] for x in (flagged, ~flagged)]
        for s in range(4)
    ]
    known = StratifiedTable([np.array(table, dtype=float) for table in tables])
    found = mantel_haenszel(flagged, labels, strata)
    assert found is not None
    assert found[0] == pytest.approx(known.oddsratio_pooled)
    assert found[1:] == pytest.approx(known.oddsratio_pooled_confint())


def test_where_there_is_nothing_to_compare() -> None:
    labels, scores, strata = case(50, 1)
    assert np.isnan(StratifiedRanking.of(np.zeros(50, bool), scores, strata).roc_auc(np.ones((2, 50)))).all()
    assert StratifiedRanking.of(labels, scores, np.arange(50)).compared.size == 0
    assert mantel_haenszel(np.zeros(50, bool), labels, strata) is None
    assert mantel_haenszel(scores > 2, np.ones(50, bool), strata) is None
    assert mantel_haenszel(np.zeros(0, bool), np.zeros(0, bool), np.zeros(0, int)) is None
