import numpy as np
import pytest
from scipy.stats import norm

from ehrfm_core.evaluation.intervals import (
    auc_interval,
    cluster_weights,
    newcombe_interval,
    percentile_interval,
)
from ehrfm_core.evaluation.metrics import roc_auc


def test_every_stay_of_a_drawn_patient_comes_along() -> None:
    patients = np.array(["a", "b", "a", "c", "c", "c"])
    weights = np.concatenate(
        list(cluster_weights(patients, n_replicates=500, rng=np.random.default_rng(0), cells=60))
    )
    assert weights.shape == (500, 6)
    assert (weights == weights.round()).all()
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, 3:] == weights[:, [3]]).all()
    assert (weights[:, [0, 1, 3]].sum(axis=1) == 3).all(), "as many patients are drawn as there are"
    assert np.allclose(weights.mean(axis=0), 1, atol=0.15)


def test_draws_do_not_depend_on_the_size_of_blocks() -> None:
    patients = np.arange(20) // 2
    blocks = [
        np.concatenate(
            list(cluster_weights(patients, n_replicates=50, rng=np.random.default_rng(3), cells=cells))
        )
        for cells in (20, 10_000)
    ]
    assert (blocks[0] == blocks[1]).all()


def test_same_seed_same_interval() -> None:
    rng = np.random.default_rng(1)
    labels = rng.random(300) < 0.3
    scores, patients = rng.normal(size=300) + labels, rng.integers(0, 200, 300)
    intervals = [
        auc_interval(labels, scores, patients, n_replicates=200, rng=np.random.default_rng(seed))
        for seed in (5, 5, 6)
    ]
    assert intervals[0] == intervals[1] != intervals[2]
    assert intervals[0].method == "bootstrap"


def test_clustered_interval_covers_where_the_unclustered_one_does_not() -> None:
    """60 patients with 12 near-identical stays each: only the patients are independent."""
    truth, n_patients, n_stays, trials = norm.cdf(1 / np.sqrt(2)), 60, 12, 120
    covered = {"clustered": 0, "unclustered": 0}
    for seed in range(trials):
        rng = np.random.default_rng(seed)
        labels = np.repeat(np.arange(n_patients) % 2 == 0, n_stays)
        scores = np.repeat(rng.normal(size=n_patients), n_stays) + labels
        patients = np.repeat(np.arange(n_patients), n_stays)
        for kind, clusters in (("clustered", patients), ("unclustered", np.arange(len(patients)))):
            interval = auc_interval(labels, scores, clusters, n_replicates=200, rng=rng)
            assert interval.low is not None
            assert interval.high is not None
            covered[kind] += interval.low <= truth <= interval.high
    assert covered["clustered"] >= 0.88 * trials
    assert covered["unclustered"] <= 0.6 * trials


def test_separable_scores_fall_back_to_newcombe() -> None:
    labels = np.arange(53) < 3
    interval = auc_interval(
        labels, labels.astype(float), np.arange(53), n_replicates=500, rng=np.random.default_rng(0)
    )
    assert interval.method == "newcombe"
    assert interval.high == 1.0
    assert interval.low is not None
    assert interval.low == pytest.approx(0.6905, abs=0.01), "three events can not show an AUC of 1"


def test_separable_scores_of_many_patients_too() -> None:
    labels = np.arange(400) < 100
    interval = auc_interval(
        labels, labels.astype(float), np.arange(400), n_replicates=150, rng=np.random.default_rng(0)
    )
    assert interval.method == "newcombe"
    assert interval.low is not None
    assert 0.95 < interval.low < 1


def test_too_few_replicates_or_patients_fall_back_to_newcombe() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(200) < 60
    scores = rng.normal(size=200) + labels
    assert auc_interval(labels, scores, np.arange(200), n_replicates=99, rng=rng).method == "newcombe"
    few = auc_interval(labels, scores, np.arange(200) // 30, n_replicates=300, rng=rng)
    many = auc_interval(labels, scores, np.arange(200), n_replicates=300, rng=rng)
    assert few.method == "newcombe"
    assert many.method == "bootstrap"
    assert few.low is not None
    assert many.low is not None
    assert few.low < many.low, "7 patients tell less than 200"


def test_one_class_has_no_interval() -> None:
    interval = auc_interval(
        np.zeros(9, dtype=bool), np.arange(9.0), np.arange(9), n_replicates=200, rng=np.random.default_rng(0)
    )
    assert (interval.low, interval.high, interval.method) == (None, None, "none")


@pytest.mark.parametrize(("auc", "n_events", "n_others"), [(0.8, 12, 90), (0.5, 5, 5), (0.97, 40, 7)])
def test_newcombe_bounds_solve_its_equation(auc: float, n_events: int, n_others: int) -> None:
    for bound in newcombe_interval(auc, n_events=n_events, n_others=n_others):
        size = (n_events + n_others) / 2 - 1
        variance = bound * (1 - bound) * (1 + size * (1 - bound) / (2 - bound) + size * bound / (1 + bound))
        assert (auc - bound) ** 2 == pytest.approx(
            norm.ppf(0.975) ** 2 * variance / (n_events * n_others), rel=1e-6
        )


def test_newcombe_is_symmetric_and_covers_with_few_events() -> None:
    low, high = newcombe_interval(0.9, n_events=4, n_others=100)
    mirrored = newcombe_interval(0.1, n_events=4, n_others=100)
    assert (1 - high, 1 - low) == pytest.approx(mirrored)
    assert newcombe_interval(0.0, n_events=4, n_others=100)[0] == 0.0
    truth, covered = norm.cdf(2 / np.sqrt(2)), 0
    for seed in range(300):
        labels = np.arange(100) < 4
        scores = np.random.default_rng(seed).normal(size=100) + 2 * labels
        low, high = newcombe_interval(float(roc_auc(labels, scores)[0]), n_events=4, n_others=96)
        covered += low <= truth <= high
    assert covered >= 0.9 * 300


def test_percentile_interval_ignores_undefined_replicates_and_refuses_equal_ones() -> None:
    values = np.concatenate([np.linspace(0, 1, 1001), np.full(50, np.nan)])
    interval = percentile_interval(values)
    assert (interval.low, interval.high, interval.n_valid) == (
        pytest.approx(0.025),
        pytest.approx(0.975),
        1001,
    )
    assert percentile_interval(np.ones(500)).method == "none"
    assert percentile_interval(np.linspace(0, 1, 99)).method == "none"
