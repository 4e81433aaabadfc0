"""Calibration of probabilities, for one weighting of the stays or for many at once.

Symbols: n stays, p the predicted probability, ℓ = logit p, R weightings. All of it follows from logistic
regressions of the label on ℓ, fitted by Newton's method for every weighting side by side:

    calibration_intercept   a in logit P = a + ℓ: above 0 the risk is predicted too low
    calibration_slope       b in logit P = a + b ℓ: below 1 predictions are too extreme
    observed_expected       Σ label / Σ p
    ici                     mean |p − P| with P the smooth curve: a restricted cubic spline of ℓ with four
                            knots, at the 5th, 35th, 65th and 95th percentile (Harrell 2015, section 2.4)

(Van Calster et al., BMC Medicine 2019; 17: 230; Austin & Steyerberg, Statistics in Medicine 2019; 38: 4051.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.special import expit, logit

CALIBRATION = ("calibration_intercept", "calibration_slope", "observed_expected", "ici")
GROUPS = 256  # of like predictions, by which replicates are counted
KNOTS = (0.05, 0.35, 0.65, 0.95)
CLOSEST = 1e-6  # to 0 or 1 that a prediction counts as
ITERATIONS = 50
RIDGE = 1e-3
FARTHEST = 15.0  # median logit beyond which a fit has run away: the classes are separated


@dataclass(frozen=True, eq=False)
class Calibration:
    """Stays in G groups of like predictions.

    `logits` and `predicted` (G) are means within each, `knots` those of the spline. Row g of `sums` (G × n)
    adds up the weights of the group, of `event_sums` those with the event.
    """

    logits: np.ndarray
    predicted: np.ndarray
    knots: np.ndarray
    sums: csr_array
    event_sums: csr_array

    @classmethod
    def of(
        cls, labels: np.ndarray, probabilities: np.ndarray, *, most_groups: int | None = GROUPS
    ) -> Calibration:
        """Group `n` stays with boolean labels; without `most_groups` every distinct prediction is a group.

        Raises ValueError where a probability is none.
        """
        labels, p = np.asarray(labels, dtype=bool), np.asarray(probabilities, dtype=np.float64)
        if not ((p >= 0) & (p <= 1)).all():
            raise ValueError("calibration needs probabilities between 0 and 1")
        p = np.clip(p, CLOSEST, 1 - CLOSEST)
        cuts = np.unique(p)[1:]
        if most_groups is not None and len(cuts) >= most_groups:
            cuts = np.unique(np.quantile(p, np.arange(1, most_groups) / most_groups))
        group = np.unique(np.searchsorted(cuts, p, side="right"), return_inverse=True)[1]
        size, n = int(group.max()) + 1, len(p)
        counts = np.bincount(group)
        own = np.flatnonzero(labels)
        return cls(
            np.bincount(group, weights=logit(p)) / counts,
            np.bincount(group, weights=p) / counts,
            np.unique(np.quantile(logit(p), KNOTS)),
            csr_array((np.ones(n), (group, np.arange(n))), shape=(size, n)),
            csr_array((np.ones(len(own)), (group[own], own)), shape=(size, n)),
        )

    def measures(self, weights: np.ndarray) -> np.ndarray:
        """The four of `CALIBRATION` (4 × R) for each row of `weights` (R × n); NaN where there is no fit."""
        n, events = self._counts(weights)
        ones = np.ones_like(self.logits)
        intercept = fit(ones[:, None], n, events, offset=self.logits)[:, 0]
        slope = fit(np.stack([ones, self.logits], axis=1), n, events)[:, 1]
        if np.ptp(self.logits) < 1e-9:  # one prediction for all
            slope[:] = np.nan
        bent = spline(self.logits, self.knots)
        curve = expit(fit(bent, n, events, ridge=RIDGE) @ bent.T)
        apart = (n * np.abs(self.predicted - curve)).sum(axis=1)
        return np.stack(
            [intercept, slope, _over(events.sum(axis=1), n @ self.predicted), _over(apart, n.sum(axis=1))]
        )

    def curve(self, weights: np.ndarray, at: np.ndarray) -> np.ndarray:
        """The smooth curve (R × k): how often the event happens where `at` (k probabilities) is predicted."""
        beta = fit(spline(self.logits, self.knots), *self._counts(weights), ridge=RIDGE)
        return expit(beta @ spline(logit(np.clip(at, CLOSEST, 1 - CLOSEST)), self.knots).T)

    def _counts(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        columns = np.asarray(weights, dtype=np.float64).T
        return (self.sums @ columns).T, (self.event_sums @ columns).T


def spline(x: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Restricted cubic spline of `x` (k × q): 1, x, and a cubic between the knots, straight outside them.

    Fewer than three distinct knots leave a straight line.
    """
    columns = [np.ones_like(x), x]
    if len(knots) >= 3:
        last, before = knots[-1], knots[-2]
        for knot in knots[:-2]:
            cubes = [np.maximum(x - k, 0.0) ** 3 for k in (knot, before, last)]
            bent = (
                cubes[0]
                - cubes[1] * (last - knot) / (last - before)
                + cubes[2] * (before - knot) / (last - before)
            )
            columns.append(bent / (last - knots[0]) ** 2)
    return np.stack(columns, axis=1)


