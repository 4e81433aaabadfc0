from __future__ import annotations

from functools import cache

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from ehrfm_core.evaluation.metrics import roc_auc
from ehrfm_core.evaluation.propensity import Propensity, characteristics, effective
from ehrfm_core.evaluation.reweighting import reweight
from ehrfm_core.evaluation.sites import ID, Stays
from ehrfm_core.outcomes import OUTCOMES
from ehrfm_core.ragged import Ragged
from ehrfm_core.study.layout import RESULT_FILES

VOCABULARY = 12
LONG_STAY = {"long_los": OUTCOMES["long_los"]}
Made = tuple[Stays, pl.DataFrame]


def made(
    site: str,
    n: int,
    *,
    female: float,
    signal: tuple[float, float],
    seed: int,
    tokens: tuple[int, int] = (0, 8),
) -> Made:
    """Test stays of one site; the score knows the label by as much as the sex allows (female, male)."""
    rng = np.random.default_rng(seed)
    woman = rng.random(n) < female
    label = rng.random(n) < 0.3
    score = np.where(woman, *signal) * label + rng.normal(size=n)
    lengths = rng.integers(5, 15, n)
    frame = pl.DataFrame(
        {
            ID: [f"{site}{i:05d}" for i in range(n)],
            "patient_id": [f"p{i}" for i in rng.integers(0, n, n)],
            "age": np.where(rng.random(n) < 0.05, np.nan, rng.normal(60, 15, n)),
            "sex": np.where(woman, "Female", "Male"),
            "race": rng.choice(["White", "Asian"], n),
            "ethnicity": pl.Series([None] * n, dtype=pl.String),
            "long_los": label,
        }
    )
    values = rng.integers(*tokens, lengths.sum()).astype(np.int32)
    stays = Stays(site, frame, np.zeros((n, 1)), Ragged.from_lengths(values, lengths))
    arm = "in_distribution" if site == "a" else "zero_shot"
    predicted = frame.select(
        ID, label="long_los", probability=pl.Series(1 / (1 + np.exp(-score))), outcome=pl.lit("long_los")
    ).with_columns(
        model=pl.lit("probe"),
        arm=pl.lit(arm),
        train_site=pl.lit("a"),
        test_site=pl.lit(site),
        adapt_method=pl.lit("none"),
        adapt_fraction=pl.lit(0.0),
        repeat=pl.lit(0),
    )
    return stays, predicted


def divided(*sites: Made, seed: int = 0) -> tuple[pl.DataFrame, list[str]]:
    tests = {stays.site: stays for stays, _ in sites}
    predictions = pl.concat(predicted for _, predicted in sites)
    return reweight(
        tests, predictions, LONG_STAY, source="a", vocabulary_size=VOCABULARY, seed=seed, n_bootstrap=200
    )


def figures(table: pl.DataFrame, name: str = "population") -> dict[str, tuple[float, float, float]]:
    rows = table.filter(characteristics=name).select("quantity", "estimate", "ci_low", "ci_high").rows()
    return {quantity: tuple(rest) for quantity, *rest in rows}


@cache
def shifted() -> tuple[Made, Made]:
    """Only the share of women differs, whom the score says more about."""
    return (
        made("a", 900, female=0.85, signal=(2.5, 0.2), seed=1),
        made("b", 900, female=0.25, signal=(2.5, 0.2), seed=2),
    )


def test_a_gap_of_the_patients_alone_is_explained() -> None:
    table, notes = divided(*shifted())
    assert dict(table.schema) == RESULT_FILES["reweighting"]
    assert table.height == 12
    assert notes == []
    for name in ("population", "charting"):
        found = figures(table, name)
        gap, explained, remaining = (found[x][0] for x in ("gap", "explained", "remaining"))
        assert gap > 0.15
        assert explained == pytest.approx(gap, abs=0.06)
        assert gap == pytest.approx(explained + remaining)
        assert found["explained"][1] > 0
        assert found["remaining"][1] < 0 < found["remaining"][2]
    assert (table["propensity_auc"] > 0.75).all()
    assert table["effective_n"].is_between(100, 899).all()


def test_a_gap_of_the_score_alone_is_not_explained() -> None:
    home = made("a", 900, female=0.5, signal=(2.0, 2.0), seed=3)
    away = made("b", 900, female=0.5, signal=(0.5, 0.5), seed=4)
    table, _ = divided(home, away)
    found = figures(table)
    assert found["gap"][1] > 0.1
    assert found["explained"][0] == pytest.approx(0, abs=0.02)
    assert found["explained"][1] < 0 < found["explained"][2]
    assert found["remaining"][1] > 0.1
    assert table["propensity_auc"].to_numpy() == pytest.approx(0.5, abs=0.06)
    assert (table["effective_n"] > 800).all()


