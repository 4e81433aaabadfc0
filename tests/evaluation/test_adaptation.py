from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from ehrfm_core.evaluation.adaptation import (
    FRACTIONS,
    Recalibrated,
    adapted,
    clearly_better,
    coarse,
    draws,
    entries,
    recalibrate,
    refit,
)
from ehrfm_core.evaluation.probes import Probe, fit_probe
from ehrfm_core.evaluation.sites import Stays, align
from ehrfm_core.outcomes import OUTCOMES

from .data import make_site

DEATH = OUTCOMES["death"]


def counting(name: str, n: int, seed: int, split: str) -> Stays:
    return align(make_site(name, n, seed=seed))[0].split(split).counting(DEATH)


def probe_of(stays: Stays) -> Probe:
    return fit_probe(stays.states, stays.labels(DEATH))[0]


HOME, LOCAL, TUNING = (
    counting("a", 500, 1, "train"),
    counting("b", 600, 2, "train"),
    counting("b", 900, 2, "tuning"),
)
SOURCE = probe_of(HOME)


def area(model: Probe | Recalibrated, stays: Stays) -> float:
    return float(roc_auc_score(stays.labels(DEATH), model.probability(stays.states)))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 80), st.integers(1, 4), st.integers(0, 99))
def test_draws_are_nested_by_patient_and_the_order_of_rows_is_nothing(
    n: int, repeats: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    training = pl.DataFrame({"patient_id": [f"p{i}" for i in rng.integers(0, max(1, n // 2), n)]})
    drawn = entries(training, site="b", repeats=repeats, seed=seed)
    assert drawn.equals(
        entries(training.sample(fraction=1, shuffle=True), site="b", repeats=repeats, seed=seed)
    )
    found = list(draws(training, drawn))
    whole = [draw for draw in found if draw.fraction == 1]
    assert [len(draw.rows) for draw in whole] in ([n], [])  # or a smaller share holds them all
    patients = training["patient_id"].n_unique()
    for repeat in range(repeats):
        before: set[int] = set()
        for draw in (draw for draw in found if draw.repeat == repeat):
            rows = set(draw.rows.tolist())
            assert before < rows
            inside = training[sorted(rows)]["patient_id"]
            assert training.filter(pl.col("patient_id").is_in(inside.implode())).height == len(rows)
            assert inside.n_unique() <= draw.fraction * patients + 1e-6
            before = rows
    assert {draw.fraction for draw in found} <= set(FRACTIONS)


def test_repeats_are_other_draws_and_sites_have_their_own() -> None:
    training = pl.DataFrame({"patient_id": [f"p{i}" for i in range(40)]})
    table = entries(training, site="b", repeats=2, seed=0)
    first, second = (table.filter(repeat=r)["patient_id"].to_list() for r in range(2))
    assert sorted(first) == sorted(second)
    assert first != second
    assert entries(training, site="c", repeats=1, seed=0)["patient_id"].to_list() != first


def test_more_data_does_not_hurt_on_the_tuning_split() -> None:
    """Whatever is drawn, what comes out is on tuning as good as the source's probe, or better."""
    for n in (1, 3, 10, 60, len(LOCAL)):
        chosen = refit(SOURCE, HOME, LOCAL.take(np.arange(n)), TUNING, DEATH)
        assert area(chosen, TUNING) >= area(SOURCE, TUNING)


def test_a_choice_must_be_better_by_more_than_chance() -> None:
    rng = np.random.default_rng(0)
    labels, patients = rng.random(60) < 0.4, np.arange(60)
    good, bad = labels + rng.normal(size=60), rng.normal(size=60)
    assert clearly_better([labels], [good], [bad], [patients])
    assert not clearly_better([labels], [bad], [good], [patients])
    assert not clearly_better([labels], [good], [good], [patients])
    two = np.arange(60) < 2  # patients with the event: their spread is not known
    assert not clearly_better([two], [two + 0.1 * good], [bad], [patients])
    nobody = np.zeros(60, dtype=bool)
    assert not clearly_better([nobody], [good], [bad], [patients])
    assert clearly_better([nobody, labels], [good, good], [bad, bad], [patients, patients])


def test_of_two_models_as_good_as_each_other_a_change_is_rare() -> None:
    rng = np.random.default_rng(1)
    changed = 0
    for _ in range(300):
        labels = rng.random(60) < 0.4
        one, other = (labels + rng.normal(size=60) for _ in range(2))
        changed += clearly_better([labels], [one], [other], [np.arange(60)])
    assert changed / 300 < 0.22  # 16 % beyond one standard error, in place of 50 %


def test_the_best_of_several_is_no_more_often_chosen_by_chance() -> None:
    rng = np.random.default_rng(2)
    changed = 0
    for _ in range(300):
        labels, patients = rng.random(60) < 0.4, np.arange(60)
        runs = [labels + rng.normal(size=60) for _ in range(5)]
        best = max(runs[1:], key=lambda scores: roc_auc_score(labels, scores))
        changed += clearly_better([labels], [best], [runs[0]], [patients], choices=4)
    assert changed / 300 < 0.22


def test_where_local_stays_say_otherwise_the_probe_follows() -> None:
    turned = Probe(SOURCE.center, SOURCE.scale, -SOURCE.coefficient, SOURCE.intercept)
    away = Stays(HOME.site, HOME.frame, -HOME.states, HOME.tokens)
    assert area(turned, TUNING) < 0.4
    assert area(refit(turned, away, LOCAL, TUNING, DEATH), TUNING) > 0.6


def test_without_a_tuning_auc_the_source_s_probe_stays() -> None:
    assert refit(SOURCE, HOME, LOCAL, TUNING.take(np.array([], dtype=int)), DEATH) is SOURCE


def test_recalibration_moves_the_level_and_leaves_the_ranking() -> None:
    low = Probe(SOURCE.center, SOURCE.scale, SOURCE.coefficient * 3, SOURCE.intercept - 4)
    labels = LOCAL.labels(DEATH)
    before = low.probability(LOCAL.states)
    for slope in (False, True):
        moved = recalibrate(low, LOCAL.states, labels, slope=slope)
        after = moved.probability(LOCAL.states)
        assert after.sum() == pytest.approx(labels.sum(), rel=1e-4)
        assert roc_auc_score(labels, after) == pytest.approx(roc_auc_score(labels, before), abs=1e-6)
    assert moved.slope < 0.7
    assert not np.isclose(before.sum(), labels.sum(), rtol=0.2)


def test_a_slope_that_levels_all_risks_is_not_taken() -> None:
    rng = np.random.default_rng(5)
    noise = rng.random(len(LOCAL)) < 0.3  # labels that the probe knows nothing of
    moved = recalibrate(SOURCE, LOCAL.states, noise, slope=True)
    assert moved.slope == 1.0 or moved.slope > 0.05
    turned = recalibrate(SOURCE, LOCAL.states, SOURCE.probability(LOCAL.states) < 0.2, slope=True)
    assert turned.slope == 1.0


def test_a_few_stays_that_are_parted_give_no_slope() -> None:
    p = SOURCE.probability(LOCAL.states)
    ends = LOCAL.take(np.array([np.argmin(p), np.argmax(p)]))
    moved = recalibrate(SOURCE, ends.states, np.array([False, True]), slope=True)
    assert moved.slope == 1.0
    assert len(np.unique(moved.probability(LOCAL.states))) == len(np.unique(p))


def test_too_little_to_fit_leaves_the_source_s_probe_as_it_was() -> None:
    one = LOCAL.take(np.flatnonzero(LOCAL.labels(DEATH))[:1])
    found = adapted(SOURCE, HOME, one, TUNING, DEATH)
    assert "local" not in found
    for method in ("recalibrate", "recalibrate_slope"):
        assert found[method].probability(LOCAL.states) == pytest.approx(SOURCE.probability(LOCAL.states))


def test_coarse_probabilities_stay_close() -> None:
    p = np.random.default_rng(0).random(1000)
    assert np.abs(np.log(coarse(p) / (1 - coarse(p))) - np.log(p / (1 - p))).max() < 1 / 500
    assert np.isfinite(coarse(np.array([0.0, 1.0]))).all()
