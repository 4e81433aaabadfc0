import json

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ehrfm_core.evaluation.probes import Probe, fit_probe


def data(n: int = 300, hidden: int = 20) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    states = (rng.normal(size=(n, hidden)) * rng.uniform(0.1, 50, hidden) + 100).astype(np.float32)
    return states, rng.random(n) < 1 / (1 + np.exp(-(states[:, 0] - 100)))


def test_equals_sklearn() -> None:
    states, labels = data()
    probe, converged = fit_probe(states, labels)
    reference = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=5000))
    reference.fit(states.astype(np.float64), labels)
    assert converged
    expected = reference.predict_proba(states.astype(np.float64))[:, 1]
    np.testing.assert_allclose(probe.probability(states), expected, rtol=0, atol=1e-12)


def test_json_gives_back_the_very_same_numbers() -> None:
    states, labels = data()
    probe, _ = fit_probe(states, labels)
    again = Probe.from_json(json.loads(json.dumps(probe.to_json())))
    assert (again.probability(states) == probe.probability(states)).all()


@pytest.mark.parametrize(
    "text", ["[]", '{"center": [0]}', '{"center": [0, 1], "scale": [1], "coefficient": [1], "intercept": 0}']
)
def test_json_that_is_no_probe_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="probe"):
        Probe.from_json(json.loads(text))


def test_a_constant_feature_weighs_nothing() -> None:
    states, labels = data()
    states[:, 3] = 7.25
    probe, _ = fit_probe(states, labels)
    assert probe.scale[3] == 1
    moved = states.copy()
    moved[:, 3] = 1000
    assert np.isfinite(probe.probability(states)).all()
    np.testing.assert_allclose(probe.probability(moved), probe.probability(states), atol=1e-9)


def test_extreme_states_stay_within_zero_and_one() -> None:
    probe = Probe(np.zeros(1), np.ones(1), np.array([1.0]), np.array(0.0))
    values = probe.probability(np.array([[-1e4], [-700.0], [0.0], [1e4]]))
    assert values.dtype == np.float64
    assert values.tolist() == [0.0, pytest.approx(np.exp(-700)), 0.5, 1.0]


def test_any_leading_shape_and_the_wrong_width() -> None:
    states, labels = data()
    probe, _ = fit_probe(states, labels)
    assert probe.probability(states.reshape(30, 10, 20)).shape == (30, 10)
    with pytest.raises(ValueError, match="20 features, not 19"):
        probe.probability(states[:, 1:])


def test_fitting_leaves_its_input_alone_and_needs_two_classes() -> None:
    states, labels = data()
    before = states.astype(np.float64)
    copy = before.copy()
    fit_probe(before, labels)
    assert (before == copy).all()
    with pytest.raises(ValueError, match="with and without"):
        fit_probe(states, np.ones(len(states), dtype=bool))
