from __future__ import annotations

import json
from typing import get_args

import polars as pl
import pytest

from ehrfm_core.cohort import SPLITS
from ehrfm_core.outcomes import OUTCOMES
from ehrfm_core.published import FILE, SITES, Name, published

OUTCOME_TABLES = ("associations", "roc_auc", "adaptation", "schemes")


def test_every_table_can_be_read_and_says_whose_it_is() -> None:
    assert set(get_args(Name)) == set(json.loads(FILE.read_text(encoding="utf-8"))["tables"])
    for name in get_args(Name):
        table = published(name)
        assert table.frame.height
        assert "arXiv" in table.citation
        assert table.url.startswith("https://")
        assert table.where
        assert table.about


def test_names_are_the_projects_own() -> None:
    for name in OUTCOME_TABLES:
        assert published(name).frame["outcome"].unique().sort().to_list() == sorted(OUTCOMES)
    for name, column in (("cohort", "site"), ("splits", "site"), ("roc_auc", "test_site")):
        assert set(published(name).frame[column]) == set(SITES)
    assert set(published("splits").frame["split"]) == set(SPLITS)


def test_outliers_and_inliers_make_up_the_test_split() -> None:
    cohort = published("cohort")
    for site in SITES:
        inliers, outliers, both = (
            cohort.frame.filter(site=site).select("characteristic", n=group)
            for group in ("inliers", "outliers", "all")
        )
        weights = [group.filter(characteristic="n_stays")["n"].item() for group in (inliers, outliers)]
        total = both.filter(characteristic="n_stays")["n"].item()
        assert sum(weights) == total == published("splits").value("n_stays", site=site, split="test")
        # every mean and share of all stays is that of both groups, but for the rounding
        mixed = (inliers["n"] * weights[0] + outliers["n"] * weights[1]) / total
        rest = both["characteristic"] != "n_stays"
        relative = ((mixed - both["n"]).abs() / both["n"]).filter(rest)
        assert relative.max() < 0.02


def test_figures_told_twice_are_the_same() -> None:
    adaptation, results = published("adaptation"), published("roc_auc")
    for outcome in OUTCOMES:
        for fraction, arm in ((0.0, "zero_shot"), (0.05, "adapted")):
            stored = adaptation.value("roc_auc", adapt_fraction=fraction, outcome=outcome)
            assert stored == results.value("roc_auc", model="finetuned", arm=arm, outcome=outcome)


def test_figures_by_site_outcome_and_arm() -> None:
    results = published("roc_auc")
    assert results.value("roc_auc", model="probe", arm="in_distribution", outcome="death") == 0.902
    assert results.value("roc_auc", model="finetuned", arm="adapted", outcome="imv") == 0.808
    path = published("associations").frame.filter(site="mimic", feature="path_length")
    assert path.filter(pl.col("coefficient") < 0)["outcome"].to_list() == ["icu", "imv"]
    assert path.filter(pl.col("p_value").is_not_null())["outcome"].to_list() == ["imv"]
    assert published("adaptation").value("roc_auc", adapt_fraction=0.01, outcome="icu") == 0.805
    assert published("schemes").value("roc_auc", scheme="fused", outcome="imv") == 0.918


@pytest.mark.parametrize("keys", [{"model": "oracle"}, {"model": "probe", "outcome": "death"}])
def test_a_figure_that_is_not_there_or_not_one(keys: dict[str, str]) -> None:
    with pytest.raises(KeyError, match="published figures fit 'roc_auc'"):
        published("roc_auc").value("roc_auc", **keys)
    with pytest.raises(KeyError):
        published("associations").value("p_value", site="ucmc", outcome="death", feature="max_jump")
