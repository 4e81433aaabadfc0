from dataclasses import replace
from functools import cache

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from ehrfm_core.errors import UserError
from ehrfm_core.evaluation.adaptation import FRACTIONS, METHODS
from ehrfm_core.evaluation.comparisons import compare
from ehrfm_core.evaluation.evaluate import Evaluation, SiteData, evaluate
from ehrfm_core.evaluation.features import FEATURES, JOINT
from ehrfm_core.evaluation.run_measures import CARRIED, METRICS, SENSITIVITY, SPECIFICITY, THRESHOLDS
from ehrfm_core.evaluation.scores import score
from ehrfm_core.evaluation.sites import ID, align
from ehrfm_core.evaluation.subgroups import groups_of
from ehrfm_core.outcomes import OUTCOMES
from ehrfm_core.study.layout import RESULT_FILES

from .data import VOCABULARY, make_site, shuffled, with_stays

FRAMES = (
    "metrics",
    "predictions",
    "calibration_curves",
    "decision_curves",
    "comparisons",
    "reweighting",
    "subsamples",
    "thresholds",
    "associations",
    "deciles",
    "outliers",
)
REPEATS = 2
MODELS = 5  # the probe, three baselines and shuffled labels; boosting where there is a vocabulary
RUN = [column for column in RESULT_FILES["predictions"] if column not in (ID, "label", "probability")]


def run(*sites: SiteData, n_bootstrap: int = 100, **options: object) -> Evaluation:
    return evaluate(
        list(sites),
        source="a",
        vocabulary_size=VOCABULARY,
        seed=0,
        n_bootstrap=n_bootstrap,
        **({"repeats": REPEATS} | options),  # type: ignore[arg-type]
    )


@cache
def sites() -> tuple[SiteData, SiteData]:
    return make_site("a", 400, seed=1), make_site("b", 300, seed=2)


@cache
def both() -> Evaluation:
    return run(*sites())


def same(left: Evaluation, right: Evaluation) -> bool:
    for name in FRAMES:
        assert_frame_equal(getattr(left, name), getattr(right, name), check_exact=True)
    assert {k: p.to_json() for k, p in left.probes.items()} == {
        k: p.to_json() for k, p in right.probes.items()
    }
    return left.notes == right.notes


def test_frames_have_the_contract_s_columns_and_every_arm() -> None:
    result = both()
    for name in FRAMES:
        assert dict(getattr(result, name).schema) == RESULT_FILES[name]
    arms = set(
        result.metrics.select("arm", "train_site", "test_site", "adapt_method", "adapt_fraction").rows()
    )
    adapted = {("adapted", "a", "b", method, share) for method in METHODS for share in FRACTIONS}
    fixed = {("in_distribution", "a", "a", "none", 0.0), ("zero_shot", "a", "b", "none", 0.0)}
    assert arms >= fixed | {arm for arm in adapted if arm[4] >= 0.025}
    assert arms <= fixed | adapted  # of half a percent of the patients there may be nobody
    whole = result.metrics.filter(pl.col("adapt_fraction").is_in([0.0, 1.0]), pl.col("subgroup") == "all")
    n_runs = 2 * MODELS + (MODELS - 1) + len(METHODS)  # the three arms
    carried = pl.col("metric").is_in(CARRIED)
    assert whole.filter(~carried).height == n_runs * len(OUTCOMES) * (len(METRICS) - len(CARRIED))
    assert whole.filter(carried).height == 2 * MODELS * len(OUTCOMES) * len(CARRIED)  # of unchanged models
    draws = result.metrics.filter(pl.col("adapt_fraction").is_between(0.001, 0.999))
    assert set(draws["metric"]) == {"roc_auc"}
    assert set(draws["repeat"]) == set(range(REPEATS))
    assert result.metrics.select([*RUN, "metric", "subgroup"]).is_unique().all()
    assert result.associations.height == 2 * 4 * (2 * len(FEATURES) + 2 * len(JOINT))
    assert result.deciles.select("site", "outcome", "feature").n_unique() == 2 * 4 * len(FEATURES)
    assert set(result.probes) == set(OUTCOMES)
    assert whole.filter(~carried)["estimate"].null_count() == 0
    # what may be 0 in every resample, or the same
    spread = result.metrics.filter(~pl.col("metric").is_in([SENSITIVITY, *CARRIED]))
    assert spread["ci_low"].null_count() == 0
    assert (spread["ci_low"] < spread["ci_high"]).all()
    assert result.decision_curves.height == n_runs * len(OUTCOMES) * len(THRESHOLDS)
    assert set(result.subsamples["site"]) == {"b"}
    pairs = result.comparisons.filter(test_site="b", outcome="death")
    # the probe beside baselines: unchanged, re-fitted and of local stays; adapted beside unchanged
    assert pairs.height == 4 + 2 * 4 + 4 + len(METHODS)


