"""The oracle beside models whose quality is known, on made predictions."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import brier_score_loss, roc_auc_score

from ehrfm_core.errors import UserError
from ehrfm_core.evaluation.oracle import ORACLE, against_truth
from ehrfm_core.evaluation.oracle_figures import estimates, monte_carlo, transfer_gaps
from ehrfm_core.evaluation.scores import score
from ehrfm_core.evaluation.site_classifier import tell_sites_apart
from ehrfm_core.outcomes import OUTCOMES
from tests.evaluation.made_truth import ID, World, make_world


def pick(frame: pl.DataFrame, quantity: str, **wanted: object) -> pl.DataFrame:
    return frame.filter(quantity=quantity, **wanted)


def test_knowing_the_label_is_an_auc_of_one() -> None:
    frame = estimates(make_world(certain=True).tested())
    assert set(pick(frame, "roc_auc", model=ORACLE)["estimate"]) == {1.0}
    assert set(pick(frame, "brier")["estimate"]) == {0.0}
    assert set(pick(frame, "observed_to_expected")["estimate"]) == {1.0}
    lead = pick(frame, "minus_oracle")
    assert (lead["ci_high"] < 0).all(), "no model reaches the label itself"


def test_figures_are_those_of_scikit_learn() -> None:
    world = make_world()
    frame = estimates(world.tested())
    for name in OUTCOMES:
        rows = world.predictions.filter(outcome=name, arm="zero_shot").join(world.truths["away"], on=ID)
        label, risk = rows["label"].to_numpy(), rows[f"risk_{name}"].to_numpy()
        model = roc_auc_score(label, rows["probability"].to_numpy())
        best = roc_auc_score(label, risk)

        def value(quantity: str, name: str = name, **wanted: object) -> float:
            return pick(frame, quantity, outcome=name, test_site="away", **wanted)["estimate"].item()

        assert value("roc_auc", model=ORACLE) == pytest.approx(best)
        assert value("roc_auc", arm="zero_shot") == pytest.approx(model)
        assert value("minus_oracle", arm="zero_shot") == pytest.approx(model - best)
        assert value("brier") == pytest.approx(brier_score_loss(label, risk))
        assert value("observed_to_expected") == pytest.approx(label.sum() / risk.sum())
        before, after = (value("roc_auc", arm=arm) for arm in ("zero_shot", "adapted"))
        assert value("zero_shot_minus_adapted") == pytest.approx(before - after)
    assert set(frame["n"]) == {600}


def test_intervals_of_the_models_are_those_of_the_study() -> None:
    world = make_world()
    metrics = score(world.predictions, world.patients, seed=3, n_bootstrap=200).metrics
    ours = pick(estimates(world.tested(seed=3)), "roc_auc").filter(pl.col("model") != ORACLE)
    keys = ["model", "arm", "train_site", "adapt_method", "adapt_fraction", "repeat", "outcome", "test_site"]
    both = ours.join(metrics.filter(metric="roc_auc"), on=keys, suffix="_study")
    assert both.height == ours.height == 3 * len(OUTCOMES)
    for column in ("estimate", "ci_low", "ci_high"):
        assert np.allclose(both[column], both[f"{column}_study"], rtol=0, atol=1e-12)


def test_a_paired_interval_is_narrower_than_two_apart() -> None:
    frame = estimates(make_world().tested())
    for name in OUTCOMES:
        where = {"outcome": name, "test_site": "away"}
        low, high = pick(frame, "minus_oracle", arm="zero_shot", **where).select("ci_low", "ci_high").row(0)
        widths = [
            (row["ci_high"] - row["ci_low"]).item()
            for row in (
                pick(frame, "roc_auc", arm="zero_shot", **where),
                pick(frame, "roc_auc", arm=ORACLE, **where),
            )
        ]
        assert high - low < 0.8 * np.hypot(*widths)


def test_joined_by_stay_not_by_place() -> None:
    world = make_world()
    shuffled = World(
        world.predictions.sample(fraction=1, shuffle=True, seed=1),
        world.patients.sample(fraction=1, shuffle=True, seed=2),
        {site: truth.sample(fraction=1, shuffle=True, seed=3) for site, truth in world.truths.items()},
    )
    order = ["quantity", "outcome", "test_site", "model", "arm"]
    first, second = (estimates(part.tested()).sort(order) for part in (world, shuffled))
    assert first.drop("estimate").equals(second.drop("estimate"))
    assert np.allclose(first["estimate"], second["estimate"], rtol=1e-12)


def test_missing_truth_is_one_sentence() -> None:
    world = make_world()
    lost = world.truths["away"].head(4)[ID].to_list()
    world.truths["away"] = world.truths["away"].with_columns(
        pl.when(pl.col(ID) == lost[0]).then(None).otherwise("risk_icu").alias("risk_icu")
    )
    with pytest.raises(UserError, match=r"^1 of 4,800 .*\(icu at away: 1; .*'" + lost[0]):
        world.tested()
    world.truths["away"] = world.truths["away"].filter(~pl.col(ID).is_in(lost))
    with pytest.raises(UserError, match=r"^16 of 4,800 .*death at away: 4"):
        world.tested()
    del world.truths["home"]
    with pytest.raises(UserError, match="death at home: 600"):
        world.tested()
    with pytest.raises(UserError, match=r"no column 'risk_imv_se'"):
        against_truth(
            world.predictions, world.patients, {"a": make_world().truths["home"].drop("risk_imv_se")}, seed=0
        )
    twice = {"home": pl.concat([make_world().truths["home"]] * 2)}
    with pytest.raises(UserError, match="600 rows that repeat"):
        against_truth(world.predictions, world.patients, twice, seed=0)


def test_runs_of_different_stays_are_refused() -> None:
    world = make_world()
    some = pl.col(ID) == world.truths["away"][ID][0]
    world.predictions = world.predictions.filter(~(some & (pl.col("arm") == "adapted")))
    with pytest.raises(ValueError, match="same stays"):
        world.tested()


def test_the_gap_of_two_alike_sites_is_zero_on_average() -> None:
    """40 pairs of sites: the gaps scatter around 0, and 95 % intervals hold it about that often."""
    gaps = pl.concat(
        transfer_gaps(make_world(n=300, seed=seed).tested(n_bootstrap=150), source="home")
        for seed in range(40)
    )
    for (quantity,), rows in gaps.group_by("quantity"):
        error = rows["estimate"].std() / np.sqrt(rows.height)
        assert abs(rows["estimate"].mean()) < 3 * error, quantity
        held = ((rows["ci_low"] <= 0) & (rows["ci_high"] >= 0)).mean()
        assert 0.89 <= held <= 0.99, (quantity, held)


def test_a_gap_is_divided_into_the_task_and_the_model() -> None:
    """At one target the task is harder and the model as good; at the other the model is worse."""
    noise = {"home": {"in_distribution": 0.3}, "harder": {"zero_shot": 0.3}, "away": {"zero_shot": 2.5}}
    tested = make_world(n=4000, noise=noise, spread={"harder": 0.7}).tested()
    gaps = transfer_gaps(tested, source="home")
    assert gaps.height == 2 * 3 * len(OUTCOMES)
    wide = gaps.pivot("quantity", index=["target", "outcome"], values=["estimate", "ci_low", "ci_high"])
    assert np.allclose(wide["estimate_gap"] - wide["estimate_gap_oracle"], wide["estimate_gap_beyond_oracle"])
    harder, away = (wide.filter(target=target) for target in ("harder", "away"))
    assert (harder["ci_low_gap_oracle"] > 0).all()
    assert (harder["estimate_gap_beyond_oracle"].abs() < 0.06).all()
    assert (away["ci_low_gap_beyond_oracle"] > 0.05).all()
    assert (away["estimate_gap_oracle"].abs() < 0.05).all()


def test_few_events_leave_differences_without_interval() -> None:
    world = make_world(n=40)
    ids = world.patients.filter(test_site="away")[ID][:3]
    few = pl.when(test_site="away").then(pl.col(ID).is_in(ids.implode())).otherwise("label").alias("label")
    world.predictions = world.predictions.with_columns(few)
    tested = world.tested()
    frame, gaps = estimates(tested), transfer_gaps(tested, source="home")
    away = pick(frame, "roc_auc", test_site="away")
    assert away["ci_low"].null_count() == 0, "Newcombe's"
    assert pick(frame, "minus_oracle", test_site="away")["ci_low"].null_count() == 2 * len(OUTCOMES)
    assert gaps["ci_low"].null_count() == gaps.height
    assert gaps["estimate"].null_count() == 0


def test_no_event_has_no_auc_and_no_gap() -> None:
    world = make_world(n=60)
    world.predictions = world.predictions.with_columns(label=pl.lit(value=False))
    tested = world.tested()
    assert pick(estimates(tested), "roc_auc")["estimate"].null_count() == 3 * len(OUTCOMES) + 2 * len(
        OUTCOMES
    )
    assert transfer_gaps(tested, source="home")["estimate"].null_count() == 3 * len(OUTCOMES)


def test_monte_carlo_error_is_told_and_its_cost_is_right() -> None:
    exact, noisy = (make_world(n=4000, error=error).tested(n_bootstrap=1) for error in (0.0, 0.12))
    frame, notes = monte_carlo(exact, seed=0)
    assert not notes
    assert set(frame["reliability"]) == {1.0}
    assert np.allclose(frame["auc_lost"], 0, atol=1e-12)
    frame, notes = monte_carlo(noisy, seed=0)
    assert len(notes) == frame.height == 2 * len(OUTCOMES)
    assert frame["reliability"].is_between(0.6, 0.9).all()
    world = make_world(n=4000)
    costs = []
    rng = np.random.default_rng(5)
    for block in noisy:
        truth = world.truths[block.site].sort(ID)[f"risk_{block.outcome}"].to_numpy()
        label = rng.random((20, len(truth))) < truth  # of the risks without error and with
        best = np.mean([roc_auc_score(row, truth) for row in label])
        worse = np.mean([roc_auc_score(row, truth + 0.12 * rng.normal(size=len(truth))) for row in label])
        costs.append(best - worse)
    assert frame["auc_lost"].mean() == pytest.approx(np.mean(costs), rel=0.25)


def test_alike_sites_are_not_told_apart_and_others_are() -> None:
    """The interval holds 0.5 as often as it says, which that of a cross-validated AUC does not."""
    owner = np.arange(600) // 2
    side = owner % 2 == 1
    held, trials = 0, 60
    for seed in range(trials):
        features = np.random.default_rng(seed).normal(size=(600, 20))
        auc, interval = tell_sites_apart(features, side, owner, seed=seed, n_bootstrap=150)
        assert auc is not None
        assert interval.low is not None
        assert interval.high is not None
        held += interval.low <= 0.5 <= interval.high
    assert held >= 0.87 * trials
    features[side, 3] += 1.5
    auc, interval = tell_sites_apart(features, side, owner, seed=0, n_bootstrap=200)
    assert auc is not None
    assert interval.low is not None
    assert 0.75 < interval.low < auc < 0.95
    assert tell_sites_apart(features[:60], side[:60], owner[:60], seed=0)[0] is None


def test_stays_of_a_patient_do_not_give_the_site_away() -> None:
    """Each patient has a feature of their own on ten stays: seen in training it would tell the site."""
    owner = np.repeat(np.arange(80), 10)
    features = np.random.default_rng(1).normal(size=(80, 30))[owner]
    auc, _ = tell_sites_apart(features, owner % 2 == 1, owner, seed=0, n_bootstrap=1)
    assert auc is not None
    assert auc < 0.7
