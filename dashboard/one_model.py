"""Part of the page Transfer: one model in four views, between the hospitals chosen.

How it ranks, whether its risks are of the right size, how they lie, and what acting on them is worth. Only
the open view is computed.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
import streamlit as st

from dashboard import arms, data, roc, state, ui
from dashboard.charts import probabilities, risks
from dashboard.charts import transfer as charts
from dashboard.charts.probabilities import Curve
from dashboard.choice import Choice
from dashboard.measures import MIN_CELL
from ehrfm_core import cell_words
from ehrfm_core.outcomes import Outcome
from ehrfm_core.study import Study
from ehrfm_core.study.layout import result_file

WHOLE = pl.Series([0.0, 1.0])  # no local stay, or all of them


@dataclass(frozen=True, eq=False)
class Chosen:
    """What is looked at; `rows` as `arms.auc_rows`, of this model and these hospitals."""

    study: Study
    outcome: Outcome
    model: str
    home: str
    rows: pl.DataFrame

    @property
    def name(self) -> str:
        """The model in words."""
        return arms.model_label(self.model)

    def of(self, table: str) -> pl.DataFrame:
        """Rows of a table of results for this outcome, this model and these hospitals, where it has them."""
        return data.result(self.study, table).filter(
            pl.col("outcome") == self.outcome.name,
            pl.col("model") == self.model,
            pl.col("train_site") == self.home,
            pl.col("test_site").is_in(self.rows["test_site"].unique().implode()),
            pl.col("adapt_fraction").is_in(WHOLE.implode()),
        )


def draw(choice: Choice, rows: pl.DataFrame) -> None:
    """The four views in tabs; `rows` as `arms.auc_rows`, of the hospitals chosen."""
    ui.section(
        "One model, four views",
        "Ranking is not enough to act on: a risk must also be of the right size.",
    )
    study, outcome, model = choice.study, choice.outcome, choice.model
    chosen = Chosen(study, outcome, model, choice.home, rows.filter(pl.col("model") == model))
    state.seed(state.VIEW, {view: view for view in VIEWS}, what="view")
    for place, view in zip(
        st.tabs(list(VIEWS), key=state.VIEW, bind="query-params"), VIEWS.values(), strict=True
    ):
        if place.open:
            with place:
                view(chosen)


def ranking(chosen: Chosen) -> None:
    """ROC curves, every arm."""
    drawn, patients = [], []
    for row in chosen.rows.iter_rows(named=True):
        arm = tuple(row[column] for column in roc.ARM)
        curve = roc.study_roc(chosen.study, chosen.outcome.name, arm)
        if curve is None:
            continue
        auc, low, high = curve.area(row)
        size = cell_words.sized(curve.n, curve.n_events)
        name = f"{row['label']}<br>AUC {auc:.3f} [{low:.3f}–{high:.3f}] · {size}"
        drawn.append((name, arms.ink(chosen.study, row), charts.DASHES.get(row["arm"], "solid"), curve))
        patients.append(f"{curve.n_patients:,}")
    if not drawn:
        _no_curve()
        return
    ui.chart(
        charts.roc_figure(drawn),
        key="roc",
        alt=f"ROC curves for {chosen.outcome.label}, one per arm, with 95 % bands",
        caption=f"Test split, {ui.inline(chosen.outcome.label)}; n and events in the legend, patients: "
        f"{', '.join(patients)}. Probabilities from the full-space hidden state at 24 h. Bands: pointwise "
        f"95 % from {roc.REPLICATES} bootstrap draws of whole patients; AUC intervals from the study. "
        "Repeated arms show the repeat with the median AUC.",
    )


def calibration(chosen: Chosen) -> None:
    """Predicted against observed, every arm."""
    curves = _curves(chosen, "calibration_curves")
    if not curves:
        return
    ui.chart(
        probabilities.calibration(curves),
        key="calibration",
        alt=f"Calibration curves of {chosen.name} for {chosen.outcome.label}",
        caption=f"Test split, {ui.inline(chosen.outcome.label)}. Smooth curve: logistic regression on a "
        "restricted cubic spline of the logit; bands pointwise 95 %, resampling patients. On the dotted "
        "line predictions are right. " + _figures(chosen.of("metrics").filter(pl.col("subgroup") == "all")),
    )


def distribution(chosen: Chosen) -> None:
    """Predicted risks of stays with the event and without it, a panel a run."""
    rows = chosen.of("predictions").drop_nulls(["label", "probability"])
    if rows.is_empty():
        ui.absent("No risk", "No stay of a test split counts for this outcome.", icon=":material/block:")
        return
    runs, alike = _told_apart(arms.runs(chosen.study, rows))
    words = "; ".join(filter(None, map(_medians, runs)))
    ui.chart(
        risks.distribution(runs),
        key="risks",
        alt=f"Predicted risks of {chosen.name} for {chosen.outcome.label}, stays with the event above and "
        f"those without below. {words}",
        caption=f"Test split, {ui.inline(chosen.outcome.label)}; n and events above each panel. Above a line "
        "stays with the event, below it those without; either side has the same area, however few its stays. "
        f"Diamond and line: median and middle half. {alike}The axis is that of the log-odds: most risks are "
        f"small, and on a linear one they would be one bar. Bars of fewer than {MIN_CELL} stays are joined "
        "with their neighbours, and a side of so few is not drawn.",
    )


def net_benefit(chosen: Chosen) -> None:
    """What acting on the risks is worth, every arm."""
    curves = _curves(chosen, "decision_curves")
    if not curves:
        return
    ui.chart(
        probabilities.decision(curves),
        key="decision",
        alt=f"Decision curves of {chosen.name} for {chosen.outcome.label}",
        caption="Net benefit of acting on stays whose predicted risk is at or above the threshold: true "
        "alerts a stay, less false ones weighed by the odds of the threshold. Useful where it is above 0 "
        "(act on nobody) and above acting on everybody. Bands pointwise 95 %.",
    )


VIEWS = {
    "ROC": ranking,
    "Calibration": calibration,
    "Risk distribution": distribution,
    "Net benefit": net_benefit,
}


def _curves(chosen: Chosen, table: str) -> list[Curve]:
    """The curves of a table; where there are none, why, in words on the page."""
    # tables of those evaluated by an older version
    if result_file(table) not in chosen.study.manifest.stages["evaluate"].files:
        ui.absent(
            "No such curve yet",
            "This study was evaluated by an older version. Evaluate it again with:",
            f"python -m train evaluate {chosen.study.folder}",
        )
        return []
    rows = chosen.of(table)
    if chosen.rows["estimate"].drop_nulls().is_empty() or rows.is_empty():
        _no_curve()
        return []
    return arms.runs(chosen.study, rows)


def _no_curve() -> None:
    ui.absent(
        "No curve",
        f"In no test split have {MIN_CELL} stays the event and {MIN_CELL} not, so there is nothing to rank, "
        "or the curve would count them.",
        icon=":material/block:",
    )


def _told_apart(runs: list[Curve]) -> tuple[list[Curve], str]:
    """The runs whose risks differ, and a sentence on those left out.

    Where the tuning split chose to leave the model as it is, the adapted run is the unchanged one.
    """
    kept: dict[bytes, Curve] = {}
    alike = []
    for run in runs:
        label, _, _, rows = run
        first = kept.setdefault(rows.sort("hospitalization_id")["probability"].to_numpy().tobytes(), run)
        if first is not run:
            alike.append(f"{label}: the same as {first[0]}. ")
    return list(kept.values()), "".join(alike)


def _medians(run: Curve) -> str:
    label, _, _, rows = run
    parts = [
        f"{risks.percent(part.quartiles[1])} {risks.SIDES[event]}"
        for event, part in risks.split(rows).items()
        if part
    ]
    return f"{label}: median {', '.join(parts)}" if parts else ""


def _figures(metrics: pl.DataFrame) -> str:
    """Slope and ratio of observed to expected, arm by arm, in words."""
    words = []
    chosen = metrics.filter(
        pl.col("metric").is_in(["calibration_slope", "observed_expected"]), pl.col("arm") != "adapted"
    )
    names = {"calibration_slope": "slope", "observed_expected": "observed/expected"}
    for row in chosen.iter_rows(named=True):
        if row["estimate"] is None:
            continue
        span = "" if row["ci_low"] is None else f" [{row['ci_low']:.2f} to {row['ci_high']:.2f}]"
        words.append(f"{arms.arm_label(row)}: {names[row['metric']]} {row['estimate']:.2f}{span}")
    return "; ".join(words) + "." if words else ""