def test_predictions_are_every_test_stay_that_counts() -> None:
    for site in sites():
        for outcome in OUTCOMES.values():
            expected = site.stays.filter(pl.col("split") == "test", outcome.counts()).sort(ID)
            got = both().predictions.filter(test_site=site.name, outcome=outcome.name)
            for _, part in got.group_by(RUN):
                assert part[ID].to_list() == expected[ID].to_list()
                assert part["label"].to_list() == expected[outcome.name].to_list()
                assert part["probability"].is_between(0, 1).all()


def test_stays_with_the_event_in_the_window_count_nowhere() -> None:
    """Their states and labels can be anything: no probe, prediction or association changes."""
    source, target = sites()
    early = source.stays.filter("icu_24h")[ID]
    rows = np.isin(source.state_ids, early.to_list())
    states = source.states.copy()
    states[rows] += 100
    other = run(with_stays(replace(source, states=states), pl.col("icu") & ~pl.col("icu_24h")), target)
    assert other.probes["icu"].to_json() == both().probes["icu"].to_json()
    assert other.probes["death"].to_json() != both().probes["death"].to_json()
    for name in FRAMES:
        if name == "subsamples":
            continue
        left, right = (getattr(result, name).filter(outcome="icu") for result in (other, both()))
        if name == "comparisons":  # corrected over all outcomes
            left, right = left.drop("p_holm"), right.drop("p_holm")
        assert_frame_equal(left, right, check_exact=True)
    assert both().predictions.filter(outcome="icu", test_site="a").join(early.to_frame(), on=ID).is_empty()


def test_nothing_outside_the_source_training_split_reaches_a_source_probe() -> None:
    source, target = sites()
    held_out = pl.col("split") != "train"
    rows = np.isin(source.state_ids, source.stays.filter(held_out)[ID].to_list())
    states = source.states.copy()
    states[rows] = np.random.default_rng(9).normal(size=(rows.sum(), states.shape[1])) * 30
    flipped = [
        pl.when(held_out).then(~pl.col(name)).otherwise(pl.col(name)).alias(name)
        for name in ("death", "long_los", "icu", "imv", "icu_24h", "imv_24h")
    ]
    ages = pl.when(held_out).then(999.0).otherwise("age").alias("age")
    altered = with_stays(replace(source, states=states), *flipped, ages)
    strange = replace(
        with_stays(target, ~pl.col("death", "icu", "imv", "long_los")), states=target.states * -40
    )
    result = run(altered, strange)
    assert {k: p.to_json() for k, p in result.probes.items()} == {
        k: p.to_json() for k, p in both().probes.items()
    }
    alone = run(source)
    assert {k: p.to_json() for k, p in alone.probes.items()} == {
        k: p.to_json() for k, p in both().probes.items()
    }
    keep = pl.col("test_site") == "a"
    assert_frame_equal(alone.metrics, both().metrics.filter(keep), check_exact=True)


