"""Everything that is measured of one run: figures and curves, for many weightings of its stays at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ehrfm_core.evaluation.calibration import CALIBRATION, Calibration
from ehrfm_core.evaluation.metrics import Ranking, brier
from ehrfm_core.evaluation.thresholds import SORTING, Levels, Thresholded

SPECIFICITY = 0.9
SENSITIVITY = "sensitivity_at_90_specificity"
# at the threshold that the source's model has on the source's tuning split at that specificity
CARRIED = tuple(f"carried_{name}" for name in SORTING)
METRICS = ("roc_auc", "average_precision", "brier", *CALIBRATION, SENSITIVITY, *CARRIED)
THRESHOLDS = np.array([0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5])
CURVE_AT = np.linspace(0.01, 0.99, 25)  # quantiles of the predictions


@dataclass(frozen=True, eq=False)
class RunMeasures:
    """One run on n stays. `at` (k) are the predictions at which its calibration curve is read."""

    labels: np.ndarray
    scores: np.ndarray
    at: np.ndarray
    ranking: Ranking
    calibration: Calibration
    levels: Levels
    thresholded: Thresholded
    carried: Thresholded

    @classmethod
    def of(cls, labels: np.ndarray, scores: np.ndarray, *, carried: float | None = None) -> RunMeasures:
        """Sort `n` stays with boolean labels by probability; `carried` is the source's threshold, if any."""
        return cls(
            labels,
            scores,
            np.unique(np.quantile(scores, CURVE_AT)),
            Ranking.of(labels, scores),
            Calibration.of(labels, scores),
            Levels.of(labels, scores),
            Thresholded.of(labels, scores, THRESHOLDS),
            Thresholded.of(labels, scores, np.array([np.nan if carried is None else carried])),
        )

    def values(self, weights: np.ndarray) -> np.ndarray:
        """Metrics, then the calibration curve, then net benefit (rows × R) for weights (R × n)."""
        return np.concatenate(
            [
                self.ranking.both(weights),
                brier(self.labels, self.scores, weights)[None],
                self.calibration.measures(weights),
                self.levels.sensitivity(weights, specificity=SPECIFICITY)[None],
                self._sorting(weights),
                self.calibration.curve(weights, self.at).T,
                self.thresholded.net_benefit(weights)[0].T,
            ]
        )

    def _sorting(self, weights: np.ndarray) -> np.ndarray:
        """What the carried threshold does (4 × R); not a number without one."""
        if np.isnan(self.carried.thresholds[0]):
            return np.full((len(CARRIED), len(weights)), np.nan)
        return self.carried.sorting(weights)[:, :, 0]

    def everybody(self) -> np.ndarray:
        """Net benefit of acting on all stays, at each threshold."""
        return self.thresholded.net_benefit(np.ones((1, len(self.labels))))[1][0]

    @property
    def n_rows(self) -> int:
        """How many rows `values` has."""
        return len(METRICS) + len(self.at) + len(THRESHOLDS)

    def split(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows of `values` as metrics, calibration curve and net benefit."""
        first, second = len(METRICS), len(METRICS) + len(self.at)
        return rows[:first], rows[first:second], rows[second:]
