"""Whether a long, jumpy or unusual path goes with a bad outcome, also once charting is accounted for."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from ehrfm_core.evaluation.features import FEATURES, JOINT, measured
from ehrfm_core.evaluation.regression import Fit, NotEstimable, complete, regress
from ehrfm_core.evaluation.sites import Stays
from ehrfm_core.outcomes import Outcome
from ehrfm_core.published import published
from ehrfm_core.study.layout import RESULT_FILES

ADJUSTMENTS = ("unadjusted", "tokens_age_sex", "joint", "joint_tokens_age_sex")
MOST_NAMED = 6  # regressions in a note


@dataclass(frozen=True)
class _Plan:
    features: list[str]
    adjustment: str

    @property
    def with_covariates(self) -> bool:
        return self.adjustment.endswith("tokens_age_sex")

    def describe(self) -> str:
        what = FEATURES[self.features[0]] if len(self.features) == 1 else "the three together"
        return what + (" with tokens, age and sex" if self.with_covariates else "")


def associate(test: Stays, outcome: Outcome) -> tuple[pl.DataFrame, list[str]]:
    """Rows of `associations.parquet` for one site and outcome, and notes on those that stay empty.

    Logistic regression of the outcome on each feature in units of its SD over the stays used, with 95 %
    intervals from a covariance clustered by patient: one feature at a time ("unadjusted"), each with the
    number of tokens, age and sex ("tokens_age_sex"), the paper's three together ("joint"), and these with
    the number of tokens, age and sex ("joint_tokens_age_sex"). Stays that lack a value needed are not used:
    `n` counts those that are, `n_events` those of them with the event, `sd` is the feature's SD over them, so
    that `coefficient / sd` is the log-odds of one raw unit. `vif` is the feature's variance inflation within
    that regression.

    `paper_coefficient` stands beside the joint rows of a site, outcome and feature that the paper prints. It
    is of one raw unit in the space of the paper's own model, so that its size compares with nothing here: its
    sign can be compared, and whether it was significant.

    A feature that `dynamics` lacks has no rows, and without all three no joint regression is made.
    Never raises for what the data can not carry: the coefficient is then null.
    """
    frame = test.counting(outcome).frame
    features = measured(frame)
    plans = [_Plan([feature], adjustment) for adjustment in ADJUSTMENTS[:2] for feature in features]
    if set(JOINT) <= set(features):
        plans += [_Plan(list(JOINT), adjustment) for adjustment in ADJUSTMENTS[2:]]
    rows: list[tuple[object, ...]] = []
    failed: list[tuple[_Plan, str]] = []
    for plan in plans:
        used = complete(frame, plan.features, with_covariates=plan.with_covariates)
        labels = {feature: FEATURES[feature] for feature in plan.features}
        fit: Fit | None = None
        try:
            fit = regress(used, labels, outcome.name, with_covariates=plan.with_covariates)
        except NotEstimable as reason:
            failed.append((plan, str(reason)))
        size = (used.height, used[outcome.name].sum())
        for i, feature in enumerate(plan.features):
            parts = (fit.coefficient, fit.low, fit.high, fit.p_value, fit.vif) if fit else ()
            figures: list[float | None] = [float(part[i]) for part in parts]
            *values, vif = figures or [None] * 5
            spread = used[feature].cast(pl.Float64).std()
            rows.append((test.site, outcome.name, feature, plan.adjustment, *values, *size, spread, vif))
    schema = dict(RESULT_FILES["associations"])
    schema.pop("paper_coefficient")
    table = pl.DataFrame(rows, schema=schema, orient="row")
    return _beside_the_paper(table), _notes(test.site, outcome, failed, n_plans=len(plans))


def _beside_the_paper(table: pl.DataFrame) -> pl.DataFrame:
    """The table with the printed coefficient beside each joint row that has one."""
    keys = ["site", "outcome", "feature"]
    printed = published("associations").frame.select(
        *keys, pl.lit("joint").alias("adjustment"), pl.col("coefficient").alias("paper_coefficient")
    )
    return table.join(printed, on=[*keys, "adjustment"], how="left", maintain_order="left")


def _notes(site: str, outcome: Outcome, failed: list[tuple[_Plan, str]], *, n_plans: int) -> list[str]:
    """One sentence for each reason, naming the regressions it stops."""
    notes = []
    for reason in dict.fromkeys(reason for _, reason in failed):
        what = [plan.describe() for plan, why in failed if why == reason]
        names = "; ".join(what)
        if len(what) > MOST_NAMED:
            some = f"measures of the path in {len(what)} of {n_plans} regressions"
            names = "any measure of the path" if len(what) == n_plans else some
        notes.append(
            f"The association of {outcome.label} at {site} with {names} can not be estimated: {reason}."
        )
    return notes
