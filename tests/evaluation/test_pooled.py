"""The probe on mean states: joined by stay, fitted like the others, absent where there are no means."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from ehrfm_core.evaluation.metrics import roc_auc
from ehrfm_core.evaluation.sites import SiteData, align, pool
from ehrfm_core.outcomes import OUTCOMES

from .data import make_site
from .test_evaluate import run


def pooled_site(name: str, n: int, seed: int) -> SiteData:
    """A site whose mean states tell more of death than its last states do."""
    site = make_site(name, n, seed=seed)
    rng = np.random.default_rng(seed)
    death = site.stays["death"].fill_null(value=False).to_numpy()
    order = {stay: i for i, stay in enumerate(site.stays["hospitalization_id"])}
    rows = np.array([order[stay] for stay in site.state_ids])
    clear = rng.normal(size=(len(rows), 1)) + 3.0 * death[rows][:, None]
    return replace(site, pooled=np.concatenate([site.states, clear], axis=1).astype(np.float32))


def test_means_over_all_hours_and_the_last_six() -> None:
    hourly = np.arange(2 * 25 * 3, dtype=np.float32).reshape(2, 25, 3)
    found = pool(hourly[:, -1] + 100, hourly.astype(np.float16))
    assert found.shape == (2, 9)
    assert np.allclose(found[:, :3], hourly[:, -1] + 100)
    assert np.allclose(found[:, 3:6], hourly.mean(axis=1))
    assert np.allclose(found[:, 6:], hourly[:, 19:].mean(axis=1))


def test_it_stands_beside_the_probe_in_every_arm_and_reads_what_the_means_tell() -> None:
    found = run(pooled_site("a", 700, 1), pooled_site("b", 500, 2))
    rows = found.metrics.filter(model="probe_pooled", metric="roc_auc", subgroup="all", outcome="death")
    assert set(rows["arm"]) == {"in_distribution", "zero_shot", "adapted"}
    home = found.metrics.filter(
        metric="roc_auc", subgroup="all", outcome="death", arm="in_distribution"
    ).select("model", "estimate")
    areas = dict(home.iter_rows())
    assert areas["probe_pooled"] > areas["probe"] + 0.05
    pairs = found.comparisons.select("first_model", "second_model").unique().rows()
    assert ("probe_pooled", "baseline_boosting") in pairs or (
        "probe_pooled",
        "baseline_token_counts",
    ) in pairs
    assert ("probe_pooled", "probe") in pairs


def test_local_stays_change_it_where_the_tuning_split_says_so() -> None:
    """Elsewhere the means tell the same, and few stays there teach less; or they tell the contrary."""
    here, alike = noisy(pooled_site("a", 700, 1)), noisy(pooled_site("b", 300, 2))
    contrary = noisy(pooled_site("b", 1500, 2), sign=-1)
    areas = {}
    for name, there in (("alike", alike), ("contrary", contrary)):
        found = run(here, there).predictions.filter(
            model="probe_pooled", outcome="death", test_site="b", repeat=0
        )
        for (arm,), rows in found.group_by("arm"):
            labels, risks = rows["label"].to_numpy(), rows["probability"].to_numpy()
            areas[name, arm] = roc_auc(labels, risks).item()
    assert areas["alike", "adapted"] == pytest.approx(areas["alike", "zero_shot"])
    assert areas["contrary", "adapted"] > areas["contrary", "zero_shot"] + 0.2


def noisy(site: SiteData, *, sign: int = 1) -> SiteData:
    """The same with forty means that tell nothing, and the one that tells turned round or not."""
    assert site.pooled is not None
    clear = sign * site.pooled[:, -1:]
    noise = np.random.default_rng(0).normal(size=(len(clear), 40))
    return replace(site, pooled=np.concatenate([noise, clear], axis=1).astype(np.float32))


def test_without_means_there_is_none_of_it() -> None:
    found = run(make_site("a", 400, seed=1))
    assert "probe_pooled" not in set(found.predictions["model"])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_means_follow_their_stay(seed: int) -> None:
    site = pooled_site("a", 60, 3)
    order = np.random.default_rng(seed).permutation(len(site.state_ids))
    assert site.pooled is not None
    other = replace(
        site,
        state_ids=[site.state_ids[i] for i in order],
        states=site.states[order],
        pooled=site.pooled[order],
    )
    (one, _), (two, _) = align(site), align(other)
    assert one.pooled is not None
    assert two.pooled is not None
    assert np.array_equal(one.pooled, two.pooled)
    assert np.array_equal(
        one.split("test").counting(OUTCOMES["icu"]).pooled, two.split("test").counting(OUTCOMES["icu"]).pooled
    )  # type: ignore[arg-type]
    assert_frame_equal(one.frame, two.frame)
