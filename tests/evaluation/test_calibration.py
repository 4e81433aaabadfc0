from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.special import expit, logit

from ehrfm_core.evaluation.calibration import CALIBRATION, Calibration, fit, spline


def drawn(n: int = 600, *, seed: int = 0, a: float = 0.3, b: float = 0.7) -> tuple[np.ndarray, np.ndarray]:
    """Labels of which logit P = a + b · logit p, and the predictions p."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(-1, 1.2, n)
    p = expit((truth - a) / b)
    return rng.random(n) < expit(truth), p


def measures(labels: np.ndarray, p: np.ndarray, **options: int | None) -> dict[str, float]:
    found = Calibration.of(labels, p, **options).measures(np.ones((1, len(p))))  # type: ignore[arg-type]
    return dict(zip(CALIBRATION, found[:, 0], strict=True))


def test_slope_intercept_and_ratio_are_those_of_the_library() -> None:
    labels, p = drawn()
    found = measures(labels, p, most_groups=None)
    slope = sm.Logit(labels.astype(float), sm.add_constant(logit(p))).fit(disp=0)
    level = sm.GLM(
        labels.astype(float), np.ones((len(p), 1)), offset=logit(p), family=sm.families.Binomial()
    ).fit()
    assert found["calibration_slope"] == pytest.approx(slope.params[1], abs=1e-6)
    assert found["calibration_intercept"] == pytest.approx(level.params[0], abs=1e-6)
    assert found["observed_expected"] == pytest.approx(labels.sum() / p.sum())
    design = spline(logit(p), np.quantile(logit(p), [0.05, 0.35, 0.65, 0.95]))
    smooth = sm.Logit(labels.astype(float), design).fit(disp=0).predict(design)
    assert found["ici"] == pytest.approx(np.abs(smooth - p).mean(), abs=1e-3)  # ridge


def test_what_was_put_in_is_found() -> None:
    labels, p = drawn(40_000, a=0.4, b=0.6)
    found = measures(labels, p)
    assert found["calibration_slope"] == pytest.approx(0.6, abs=0.03)
    right = measures(*drawn(40_000, a=0.0, b=1.0))
    assert right["calibration_slope"] == pytest.approx(1, abs=0.04)
    assert right["calibration_intercept"] == pytest.approx(0, abs=0.04)
    assert right["observed_expected"] == pytest.approx(1, abs=0.02)
    assert right["ici"] < 0.01 < found["ici"]


def test_a_steep_fit_is_a_fit() -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(-3, 3, 20_000)
    found = measures(rng.random(len(x)) < expit(3 * x), expit(x))
    assert found["calibration_slope"] == pytest.approx(3, abs=0.2)


def test_groups_of_like_predictions_lose_little() -> None:
    labels, p = drawn(5_000)
    fine, grouped = measures(labels, p, most_groups=None), measures(labels, p)
    for name, value in fine.items():
        assert grouped[name] == pytest.approx(value, abs=2e-3)


def test_many_weightings_at_once_are_each_alone() -> None:
    labels, p = drawn(200)
    weights = np.random.default_rng(1).integers(0, 3, (7, 200))
    calibration = Calibration.of(labels, p)
    together = calibration.measures(weights)
    for row, found in zip(weights, together.T, strict=True):
        rows = np.repeat(np.arange(200), row)
        assert calibration.measures(row[None])[:, 0] == pytest.approx(found)
        slope = sm.Logit(labels[rows].astype(float), sm.add_constant(logit(p[rows]))).fit(disp=0)
        assert found[1] == pytest.approx(slope.params[1], abs=1e-5)


def test_where_there_is_no_fit_there_is_no_figure() -> None:
    p = np.linspace(0.01, 0.99, 30)
    apart = Calibration.of(p > 0.5, p).measures(np.ones((1, 30)))[:, 0]
    assert np.isnan(apart[1]), "the classes are separated: the slope has no end"
    nobody = Calibration.of(np.zeros(30, dtype=bool), p).measures(np.ones((1, 30)))[:, 0]
    assert np.isnan(nobody[[0, 1, 3]]).all()
    assert nobody[2] == 0
    constant = Calibration.of(np.arange(30) < 9, np.full(30, 0.3)).measures(np.ones((1, 30)))[:, 0]
    assert constant[0] == pytest.approx(0, abs=1e-6)
    assert np.isnan(constant[1])
    assert constant[2] == pytest.approx(1)
    assert np.isfinite(Calibration.of(np.arange(9) < 4, np.arange(9) % 2).measures(np.ones((1, 9)))[2]).all()


def test_a_curve_is_straight_where_predictions_are_right() -> None:
    labels, p = drawn(60_000, a=0.0, b=1.0)
    at = np.array([0.1, 0.3, 0.6])
    assert Calibration.of(labels, p).curve(np.ones((1, len(p))), at)[0] == pytest.approx(at, abs=0.02)


def test_a_probability_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        Calibration.of(np.array([True, False]), np.array([1.2, 0.1]))


def test_newton_settles_on_hard_weights() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=40) * 4
    n = rng.integers(0, 4, (200, 40)).astype(float)
    events = np.minimum(n, rng.integers(0, 3, (200, 40)))
    beta = fit(np.stack([np.ones(40), x], axis=1), n, events)
    assert np.isfinite(beta).all(axis=1).mean() > 0.99
