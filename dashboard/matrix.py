"""Part of the page Transfer: with three hospitals or more, every pair of training and testing."""

from __future__ import annotations

import polars as pl
import streamlit as st

from dashboard import arms, data, theme, ui
from dashboard.charts import matrix as charts
from dashboard.choice import Choice
from dashboard.measures import MIN_CELL
from ehrfm_core import cell_words

INSTEAD = "probe"


def draw(choice: Choice) -> None:
    """The square of hospitals for the chosen model and outcome; nothing with fewer than three."""
    study = choice.study
    if len(study.sites) < 3:
        return
    ui.section("Every hospital to every other", "Whose model works where? At home along the diagonal.")
    metrics = data.result(study, "metrics")
    trained = metrics.filter(pl.col("arm") != "adapted", pl.col("train_site") != study.source)
    model = choice.model if choice.model in set(trained["model"]) else INSTEAD
    rows = pairs(metrics, model, choice.outcome.name)
    if rows.filter(pl.col("train_site") != study.source).is_empty():
        ui.absent(
            "Only models of the source",
            "No model of another hospital was tested: the study was evaluated by an older version, or they "
            "have no training split. Evaluate it again with:",
            f"python -m train evaluate {study.folder}",
        )
        return
    if rows["estimate"].drop_nulls().is_empty():
        ui.absent("No AUC", "In no test split do both outcomes occur.", icon=":material/block:")
        return
    name = arms.model_label(model)
    left, right = st.columns([1, 1], gap="large")
    with left:
        ui.chart(
            charts.heat(rows, study.sites, theme.site_colours(study.sites)),
            key="matrix",
            alt=f"ROC-AUC of {name} for {choice.outcome.label}, trained at each hospital and tested at each",
            caption=f"{name}, {ui.inline(choice.outcome.label)}; models of other hospitals stand on the "
            f"representations of {study.source}. —: one class or fewer than {MIN_CELL} stays. "
            "Test splits; interval, n and events on a cell and in the table. Compare down a column: "
            "those are the same patients."
            + ("" if model == choice.model else " The model chosen above was fitted at the source alone."),
        )
    with right:
        _table(rows)


def pairs(metrics: pl.DataFrame, model: str, outcome: str) -> pl.DataFrame:
    """One row a pair of hospitals: the model of train_site, unchanged, at test_site.

    No estimate on fewer than eleven stays.
    """
    rows = metrics.filter(
        pl.col("model") == model,
        pl.col("outcome") == outcome,
        pl.col("metric") == "roc_auc",
        pl.col("subgroup") == "all",
        pl.col("arm") != "adapted",
    ).select("train_site", "test_site", "estimate", "ci_low", "ci_high", "n", "n_events")
    enough = pl.col("n") >= MIN_CELL
    return rows.with_columns(
        pl.when(enough).then(pl.col(name)).alias(name) for name in ("estimate", "ci_low", "ci_high")
    )


def _table(rows: pl.DataFrame) -> None:
    number = st.column_config.NumberColumn
    ui.table(
        rows.with_columns(cell_words.told_events()),
        placeholder="—",
        alt="ROC-AUC of every pair of hospitals with its interval, n and events",
        column_config={
            "train_site": "Trained at",
            "test_site": "Tested at",
            "estimate": number("AUC", format="%.3f"),
            "ci_low": number("95 % from", format="%.3f"),
            "ci_high": number("to", format="%.3f"),
            "n": number("n", format="localized"),
            "n_events": "Events",
        },
    )
