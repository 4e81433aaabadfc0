from __future__ import annotations

import pytest

from train.recipes.coverage import main, simulate


def test_intervals_hold_what_they_promise() -> None:
    """A short form: within what 150 samples can tell (three standard errors)."""
    found = simulate(n_patients=150, times=150, replicates=200, seed=1)
    for name in ("bootstrap", "delong", "shuffled"):
        assert 0.895 <= found[name] <= 1.0, name
    assert found["paired_test"] <= 0.105
    assert found["delong_stays_alone"] < found["delong"], "repeated stays must not pass for new ones"
    assert 0.6 < found["true_auc"] < 0.9


def test_it_prints_what_it_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--times", "3", "--patients", "60", "--replicates", "120"]) == 0
    printed = capsys.readouterr().out
    assert "DeLong by patient holds the truth" in printed
    assert "shuffled labels holds 0.5" in printed