def fit(
    design: np.ndarray,
    n: np.ndarray,
    events: np.ndarray,
    *,
    offset: np.ndarray | None = None,
    ridge: float = 0.0,
) -> np.ndarray:
    """Logistic regressions of grouped labels (R × q coefficients), NaN where one does not settle.

    `design` (G × q) is shared; `n` and `events` (R × G) are the weights of all stays and of those with the
    event in each group. Newton's method, steps halved where they do not raise the likelihood. A little
    `ridge` (of coefficients of columns scaled to 1) holds a curve where its end has no event.

    >>> fit(np.ones((1, 1)), np.array([[4.0]]), np.array([[1.0]])).round(4).tolist()  # log(1/3)
    [[-1.0986]]
    """
    n, events = np.asarray(n, dtype=np.float64), np.asarray(events, dtype=np.float64)
    shift = np.zeros(len(design)) if offset is None else offset
    q = design.shape[1]
    size_of = np.maximum(np.abs(design).max(axis=0), 1e-12)  # columns of like size, for the numbers' sake
    design = design / size_of
    squares = (design[:, :, None] * design[:, None, :]).reshape(len(design), -1)
    beta = np.zeros((len(n), q))
    value = _likelihood(beta, design, shift, n, events, ridge)
    settled = np.zeros(len(n), dtype=bool)
    total, happened = n.sum(axis=1), events.sum(axis=1)
    possible = (happened > 0) & (happened < total)
    for _ in range(ITERATIONS):
        work = np.flatnonzero(possible & ~settled)
        if not len(work):
            break
        p = expit(beta[work] @ design.T + shift)
        gradient = (events[work] - n[work] * p) @ design - ridge * beta[work]
        curvature = ((n[work] * p * (1 - p)) @ squares).reshape(-1, q, q) + (1e-9 + ridge) * np.eye(q)
        step = np.linalg.solve(curvature, gradient[:, :, None])[:, :, 0]
        size = np.ones(len(work))
        for _ in range(12):
            after = beta[work] + size[:, None] * step
            found = _likelihood(after, design, shift, n[work], events[work], ridge)
            worse = ~(found >= value[work] - 1e-10 * np.abs(value[work]))
            if not worse.any():
                break
            size = np.where(worse, size / 2, size)
        beta[work], value[work] = after, found
        settled[work] = (np.abs(gradient) <= 1e-7 * np.maximum(total[work], 1)[:, None]).all(axis=1)
    middle = np.quantile(np.abs(beta @ design.T + shift), 0.5, axis=1)
    good = settled if ridge else settled & (middle < FARTHEST)
    return np.where(good[:, None], beta / size_of, np.nan)


def _likelihood(
    beta: np.ndarray, design: np.ndarray, shift: np.ndarray, n: np.ndarray, events: np.ndarray, ridge: float
) -> np.ndarray:
    eta = beta @ design.T + shift
    return (events * eta - n * np.logaddexp(0.0, eta)).sum(axis=1) - ridge / 2 * (beta**2).sum(axis=1)


def _over(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0)
