from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score
from statsmodels.stats.proportion import proportion_confint

from ehrfm_core.dynamics.detector_names import DETECTORS, FOREST
from ehrfm_core.evaluation.outliers import AREAS, CHARTING, QUANTILES, describe_outliers
from ehrfm_core.evaluation.sites import ID, SiteData, Stays, align
from ehrfm_core.evaluation.stratified import StratifiedRanking, strata_of
from ehrfm_core.outcomes import OUTCOMES
from ehrfm_core.study.layout import RESULT_FILES

from .data import make_site, with_stays


def with_scores(site: SiteData, seed: int = 0) -> SiteData:
    """Scores from nothing but noise (knn) to the severity itself (the other detectors, each with noise)."""
    rng = np.random.default_rng(seed)
    signal = site.dynamics["max_jump"].to_numpy() - 20
    columns: dict[str, object] = {}
    for i, name in enumerate(DETECTORS):
        score = (0 if name == "knn" else 1) * signal + (0.3 + i) * rng.normal(size=len(signal))
        columns |= {f"{name}_score": score.astype(np.float32), f"{name}_flag": score > 1}
    return replace(site, anomaly=pl.DataFrame({ID: site.dynamics[ID], **columns}))


@cache
def site() -> SiteData:
    return with_scores(make_site("a", 900, seed=1))


def described(*sites: SiteData, **options: int) -> tuple[pl.DataFrame, list[str]]:
    tests = {one.name: align(one)[0].split("test") for one in sites}
    return describe_outliers(tests, **{"seed": 0, "n_bootstrap": 120, **options})  # type: ignore[arg-type]


@cache
def both() -> pl.DataFrame:
    return described(site(), with_scores(make_site("b", 600, seed=2), 1))[0]


def test_stays() -> Stays:
    return align(site())[0].split("test")


test_stays.__test__ = False  # type: ignore[attr-defined]


def one(table: pl.DataFrame, **where: object) -> dict[str, object]:
    (row,) = table.filter(**{"site": "a", **where}).to_dicts()
    return row


def test_every_site_detector_and_outcome_has_its_rows() -> None:
    table = both()
    assert dict(table.schema) == RESULT_FILES["outliers"]
    keys = ["site", "detector", "outcome", "label", "measure"]
    assert not table.select(keys).is_duplicated().any()
    expected = {"share_flagged": 1, "spearman_n_tokens": 1, "rate_flagged": 4, "odds_ratio_adjusted": 4}
    expected |= {f"quantile_{q:g}": 1 + 2 * 4 for q in QUANTILES}
    for measure, each in expected.items():
        assert table.filter(measure=measure).height == 2 * len(DETECTORS) * each, measure
    for measure in AREAS:
        assert set(table.filter(measure=measure)["detector"]) == {*DETECTORS, CHARTING}
        assert set(table.filter(measure=f"{measure}_difference")["detector"]) == set(DETECTORS) - {FOREST}
    assert table.select("site", "detector", "measure").null_count().row(0) == (0, 0, 0)
    bounded = table.drop_nulls("ci_low")
    assert bounded.filter(~pl.col("estimate").is_between("ci_low", "ci_high")).is_empty()


def test_figures_follow_from_the_stays() -> None:
    frame, whole = test_stays().frame, both().filter(pl.col("outcome").is_null())
    for name in DETECTORS:
        score, flag = frame[f"{name}_score"].to_numpy(), frame[f"{name}_flag"].to_numpy()
        row = one(both(), detector=name, measure="share_flagged")
        assert (row["n"], row["n_events"]) == (frame.height, flag.sum())
        assert row["estimate"] == pytest.approx(flag.mean())
        interval = proportion_confint(flag.sum(), frame.height, method="wilson")
        assert (row["ci_low"], row["ci_high"]) == pytest.approx(interval)
        row = one(both(), detector=name, measure="spearman_n_tokens")
        assert row["estimate"] == pytest.approx(spearmanr(score, frame["n_tokens"]).statistic)
        for level in QUANTILES:
            row = one(whole, detector=name, measure=f"quantile_{level:g}")
            assert row["estimate"] == pytest.approx(np.quantile(score.astype(float), level))
        for outcome in OUTCOMES.values():
            counting = frame.filter(outcome.counts())
            labels = counting[outcome.name].to_numpy().astype(bool)
            scores = counting[f"{name}_score"].to_numpy()
            row = one(both(), detector=name, outcome=outcome.name, measure="roc_auc")
            assert row["estimate"] == pytest.approx(roc_auc_score(labels, scores))
            assert (row["n"], row["n_events"]) == (len(labels), labels.sum())
            ranking = StratifiedRanking.of(labels, scores, strata_of(counting["n_tokens"].to_numpy()))
            row = one(both(), detector=name, outcome=outcome.name, measure="roc_auc_adjusted")
            assert row["estimate"] == pytest.approx(ranking.roc_auc(np.ones((1, len(labels))))[0])
            assert row["n"] == len(ranking.compared)
            flags = counting[f"{name}_flag"].to_numpy()
            for measure, group in (("rate_flagged", flags), ("rate_others", ~flags)):
                row = one(both(), detector=name, outcome=outcome.name, measure=measure)
                assert (row["n"], row["n_events"]) == (group.sum(), labels[group].sum())
            for label in (True, False):
                where = {"detector": name, "outcome": outcome.name, "label": label}
                row = one(both(), measure="quantile_0.5", **where)
                assert row["estimate"] == pytest.approx(np.median(scores[labels == label].astype(float)))


