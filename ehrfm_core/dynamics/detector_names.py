"""The outlier detectors by name: what columns, results and the screen call them."""

from __future__ import annotations

FOREST = "isolation_forest"

DETECTORS = {
    FOREST: "Isolation forest",
    "knn": "Nearest neighbours",
    "mahalanobis": "Mahalanobis distance",
    "gaussian_mixture": "Gaussian mixture",
    "ecod": "ECOD",
}