def test_the_order_of_rows_and_another_site_change_nothing_and_another_seed_the_intervals() -> None:
    (home, own), (away, theirs) = shifted()
    table, _ = divided(*shifted())
    mixed = [
        (stays, p.sample(fraction=1, shuffle=True, seed=7)) for stays, p in ((away, theirs), (home, own))
    ]
    third = made("c", 300, female=0.5, signal=(1, 1), seed=5)
    again, _ = divided(*mixed, third)
    assert_frame_equal(again.filter(site="b"), table, check_exact=True)
    assert set(again["site"]) == {"b", "c"}
    other, _ = divided(*shifted(), seed=1)
    gaps = [figures(t)["gap"] for t in (table, other)]
    assert gaps[0][0] == gaps[1][0]
    assert gaps[0][1] != gaps[1][1]


def test_figures_of_home_and_target_are_those_of_their_predictions() -> None:
    table, _ = divided(*shifted())
    for (_, predicted), quantity in zip(shifted(), ("home", "zero_shot"), strict=True):
        label, p = predicted["label"].to_numpy(), predicted["probability"].to_numpy()
        row = table.filter(quantity=quantity).row(0, named=True)
        assert row["estimate"] == pytest.approx(float(roc_auc(label, p)[0]))
        assert (row["n"], row["n_events"]) == (len(label), label.sum())


def test_one_site_has_no_gap() -> None:
    table, notes = divided(shifted()[0])
    assert table.is_empty()
    assert dict(table.schema) == RESULT_FILES["reweighting"]
    assert notes == []


def test_hospitals_that_chart_nothing_alike_get_a_note_and_no_figure() -> None:
    home = made("a", 300, female=0.5, signal=(1, 1), seed=1, tokens=(0, 6))
    away = made("b", 300, female=0.5, signal=(1, 1), seed=2, tokens=(6, 12))
    table, notes = divided(home, away)
    found = figures(table, "charting")
    assert [found[x] for x in ("home_reweighted", "explained", "remaining")] == [(None, None, None)] * 3
    assert found["gap"][1] is not None
    assert figures(table)["explained"][0] is not None
    assert table.filter(characteristics="charting")["propensity_auc"][0] > 0.99
    assert len(notes) == 1
    assert "told apart" not in notes[0]
    assert "tell the hospitals apart with an AUC of 1.00" in notes[0]


@pytest.mark.parametrize(("n", "told"), [(20, "25 are needed"), (60, "and 50 are needed")])
def test_few_patients_get_a_note_and_no_figure(n: int, told: str) -> None:
    table, notes = divided(made("a", n, female=0.6, signal=(1, 1), seed=1), shifted()[1])
    assert figures(table)["explained"] == (None, None, None)
    assert figures(table)["home"][0] is not None
    assert told in notes[0]
    assert all(note.startswith("Long stay: ") and note[-1] == "." and "  " not in note for note in notes)


@pytest.mark.parametrize("where", [0, 1])
def test_few_events_get_no_interval_or_at_home_no_figure(where: int) -> None:
    sites = list(shifted())
    stays, predicted = sites[where]
    sites[where] = stays, predicted.with_columns(label=pl.int_range(pl.len()) < 8)
    table, notes = divided(*sites)
    found = figures(table)
    assert found["gap"][0] is not None
    assert found["gap"][1:] == found["remaining"][1:] == (None, None)
    assert (found["explained"][0] is None) == (where == 0)
    assert ("patients with the event, or without it, and 10 of either" in "".join(notes)) == (where == 0)


@pytest.mark.parametrize("where", [0, 1])
def test_one_class_has_no_area(where: int) -> None:
    sites = list(shifted())
    stays, predicted = sites[where]
    sites[where] = stays, predicted.with_columns(label=pl.lit(False))
    table, _ = divided(*sites)
    known = {name for name, (estimate, *_) in figures(table).items() if estimate is not None}
    assert known == ({"zero_shot"} if where == 0 else {"home", "home_reweighted", "explained"})


def test_a_fit_never_sees_the_patient_it_weighs() -> None:
    """Features that name the patient, as those of a fit on all stays would, tell nothing of another."""
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(200), 2)
    features = np.repeat(rng.normal(size=(400, 60)), 2, axis=0)
    fit = Propensity.fit(features, patients, patients, rng=rng)
    assert fit.auc == pytest.approx(0.5, abs=0.1)


def test_a_refit_of_the_stays_as_they_are_is_the_fit_and_one_of_others_follows_it() -> None:
    (home, _), (away, _) = shifted()
    features = characteristics(home, away, vocabulary_size=VOCABULARY)["population"]
    whose = [stays.frame["patient_id"].to_numpy() for stays in (home, away)]
    fit = Propensity.fit(features, *whose, rng=np.random.default_rng(0))
    ones = np.ones((1, len(home)))
    assert fit.refitted(ones, ones)[0] == pytest.approx(fit.odds())
    woman = (home.frame["sex"] == "Female").to_numpy()
    more_women = 1 + 0.2 * (away.frame["sex"] == "Female").to_numpy()
    moved = fit.refitted(ones, more_women[None])[0]
    share, before = (w[woman].sum() / w.sum() for w in (moved, fit.odds()))
    wanted = (more_women * (more_women > 1)).sum() / more_women.sum()
    assert before < share == pytest.approx(wanted, abs=0.02)
    assert effective(fit.odds()) < len(home)
