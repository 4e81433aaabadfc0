"""Whether a long, jumpy or unusual path goes with a bad outcome, also once charting is accounted for."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import polars as pl
from statsmodels.discrete.discrete_model import Logit
from statsmodels.tools.sm_exceptions import PerfectSeparationError, PerfectSeparationWarning

from ehrfm_core.evaluation.sites import Stays
from ehrfm_core.outcomes import Outcome
from ehrfm_core.study.layout import RESULT_FILES

FEATURES = {"path_length": "path length", "max_jump": "max jump", "anomaly_score": "anomaly score"}
ADJUSTMENTS = ("unadjusted", "joint", "joint_tokens_age_sex")
FEWEST_EVENTS = 10
MAX_CONDITION = 1e7
MAX_STANDARD_ERROR = 100.0  # log-odds per SD; beyond it the likelihood has no maximum

_SEPARATED = "in part of their range the event always or never happens, so that no finite figure fits"
_SINGULAR = "the features rise and fall together so closely that their shares can not be told apart"
_UNSETTLED = "the fit did not settle"


class _NotEstimable(Exception):  # noqa: N818 - not an error: a reason that ends up in a note
    """Why a regression can not be read."""


@dataclass(frozen=True)
class _Fit:
    coefficient: np.ndarray  # features
    low: np.ndarray
    high: np.ndarray
    p_value: np.ndarray


def associate(test: Stays, outcome: Outcome) -> tuple[pl.DataFrame, list[str]]:
    """Rows of `associations.parquet` for one site and outcome, and notes on those that stay empty.

    Logistic regression of the outcome on each feature in units of its SD over the stays used, with 95 %
    intervals from a covariance clustered by patient (Liang & Zeger 1986): one feature at a time
    ("unadjusted"), the paper's three together ("joint"), and these with the number of tokens, age and sex
    ("joint_tokens_age_sex"). Stays that lack a value needed are not used; `n` counts those that are.
    Never raises for what the data can not carry: the coefficient is then null.
    """
    frame = test.counting(outcome).frame
    rows: list[tuple[object, ...]] = []
    failed: list[tuple[str, str]] = []
    plans = [([feature], "unadjusted", False) for feature in FEATURES]
    plans += [(list(FEATURES), "joint", False), (list(FEATURES), "joint_tokens_age_sex", True)]
    for features, adjustment, with_covariates in plans:
        used = _complete(frame, features, with_covariates=with_covariates)
        fit: _Fit | None = None
        try:
            fit = _fit(used, features, outcome, with_covariates=with_covariates)
        except _NotEstimable as reason:
            failed.append((_describe(features, adjustment), str(reason)))
        for i, feature in enumerate(features):
            values: tuple[float | None, ...] = (None, None, None, None)
            if fit is not None:
                values = tuple(float(part[i]) for part in (fit.coefficient, fit.low, fit.high, fit.p_value))
            rows.append((test.site, outcome.name, feature, adjustment, *values, used.height))
    table = pl.DataFrame(rows, schema=RESULT_FILES["associations"], orient="row")
    return table, _notes(test.site, outcome, failed, n_plans=len(plans))


def _complete(frame: pl.DataFrame, features: list[str], *, with_covariates: bool) -> pl.DataFrame:
    """Stays with every value known; an age nobody has is not asked for."""
    needed = [pl.col(feature).cast(pl.Float64) for feature in features]
    if with_covariates:
        needed.append(pl.col("n_tokens").cast(pl.Float64))
        if frame["age"].count():
            needed.append(pl.col("age").cast(pl.Float64))
    return frame.filter(pl.all_horizontal(column.is_finite().fill_null(value=False) for column in needed))


def _fit(used: pl.DataFrame, features: list[str], outcome: Outcome, *, with_covariates: bool) -> _Fit:
    labels = used[outcome.name].to_numpy().astype(bool)
    events, others = int(labels.sum()), int((~labels).sum())
    if min(events, others) == 0:
        raise _NotEstimable(
            f"{events} of the {used.height} stays have the event, so there is nothing to compare"
        )
    if min(events, others) < FEWEST_EVENTS:
        fewer = min(events, others)
        verb = ("has" if fewer == 1 else "have") if events <= others else ("lacks" if fewer == 1 else "lack")
        raise _NotEstimable(
            f"only {fewer} of the {used.height} stays {verb} the event, "
            f"and at least {FEWEST_EVENTS} are needed"
        )
    columns = [np.ones(used.height)]
    for feature in features:
        column = _standardised(used[feature])
        if column is None:
            raise _NotEstimable(f"{FEATURES[feature]} is the same for every stay")
        columns.append(column)
    if with_covariates:
        columns += _covariates(used, labels)
    design = np.column_stack(columns)
    _, patients = np.unique(used["patient_id"].to_numpy(), return_inverse=True)
    if patients.max() + 1 <= design.shape[1]:
        raise _NotEstimable(f"the {used.height} stays are of only {patients.max() + 1} patients")
    if np.linalg.cond(design) > MAX_CONDITION:
        raise _NotEstimable(_SINGULAR)
    return _logit(design, labels, patients, n_features=len(features))


def _logit(design: np.ndarray, labels: np.ndarray, patients: np.ndarray, *, n_features: int) -> _Fit:
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
            raise _NotEstimable(_SEPARATED) from error
        except (np.linalg.LinAlgError, ValueError) as error:
            raise _NotEstimable(_SINGULAR) from error
    params = np.asarray(result.params)
    predictor = design @ params
    if (
        any(issubclass(warning.category, PerfectSeparationWarning) for warning in caught)
        or predictor[labels].min() >= predictor[~labels].max()
        or not (classical < MAX_STANDARD_ERROR).all()
    ):
        raise _NotEstimable(_SEPARATED)
    own = slice(1, 1 + n_features)
    fit = _Fit(params[own], bounds[own, 0], bounds[own, 1], p_values[own])
    finite = all(np.isfinite(part).all() for part in (fit.coefficient, fit.low, fit.high, fit.p_value))
    if not result.mle_retvals["converged"] or not finite:
        raise _NotEstimable(_UNSETTLED)
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


def _describe(features: list[str], adjustment: str) -> str:
    if adjustment == "unadjusted":
        return FEATURES[features[0]]
    return "the three together" + (" with tokens, age and sex" if adjustment == ADJUSTMENTS[2] else "")


def _notes(site: str, outcome: Outcome, failed: list[tuple[str, str]], *, n_plans: int) -> list[str]:
    """One sentence for each reason, naming the regressions it stops."""
    reasons = list(dict.fromkeys(reason for _, reason in failed))
    notes = []
    for reason in reasons:
        what = [name for name, why in failed if why == reason]
        names = "path length, max jump or anomaly score" if len(what) == n_plans else "; ".join(what)
        notes.append(
            f"The association of {outcome.label} at {site} with {names} can not be estimated: {reason}."
        )
    return notes
