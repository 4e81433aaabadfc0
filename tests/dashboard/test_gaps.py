from __future__ import annotations

import math
from dataclasses import replace

import pytest

from dashboard.gaps import Estimate, Steps, apart, share, steps
from dashboard.ladder_words import BLANK, figure, said, verdict
from dashboard.ladder_words import share as told
from ehrfm_core.study import open_study
from tests.dashboard.test_pages import Path

N = {"n": 1000, "n_events": 200}


def area(value: float, half: float = 0.02) -> Estimate:
    return Estimate(value, value - half, value + half, **N)


def outcome(label: str, home: float, away: float, gain: Estimate | None = None) -> Steps:
    rungs = area(home), area(away), area(away + (gain.value if gain else 0))
    return Steps(label.lower(), label, *rungs, apart(*rungs[:2]), gain)


def test_a_gap_of_two_hospitals_has_the_width_of_both() -> None:
    gap = apart(area(0.8), area(0.6, 0.03))
    assert gap.value == pytest.approx(0.2)
    assert gap.high is not None
    assert gap.high - gap.value == pytest.approx(math.hypot(0.02, 0.03))
    few = apart(area(0.8), Estimate(0.6, 0.4, 0.8, 1000, 9))
    assert (few.low, few.high, few.clear) == (None, None, 0)


def test_a_share_is_told_only_of_a_clear_loss() -> None:
    gain = Estimate(0.1, 0.05, 0.15)
    clear, unclear = outcome("ICU", 0.8, 0.6, gain), outcome("ICU", 0.62, 0.6, gain)
    assert clear.recovered is not None
    assert clear.recovered.value == pytest.approx(0.5)
    assert clear.recovered.clear == 1
    assert told(clear).startswith("50 % [")
    assert verdict(clear).startswith("loses 0.20 [0.17–0.23]<br>recovered 50 %")
    assert unclear.recovered is None
    assert verdict(unclear) == f"no clear gap<br>{BLANK}"
    assert told(unclear) == "no clear gap"
    assert verdict(replace(unclear, home=None)) == "nothing to rank"
    for known in (unclear, replace(unclear, home=None), replace(unclear, gap=None)):
        assert verdict(known, "ucmc").count("<br>") == 1, "names stand on one line"
    assert share(Estimate(0.1, None, None), clear.gap or area(1), clear.away, clear.adapted) is None
    assert verdict(outcome("ICU", 0.6, 0.8)) == f"gains 0.20 [0.17–0.23]<br>{BLANK}"


def test_the_share_of_a_sample_lies_in_its_interval_as_often_as_it_says() -> None:
    """Against resampling: the three areas drawn with known spreads, unchanged and adapted going together."""
    import numpy as np

    rng, z = np.random.default_rng(0), 1.959964
    sd, covariance = 0.01, 0.6 * 0.01**2
    both = rng.multivariate_normal([0.6, 0.7], [[sd**2, covariance], [covariance, sd**2]], 4000)
    home = rng.normal(0.8, sd, 4000)
    paired = math.sqrt(2 * sd**2 - 2 * covariance)

    def wide(value: float, spread: float) -> Estimate:
        return Estimate(value, value - z * spread, value + z * spread, **N)

    held = 0
    for unchanged, adapted, at_home in zip(*both.T, home, strict=True):
        gap, gain = wide(at_home - unchanged, math.sqrt(2) * sd), wide(adapted - unchanged, paired)
        back = share(gain, gap, wide(unchanged, sd), wide(adapted, sd))
        assert back is not None
        held += back.low <= 0.5 <= back.high  # type: ignore[operator]
    assert 0.935 < held / 4000 < 0.965


def test_the_sentences_claim_no_more_than_the_intervals() -> None:
    left = Estimate(0.0, 0.0, 0.0)
    better, worse = Estimate(0.1, 0.05, 0.15), Estimate(-0.05, -0.08, -0.02)
    lost, kept = said(
        [
            outcome("ICU", 0.8, 0.5, better),
            outcome("Long stay", 0.8, 0.7, worse),
            outcome("Death", 0.7, 0.7, left),
        ],
        "here",
        "there",
        "re-fitted",
    )
    assert lost.startswith("**ICU moves worst:** a loss of 0.300 [")
    assert "Clear losses too: long stay 0.100" in lost
    assert "clearly better for ICU +0.100 [+0.050 to +0.150]" in kept
    assert "clearly worse for long stay -0.050" in kept
    assert "leave the model as it was for death" in kept
    near, no_data = said([outcome("ICU", 0.8, 0.6), outcome("Long stay", 0.8, 0.61)], "here", "there", "")
    assert "**ICU loses most:**" in near
    assert "That it is the worst is not clear, since long stay may lose as much." in near
    assert "no such run" in no_data
    (none, _) = said([outcome("ICU", 0.8, 0.79), outcome("Death", 0.8, 0.8)], "here", "there", "")
    assert none.startswith(
        "**No outcome is clearly worse at there:** the largest gap is that of ICU, 0.010 ["
    )
    assert said([Steps("a", "A", None)], "here", "there", "")[0].startswith("**Nothing to compare")


def test_every_number_is_that_of_the_tables(studies: Path) -> None:
    study = open_study(studies / "two")
    metrics, comparisons, weighed = (
        study.result(name)
        for name in ("metrics", "comparisons", "reweighting")  # type: ignore[arg-type]
    )
    key = {"model": "probe", "home": "mimic", "target": "ucmc", "way": "refit"}
    found = {
        one.outcome: one
        for one in steps(
            metrics,
            study.outcomes,
            comparisons=comparisons,
            reweighting=weighed,
            **key,  # type: ignore[arg-type]
        )
    }
    assert list(found) == list(study.outcomes)
    one = found["long_los"]
    own = metrics.filter(model="probe", outcome="long_los", metric="roc_auc", subgroup="all", repeat=0)
    row = own.filter(arm="adapted", adapt_method="refit", adapt_fraction=1.0).row(0, named=True)
    assert one.adapted == Estimate(*(row[c] for c in ("estimate", "ci_low", "ci_high", "n", "n_events")))
    gap = weighed.filter(outcome="long_los", quantity="gap", characteristics="population").row(0, named=True)
    assert one.gap is not None
    assert (one.gap.value, one.gap.low, one.gap.high) == (gap["estimate"], gap["ci_low"], gap["ci_high"])
    paired = comparisons.filter(
        outcome="long_los", first_model="probe", first_adapt_method="refit", second_arm="zero_shot"
    ).filter(second_model="probe")
    assert one.gain is not None
    assert [one.gain.value] == paired["difference"].to_list()
    assert figure(None) == "unknown"
