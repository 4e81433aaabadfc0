"""`python -m train bench maps`: states like a study's, and what is measured on them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.make_study import make_study
from train.__main__ import main
from train.bench.resample import NOISE, resample


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_study(tmp_path_factory.mktemp("bench") / "study", sites={"a": 20, "b": 10})


def moves(hourly: np.ndarray) -> np.ndarray:
    return (hourly[:, 1:] != hourly[:, :-1]).any(axis=2)


@settings(max_examples=20, deadline=None)
@given(stays=st.integers(1, 40), width=st.sampled_from([3, 6, 11]), seed=st.integers(0, 99))
def test_an_hour_repeats_the_one_before_where_it_did_in_the_study(stays: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    hourly = np.repeat(rng.normal(size=(1, 4, 6)), [1, 3, 1, 2], axis=1)
    drawn = resample(hourly, stays=stays, width=width, seed=seed)
    assert drawn.shape == (stays, 7, width)
    assert (moves(drawn) == moves(hourly)).all()
    assert np.array_equal(drawn, resample(hourly, stays=stays, width=width, seed=seed))


def test_drawn_states_keep_centre_spread_and_neighbourhood_of_the_study() -> None:
    hourly = np.random.default_rng(0).normal(size=(400, 5, 6)) * [9, 3, 1, 1, 1, 0.1] + 20
    drawn = resample(hourly, stays=20_000, width=6, seed=1).astype(np.float64)
    flat, whole = drawn.reshape(-1, 6), hourly.reshape(-1, 6)
    spread = whole.std(axis=0)
    assert (np.abs(flat.mean(axis=0) - whole.mean(axis=0)) < 0.05 * spread + 0.01).all()
    np.testing.assert_allclose(flat.std(axis=0), spread * (1 + NOISE**2) ** 0.5, rtol=0.05)
    wider = resample(hourly, stays=200, width=64, seed=1).astype(np.float64).reshape(-1, 64)
    assert np.trace(np.cov(wider.T)) == pytest.approx((spread**2).sum() * (1 + NOISE**2), rel=0.5)


@pytest.mark.slow
def test_it_measures_what_is_asked_for(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "maps", str(study), "--stays", "30", "--hidden", "60", "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["stays"] == 30
    assert row["hidden_size"] == 60
    assert row["states"] == row["distinct_states"] == 30 * 25
    assert row["fitted_states"] == 21 * 25
    assert row["fit_seconds"] > 0
    assert row["states_per_second"] > 10
    assert 0.05 < row["peak_memory_gb"] < 20


def test_too_few_stays_or_no_states_are_one_sentence(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "maps", str(study), "--stays", "1"]) == 1
    assert "more --stays" in capsys.readouterr().err
    bare = make_study(tmp_path / "bare", sites={"a": 5}, stages=("tokenize",))
    assert main(["bench", "maps", str(bare)]) == 1
    assert "train embed" in capsys.readouterr().err
