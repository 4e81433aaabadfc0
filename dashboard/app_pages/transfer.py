"""Transfer: how well a model from one hospital ranks patients in another, beside simpler models."""

from __future__ import annotations

import polars as pl
import streamlit as st

from dashboard import (
    arms,
    choice,
    data,
    ladder,
    local_data,
    matrix,
    one_model,
    paired,
    reweighting,
    subgroups,
    theme,
    threshold,
    ui,
)
from dashboard.charts import transfer as charts
from dashboard.each_row import each_row
from ehrfm_core import cell_words, small_cells
from ehrfm_core.outcomes import Outcome
from ehrfm_core.study import Study

METRICS = {
    "roc_auc": "ROC-AUC",
    "average_precision": "Average precision",
    "brier": "Brier score",
    "calibration_intercept": "Calibration intercept",
    "calibration_slope": "Calibration slope",
    "observed_expected": "Observed / expected",
    "ici": "Mean calibration error (ICI)",
    "sensitivity_at_90_specificity": "Sensitivity at 90 % specificity",
    "carried_sensitivity": "Sensitivity at the source's threshold",
    "carried_specificity": "Specificity at the source's threshold",
    "carried_ppv": "PPV at the source's threshold",
    "carried_alerts_per_100": "Alerts per 100 at the source's threshold",
}


def main() -> None:
    """Draw the page."""
    study, outcome = ui.current()
    ui.header(
        "Transfer", "How well do predictions rank patients where the model was trained, and where it was not?"
    )
    ui.needs(study, "tokenize", "pretrain", "embed", "evaluate")
    chosen = choice.choose(study, outcome)
    if chosen is None:
        ui.absent("No metric", "The study holds no ROC-AUC.", icon=":material/block:")
        return
    ladder.draw(chosen)
    if chosen.target is None:
        one_site(study)
    else:
        st.markdown(
            ":gray[Hospitals differ in years as well as in place, and in how much they chart: a loss on "
            "the way is not the model's fault alone. See *What is charted* on the overview.]"
        )
    rows = arms.auc_rows(study, data.result(study, "metrics"), outcome.name)
    if rows.is_empty():
        ui.absent(
            "No metric for this outcome",
            f"The study holds no ROC-AUC for {ui.inline(outcome.label)}.",
            icon=":material/block:",
        )
        return
    rows = chosen.of(rows)
    st.header(outcome.label, anchor=False, divider="gray")
    readable(rows, outcome)
    left, right = st.columns([1, 1], gap="large")
    with left:
        one_model.draw(chosen, rows)
    with right:
        baselines(study, rows, outcome)
    left, right = st.columns([1, 1], gap="large")
    with left:
        threshold.draw(chosen)
    with right:
        subgroups.draw(chosen)
    if chosen.home == study.source:  # what follows is measured of the source's models alone
        local_data.draw(study, outcome)
        reweighting.section(study, outcome)
    matrix.draw(chosen)
    paired.draw(chosen)
    everything(study, outcome)


def readable(rows: pl.DataFrame, outcome: Outcome) -> None:
    """Say first whether the test split can answer at all."""
    for site, n, events in (
        rows.group_by("test_site", maintain_order=True)
        .agg(pl.col("n").first(), pl.col("n_events").first())
        .iter_rows()
    ):
        n, events = int(n or 0), int(events or 0)
        if n == 0 or events in (0, n):
            what = "No stay counts" if n == 0 else "No event" if events == 0 else "Nothing but events"
            st.warning(
                f"**{site}: {what.lower()} among the {cell_words.number(n)} test stays that count for "
                f"{ui.inline(outcome.label)}.** With one class there is nothing to rank, so there is no "
                "curve and no AUC.",
                icon=":material/block:",
            )
        elif small_cells.unsafe(events, n) or small_cells.small(n):
            st.warning(
                f"**{site}: {cell_words.events(n, events)} among {cell_words.number(n)} test stays. "
                "Its figures cannot be read.** One patient more or less would move them far; curves and "
                "shares, which would tell how many these are, are not drawn.",
                icon=":material/warning:",
            )


def one_site(study: Study) -> None:
    """What is missing with one hospital, and the command that makes a study of two."""
    with st.container(border=True):
        st.markdown("**:material/add_home_work: One hospital only: transfer cannot be judged**")
        st.markdown(
            f"This study knows **{study.source}** alone. Below is how well predictions hold for *other "
            "patients of the same hospital*. With a second hospital you would see here the same model "
            "unchanged in the new place, a little local tuning on some of its stays, and what each of "
            "them wins or loses. Make a study of both from their CLIF folders:"
        )
        st.code(
            f"python -m train study {study.folder}_and_NEW --source {study.source} --site "
            f"{study.source}=DIR_OF_{study.source.upper()} --site NEW=DIR_OF_NEW",
            language="bash",
            wrap_lines=True,
        )


def baselines(study: Study, rows: pl.DataFrame, outcome: Outcome) -> None:
    """Every arm and model on one axis."""
    ui.section(
        "Every arm beside its baselines",
        "A foundation model that does not beat counting tokens has not earned its keep.",
    )
    if rows["estimate"].drop_nulls().is_empty():
        ui.absent("No AUC", "In no test split do both outcomes occur.", icon=":material/block:")
        return
    sizes = "; ".join(
        f"{site}: {cell_words.sized(n, events)}"
        for site, n, events in rows.group_by("test_site", maintain_order=True)
        .agg(pl.col("n").max(), pl.col("n_events").max())
        .iter_rows()
    )
    ui.chart(
        charts.baselines(rows, theme.site_colours(study.sites)),
        key="baselines",
        alt=f"ROC-AUC with 95 % intervals for {outcome.label}, by arm and model",
        caption=f"Test split; {sizes}. 95 % intervals from a bootstrap of patients; with few patients, by "
        "Newcombe's formula. Gains and losses are drawn in the same ink. Two points whose "
        "intervals overlap widely are not told apart by this study.",
    )


def everything(study: Study, outcome: Outcome) -> None:
    """The table of every model, arm and outcome."""
    ui.section("Every model, arm and outcome")
    metrics = data.result(study, "metrics").filter(pl.col("subgroup") == "all")
    only = st.toggle(
        f"Only {ui.inline(outcome.label)}", value=True, key="only_outcome", persist_state="session"
    )
    if only:
        metrics = metrics.filter(pl.col("outcome") == outcome.name)
    shown = metrics.with_columns(
        each_row(metrics, arms.model_label, "model").alias("model"),
        pl.col("outcome").replace({name: other.label for name, other in study.outcomes.items()}),
        pl.col("metric").replace(METRICS),
        arm=arms.arm_labels(metrics),
    ).select(
        "outcome",
        "model",
        "arm",
        "repeat",
        "metric",
        "estimate",
        "ci_low",
        "ci_high",
        "n",
        cell_words.told_events(),
    )
    number = st.column_config.NumberColumn
    ui.table(
        shown,
        height=330,
        placeholder="—",
        alt="Every metric of the study with its interval, n and events",
        column_config={
            "outcome": "Outcome",
            "model": "Model",
            "arm": "Arm",
            "repeat": number("Repeat", help="Other random samples of local stays"),
            "metric": "Metric",
            "estimate": number("Estimate", format="%.3f"),
            "ci_low": number("95 % from", format="%.3f"),
            "ci_high": number("to", format="%.3f"),
            "n": number("n", format="localized"),
            "n_events": "Events",
        },
    )


main()
