"""Logistic regression of an outcome on standardised features, with intervals clustered by patient."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import polars as pl
from statsmodels.discrete.discrete_model import Logit
from statsmodels.tools.sm_exceptions import PerfectSeparationError, PerfectSeparationWarning

FEWEST_EVENTS = 10
MAX_CONDITION = 1e7
MAX_STANDARD_ERROR = 100.0  # log-odds per SD; beyond it the likelihood has no maximum

_SEPARATED = "in part of their range the event always or never happens, so that no finite figure fits"
_SINGULAR = "the features rise and fall together so closely that their shares can not be told apart"
_UNSETTLED = "the fit did not settle"


class NotEstimable(Exception):  # noqa: N818 - not an error: a reason that ends up in a note
    """Why a regression can not be read."""


@dataclass(frozen=True)
class Fit:
    """One entry a feature (k): log-odds per 1 SD, their 95 % interval, p value, and variance inflation."""

    coefficient: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p_value: np.ndarray
    vif: np.ndarray


def complete(frame: pl.DataFrame, features: list[str], *, with_covariates: bool) -> pl.DataFrame:
    """Stays with every value known; an age nobody has is not asked for."""
    needed = [pl.col(feature).cast(pl.Float64) for feature in features]
    if with_covariates:
        needed.append(pl.col("n_tokens").cast(pl.Float64))
        if frame["age"].count():
            needed.append(pl.col("age").cast(pl.Float64))
    return frame.filter(pl.all_horizontal(column.is_finite().fill_null(value=False) for column in needed))


def regress(used: pl.DataFrame, features: dict[str, str], outcome: str, *, with_covariates: bool) -> Fit:
    """Fit the outcome's log-odds on the features together (their labels by column), on complete stays.

    Covariance: clustered by patient (Liang & Zeger, Biometrika 1986). Variance inflation: 1 / (1 − R²) of the
    feature on everything else in the design (Marquardt, Technometrics 1970), which is its entry on the
    diagonal of the inverse of the correlation matrix. Raises NotEstimable for what the data can not carry.
    """
    labels = used[outcome].to_numpy().astype(bool)
    _enough(labels)
    columns = []
    for feature, label in features.items():
        column = _standardised(used[feature])
        if column is None:
            raise NotEstimable(f"{label} is the same for every stay")
        columns.append(column)
    if with_covariates:
        columns += _covariates(used, labels)
    design = np.column_stack([np.ones(used.height), *columns])
    _, patients = np.unique(used["patient_id"].to_numpy(), return_inverse=True)
    if patients.max() + 1 <= design.shape[1]:
        raise NotEstimable(f"the {used.height} stays are of only {patients.max() + 1} patients")
    if np.linalg.cond(design) > MAX_CONDITION:
        raise NotEstimable(_SINGULAR)
    inflation = np.diag(np.linalg.inv(np.atleast_2d(np.corrcoef(design[:, 1:], rowvar=False))))
    return _logit(design, labels, patients, inflation[: len(features)])


def _enough(labels: np.ndarray) -> None:
    events, others = int(labels.sum()), int((~labels).sum())
    fewer = min(events, others)
    if fewer == 0:
        raise NotEstimable(
            f"{events} of the {len(labels)} stays have the event, so there is nothing to compare"
        )
    if fewer < FEWEST_EVENTS:
        verb = ("has" if fewer == 1 else "have") if events <= others else ("lacks" if fewer == 1 else "lack")
        raise NotEstimable(
            f"only {fewer} of the {len(labels)} stays {verb} the event, "
            f"and at least {FEWEST_EVENTS} are needed"
        )


def _logit(design: np.ndarray, labels: np.ndarray, patients: np.ndarray, inflation: np.ndarray) -> Fit:
    with warnings.catch_warnings(record=True) as caught, np.errstate(all="ignore"):
        warnings.simplefilter("always")
        try:
            result = Logit(labels.astype(float), design).fit(
                disp=0, maxiter=100, cov_type="cluster", cov_kwds={"groups": patients}
            )
            bounds, p_values = np.asarray(result.conf_int()), np.asarray(result.pvalues)
            information = -np.asarray(result.model.hessian(result.params))
            classical = np.sqrt(np.diag(np.linalg.inv(information)))
        except PerfectSeparationError as error:
            raise NotEstimable(_SEPARATED) from error
        except (np.linalg.LinAlgError, ValueError) as error:
            raise NotEstimable(_SINGULAR) from error
    params = np.asarray(result.params)
    predictor = design @ params
    if (
        any(issubclass(warning.category, PerfectSeparationWarning) for warning in caught)
        or predictor[labels].min() >= predictor[~labels].max()
        or not (classical < MAX_STANDARD_ERROR).all()
    ):
        raise NotEstimable(_SEPARATED)
    own = slice(1, 1 + len(inflation))
    fit = Fit(params[own], bounds[own, 0], bounds[own, 1], p_values[own], inflation)
    finite = all(np.isfinite(part).all() for part in (fit.coefficient, fit.low, fit.high, fit.p_value))
    if not result.mle_retvals["converged"] or not finite:
        raise NotEstimable(_UNSETTLED)
    return fit


def _standardised(column: pl.Series) -> np.ndarray | None:
    """Values in units of their SD around their mean, or None where they do not vary."""
    values = column.cast(pl.Float64).to_numpy()
    spread = values.std(ddof=1) if len(values) > 1 else 0.0
    if not spread > 1e-10 * max(1e-300, np.abs(values).max()):
        return None
    return np.asarray((values - values.mean()) / spread)


def _covariates(used: pl.DataFrame, labels: np.ndarray) -> list[np.ndarray]:
    """Number of tokens, age and sex. What does not vary needs no adjustment and is left out.

    The commonest sex is the reference; a sex (null among them) whose stays all have the event, or none,
    joins it, since its own coefficient would be infinite.
    """
    columns = [_standardised(used["n_tokens"])]
    if used["age"].count():
        columns.append(_standardised(used["age"]))
    sex = used["sex"].fill_null("unknown").to_numpy()
    counts = {value: int((sex == value).sum()) for value in sorted(set(sex))}
    reference = max(counts, key=lambda value: counts[value])
    for value in counts:
        own = sex == value
        if value != reference and 0 < labels[own].sum() < own.sum():
            columns.append(own.astype(np.float64))
    return [column for column in columns if column is not None]