def test_the_difference_is_that_of_the_areas_and_narrower_than_they_are() -> None:
    where = {"outcome": "long_los", "detector": "mahalanobis"}
    difference = one(both(), measure="roc_auc_difference", **where)
    area, forest = (
        one(both(), measure="roc_auc", **{**where, "detector": d}) for d in ("mahalanobis", FOREST)
    )
    assert difference["estimate"] == pytest.approx(area["estimate"] - forest["estimate"])  # type: ignore[operator]
    width = [row["ci_high"] - row["ci_low"] for row in (difference, area, forest)]  # type: ignore[operator]
    assert width[0] < np.hypot(width[1], width[2])


def test_noise_says_nothing_and_severity_does() -> None:
    noise, forest = (one(both(), detector=d, outcome="long_los", measure="roc_auc") for d in ("knn", FOREST))
    assert noise["ci_low"] < 0.5 < noise["ci_high"]  # type: ignore[operator]
    assert forest["ci_low"] > 0.5  # type: ignore[operator]


def test_a_score_that_is_the_number_of_tokens_falls_to_a_half_by_adjustment() -> None:
    stays = site().stays.select(ID, pl.col("n_tokens").cast(pl.Float32).alias("ecod_score"))
    assert site().anomaly is not None
    copied = replace(site(), anomaly=site().anomaly.drop("ecod_score").join(stays, on=ID))  # type: ignore[union-attr]
    table, _ = described(copied)
    for measure in AREAS:
        copy, tokens = (one(table, detector=d, outcome="death", measure=measure) for d in ("ecod", CHARTING))
        assert copy["estimate"] == tokens["estimate"]
        assert copy["ci_low"] == tokens["ci_low"]
    before, after = (one(table, detector="ecod", outcome="long_los", measure=m) for m in AREAS)
    assert abs(after["estimate"] - 0.5) < abs(before["estimate"] - 0.5)  # type: ignore[operator]


def test_the_same_seed_gives_the_same_table_whatever_else_is_there() -> None:
    assert_frame_equal(described(site())[0], both().filter(site="a"), check_exact=True)
    rows = np.random.default_rng(0).permutation(site().stays.height)
    mixed = replace(site(), anomaly=site().anomaly[rows], stays=site().stays[rows[::-1]])  # type: ignore[index]
    assert_frame_equal(described(mixed)[0], both().filter(site="a"), check_exact=True)
    other = described(site(), seed=1)[0]
    assert not other["ci_low"].equals(both().filter(site="a")["ci_low"])
    assert other["estimate"].equals(both().filter(site="a")["estimate"])


@pytest.mark.parametrize("value", [True, False])
def test_one_class_has_no_area_but_rates(value: bool) -> None:
    table, _ = described(with_stays(site(), pl.lit(value).alias("death")))
    areas = table.filter(pl.col("measure").is_in(AREAS), outcome="death")
    assert areas.select("estimate", "ci_low", "ci_high").null_count().row(0) == (areas.height,) * 3
    assert one(table, detector=FOREST, outcome="death", measure="rate_flagged")["estimate"] == float(value)
    assert one(table, detector=FOREST, outcome="death", measure="odds_ratio_adjusted")["estimate"] is None


def test_few_events_have_a_wide_interval_and_no_difference_of_areas() -> None:
    first = test_stays().frame[ID][:4].to_list()
    table, _ = described(with_stays(site(), pl.col(ID).is_in(first).alias("death")))
    row = one(table, detector=FOREST, outcome="death", measure="roc_auc")
    assert row["n_events"] == 4
    assert row["ci_high"] - row["ci_low"] > 0.3  # type: ignore[operator]
    row = one(table, detector="ecod", outcome="death", measure="roc_auc_difference")
    assert row["estimate"] is not None
    assert row["ci_low"] is None


def test_a_detector_that_was_not_fitted_is_null() -> None:
    assert site().anomaly is not None
    nothing = [
        pl.lit(None, dtype=t).alias(f"ecod_{p}") for p, t in (("score", pl.Float32), ("flag", pl.Boolean))
    ]
    table, _ = described(replace(site(), anomaly=site().anomaly.with_columns(nothing)))  # type: ignore[union-attr]
    own = table.filter(detector="ecod")
    assert own["estimate"].null_count() == own.height
    assert own["n"].max() == 0
    assert set(own["measure"]) >= {*AREAS, "share_flagged", "rate_flagged", "quantile_0.5"}
    rest = pl.col("detector") != "ecod"
    assert_frame_equal(table.filter(rest), both().filter(site="a").filter(rest), check_exact=True)


@pytest.mark.parametrize("split", ["nobody", "one"])
def test_no_stay_or_one_in_the_test_split(split: str) -> None:
    first = test_stays().frame[ID][0]
    keep = pl.col(ID) == first if split == "one" else pl.lit(value=False)
    moved = pl.when(~keep & (pl.col("split") == "test")).then(pl.lit("tuning")).otherwise("split")
    table, notes = described(with_stays(site(), moved.alias("split")))
    assert not notes
    assert dict(table.schema) == RESULT_FILES["outliers"]
    assert table.filter(pl.col("measure").is_in(AREAS))["estimate"].null_count() == 2 * 4 * 6
    assert one(table, detector=FOREST, measure="share_flagged")["n"] == (split == "one")


def test_a_study_without_outlier_scores_gets_a_note() -> None:
    table, notes = described(replace(site(), anomaly=None))
    assert table.is_empty()
    assert dict(table.schema) == RESULT_FILES["outliers"]
    assert notes == ["a has no table of outlier scores (anomaly.parquet); run embed again."]