def test_zero_shot_predictions_ignore_the_targets_training_split() -> None:
    source, target = sites()
    changed = with_stays(
        target, pl.when(pl.col("split") == "train").then(~pl.col("death")).otherwise("death")
    )
    zero, adapted = pl.col("arm") == "zero_shot", pl.col("arm") == "adapted"
    result = run(source, changed)
    assert_frame_equal(result.predictions.filter(zero), both().predictions.filter(zero), check_exact=True)
    assert not result.predictions.filter(adapted).equals(both().predictions.filter(adapted))


@settings(max_examples=2, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_order_of_rows_changes_nothing(seed: int) -> None:
    assert same(run(*(shuffled(site, seed + i) for i, site in enumerate(sites()))), both())


def test_same_seed_same_frames_and_another_seed_other_intervals() -> None:
    assert same(run(*sites()), both())
    other = evaluate(
        list(sites()), source="a", vocabulary_size=VOCABULARY, seed=1, n_bootstrap=100, repeats=REPEATS
    )
    fixed = (pl.col("adapt_fraction").is_in([0.0, 1.0])) & (pl.col("model") != "baseline_shuffled")
    left, right = (result.predictions.filter(fixed) for result in (other, both()))
    assert_frame_equal(left, right, check_exact=True)
    assert not other.metrics["ci_low"].equals(both().metrics["ci_low"])


def test_every_metric_can_be_recomputed_from_predictions_alone() -> None:
    result = both()
    functions = {
        "roc_auc": roc_auc_score,
        "average_precision": average_precision_score,
        "brier": brier_score_loss,
        "observed_expected": lambda labels, p: labels.sum() / p.sum(),
    }
    groups = {site.name: groups_of(site.stays) for site in sites()}
    parts = dict(iter(result.predictions.group_by(RUN)))
    seen = set()
    for row in result.metrics.iter_rows(named=True):
        part = parts[tuple(row[column] for column in RUN)]
        if row["subgroup"] != "all":
            own = groups[row["test_site"]].filter(subgroup=row["subgroup"])
            part = part.join(own, on=ID, how="semi")
        assert (row["n"], row["n_events"]) == (part.height, part["label"].sum())
        if row["metric"] in functions:
            value = functions[row["metric"]](part["label"].to_numpy(), part["probability"].to_numpy())
            assert row["estimate"] == pytest.approx(value, abs=1e-9)
            seen.add((row["metric"], row["subgroup"] == "all"))
    assert len(seen) == len(functions) + 2
    patients = pl.concat(
        site.stays.select(pl.lit(site.name).alias("test_site"), ID, "patient_id") for site in sites()
    )
    again = score(result.predictions, patients, seed=0, n_bootstrap=100, thresholds=result.thresholds)
    assert_frame_equal(again.metrics, result.metrics.filter(subgroup="all"), check_exact=True)
    assert_frame_equal(again.decision_curves, result.decision_curves, check_exact=True)
    assert_frame_equal(compare(result.predictions, patients), result.comparisons, check_exact=True)


def test_a_threshold_is_carried_from_the_source_s_tuning_split() -> None:
    result = both()
    source = result.thresholds.filter(model="probe", outcome="death").row(0, named=True)
    stays = align(sites()[0])[0].split("tuning").counting(OUTCOMES["death"])
    p, labels = result.probes["death"].probability(stays.states), stays.labels(OUTCOMES["death"])
    assert (p[~labels] < source["threshold"]).mean() >= SPECIFICITY
    assert (source["n"], source["n_events"]) == (len(labels), labels.sum())
    at_b = result.predictions.filter(model="probe", arm="zero_shot", outcome="death")
    alerts = at_b["probability"] >= source["threshold"]
    rows = result.metrics.filter(model="probe", arm="zero_shot", outcome="death", subgroup="all")
    figures = dict(rows.select("metric", "estimate").iter_rows())
    assert figures["carried_alerts_per_100"] == pytest.approx(100 * alerts.mean())
    assert figures["carried_sensitivity"] == pytest.approx(alerts.filter(at_b["label"]).mean())
    assert figures["carried_ppv"] == pytest.approx(at_b["label"].filter(alerts).mean())
    assert result.metrics.filter(pl.col("metric").is_in(CARRIED), arm="adapted").is_empty()


def test_three_hospitals_make_a_matrix() -> None:
    """Models of every hospital, on the source's representations, are tested at every hospital."""
    third = make_site("c", 260, seed=3)
    result = run(*sites(), third, vocabulary={f"lab/{i}": i for i in range(VOCABULARY)}, repeats=1)
    rows = result.metrics.filter(model="probe", metric="roc_auc", outcome="long_los", subgroup="all")
    rows = rows.filter(pl.col("arm") != "adapted")
    assert set(rows.select("train_site", "test_site").rows()) == {(a, b) for a in "abc" for b in "abc"}
    assert rows.height == 9
    home = rows.filter(train_site="b", test_site="b").row(0, named=True)
    local = result.metrics.filter(model="probe", adapt_method="local", adapt_fraction=1.0, test_site="b")
    same = local.filter(metric="roc_auc", outcome="long_los", subgroup="all").row(0, named=True)
    assert (home["arm"], home["estimate"]) == ("in_distribution", pytest.approx(same["estimate"]))
    assert set(result.thresholds["train_site"]) == {"a", "b", "c"}
    assert result.comparisons.height > 0
    assert "baseline_boosting" in set(result.metrics["model"])


def test_one_class_in_training_leaves_the_other_outcomes() -> None:
    source, target = sites()
    no_death = pl.when(pl.col("split") == "train").then(False).otherwise("death").alias("death")
    result = run(with_stays(source, no_death), target)
    assert set(result.probes) == {"long_los", "icu", "imv"}
    assert set(result.predictions.filter(outcome="death")["arm"]) == {"adapted"}
    n = source.stays.filter(split="train").height
    assert (
        f"No model could be fitted for In-hospital death on the training split of a: 0 of its {n} stays "
        "have the event, and at least 2 stays with and without it are needed."
    ) in result.notes


def test_a_table_the_site_lacks() -> None:
    source, target = sites()
    unknown = [pl.lit(None, dtype=pl.Boolean).alias(name) for name in ("icu", "icu_24h")]
    result = run(with_stays(source, *unknown), with_stays(target, *unknown))
    assert result.predictions.filter(outcome="icu").is_empty()
    assert any("none of its stays counts for this outcome" in note for note in result.notes)
    assert any("nothing to test on" in note for note in result.notes)


def test_one_class_in_the_test_split() -> None:
    source, target = sites()
    nobody = pl.when(pl.col("split") == "test").then(False).otherwise("death").alias("death")
    result = run(source, with_stays(target, nobody))
    rows = result.metrics.filter(outcome="death", test_site="b")
    assert result.predictions.filter(outcome="death", test_site="b").height > 0
    ranked = rows.filter(~pl.col("metric").is_in(["brier", "observed_expected", *CARRIED]))
    assert ranked.select("estimate", "ci_low", "ci_high").null_count().row(0) == (ranked.height,) * 3
    assert rows.filter(metric="brier")["estimate"].null_count() == 0
    assert any("none of the" in note and "In-hospital death at b" in note for note in result.notes)


def test_few_events_are_given_with_a_warning() -> None:
    source, target = sites()
    first = target.stays.filter(split="test")[ID].to_list()[:5]
    few = pl.when(pl.col("split") == "test").then(pl.col(ID).is_in(first)).otherwise("death").alias("death")
    result = run(source, with_stays(target, few))
    rows = result.metrics.filter(outcome="death", test_site="b", metric="roc_auc")
    assert rows.select("estimate", "ci_low", "ci_high").null_count().row(0) == (0, 0, 0)
    assert any("only 5 of the" in note and "read as performance" in note for note in result.notes)
    assert any("Newcombe" in note for note in result.notes)


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("site", [0, 1])
def test_an_empty_split_is_a_note_and_no_crash(split: str, site: int) -> None:
    both_sites = list(sites())
    both_sites[site] = with_stays(both_sites[site], pl.col("split").replace({split: "tuning"}))
    result = run(*both_sites)
    named = "training" if split == "train" else "test"
    assert any(note.startswith(f"{'ab'[site]} has no stay in its {named} split") for note in result.notes)
    arms = {("train", 0): {"adapted"}, ("train", 1): {"in_distribution", "zero_shot"}}
    expected = arms.get((split, site), {"zero_shot", "adapted"} if site == 0 else {"in_distribution"})
    assert set(result.metrics["arm"]) == expected


def test_a_site_without_stays() -> None:
    source, target = sites()
    empty = SiteData(
        "b", target.stays.clear(), [], target.states[:0], target.dynamics.clear(), target.windows.clear()
    )
    result = run(source, empty)
    assert_frame_equal(result.metrics, run(source).metrics, check_exact=True)


def test_unknown_ages_and_sexes() -> None:
    source, target = sites()
    unknown = [pl.lit(None, dtype=pl.Float64).alias("age"), pl.lit(None, dtype=pl.String).alias("sex")]
    result = run(with_stays(source, *unknown), target)
    rows = result.metrics.filter(model="baseline_age_sex", arm="in_distribution", metric="roc_auc")
    assert (rows["estimate"] == 0.5).all()


def test_stays_without_representation_are_left_out_and_told() -> None:
    source, target = sites()
    lacking = replace(source, state_ids=source.state_ids[3:], states=source.states[3:])
    result = run(lacking, target)
    assert (
        "3 of 400 stays at a have no representation of their first day and are left out of the evaluation."
        in (result.notes)
    )
    assert result.predictions.filter(pl.col(ID).is_in(source.state_ids[:3])).is_empty()


def test_a_baseline_that_wins_is_told() -> None:
    source, target = sites()
    noise = np.random.default_rng(0).normal(size=source.states.shape).astype(np.float32)
    result = run(replace(source, states=noise), target)
    wins = [note for note in result.notes if "the number of tokens alone does better" in note]
    assert any(note.startswith("In-hospital death at a: ") and "95 % interval" in note for note in wins)
    rows = result.metrics.filter(outcome="death", arm="in_distribution", metric="roc_auc")
    probe, tokens = (rows.filter(model=m)["estimate"][0] for m in ("probe", "baseline_n_tokens"))
    assert any(f"AUC {probe:.3f} against {tokens:.3f} of the baseline" in note for note in wins)


def test_notes_are_sentences_and_progress_runs_to_the_end() -> None:
    steps: list[tuple[int, int]] = []
    result = run(*sites(), progress=lambda done, total: steps.append((done, total)))
    assert all(note[-1] == "." and "  " not in note for note in result.notes)
    assert len(result.notes) == len(set(result.notes))
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)
    assert steps[-1][0] == steps[-1][1]


def test_mistakes_are_told_in_a_sentence() -> None:
    source, target = sites()
    with pytest.raises(UserError, match="none of the sites b"):
        run(target)
    with pytest.raises(UserError, match="stands twice"):
        run(source, source)
    with pytest.raises(UserError, match="a: 1 rows of stays repeat"):
        run(replace(source, stays=pl.concat([source.stays, source.stays[:1]])))
    with pytest.raises(UserError, match="a: states.parquet has 399 states for 400 stays"):
        run(replace(source, states=source.states[1:]))


def test_a_dynamics_table_of_an_older_version_is_a_note() -> None:
    source, target = sites()
    newer = [feature for feature in FEATURES if feature not in JOINT]
    old = run(replace(source, dynamics=source.dynamics.drop(newer)), target)
    notes = [note for note in old.notes if note.startswith("dynamics.parquet of a is of an older version")]
    assert len(notes) == 1
    assert "hourly tortuosity" in notes[0]
    assert "run embed again" in notes[0]
    kept = pl.col("feature").is_in(list(JOINT)) | (pl.col("site") == "b")
    for name in ("associations", "deciles"):
        assert_frame_equal(getattr(old, name), getattr(both(), name).filter(kept), check_exact=True)
