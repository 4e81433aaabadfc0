"""Part of the page Transfer: who ranks the same patients better than whom."""

from __future__ import annotations

import polars as pl
import streamlit as st

from dashboard import arms, data, ui
from dashboard.choice import Choice
from dashboard.each_row import each_row
from ehrfm_core import cell_words

LEVEL = 0.05


def draw(choice: Choice) -> None:
    """Every paired test of the outcome, folded away."""
    study = choice.study
    if not data.has_result(study, "comparisons"):
        return
    table = data.result(study, "comparisons").filter(outcome=choice.outcome.name)
    if table.is_empty():
        return
    with st.expander(
        f"Who ranks better than whom, on the same patients: {ui.count(table.height, 'pair')}",
        icon=":material/compare_arrows:",
    ):
        number = st.column_config.NumberColumn
        ui.table(
            shown(table),
            height=330,
            placeholder="—",
            alt="Differences of ROC-AUC between two runs on the same patients, with intervals and p-values",
            column_config={
                "test_site": "At",
                "first": "First",
                "second": "Second",
                "better": "Ranks better",
                "difference": number("AUC, first − second", format="%+.3f"),
                "ci_low": number("95 % from", format="%+.3f"),
                "ci_high": number("to", format="%+.3f"),
                "p_holm": number("p (Holm)", format="%.3g"),
                "n": number("n", format="localized"),
                "n_events": "Events",
            },
        )
        st.caption(
            f"Models of {study.source}, {ui.inline(choice.outcome.label)}, test splits. DeLong's test, stays "
            "of a patient together; p corrected by Holm over the outcomes of a hospital, pair by pair. One "
            f"ranks better where that p is below {LEVEL}; the others are not told apart, which is not to say "
            "that they are equal. None is given with fewer than ten patients of either class."
        )


def shown(table: pl.DataFrame) -> pl.DataFrame:
    """Rows of comparisons.parquet in words, those that tell two runs apart first."""
    table = table.sort("p_holm", nulls_last=True, maintain_order=True)

    def side(name: str) -> pl.Series:
        return each_row(table, _run, *(f"{name}_{part}" for part in ("model", "arm", "adapt_method")))

    apart = pl.col("p_holm") < LEVEL
    return table.select(
        "test_site",
        side("first").alias("first"),
        side("second").alias("second"),
        pl.when(apart & (pl.col("difference") > 0))
        .then(pl.lit("first"))
        .when(apart)
        .then(pl.lit("second"))
        .when(pl.col("p_holm").is_null())
        .then(pl.lit("too few"))
        .otherwise(pl.lit("not told apart"))
        .alias("better"),
        "difference",
        "ci_low",
        "ci_high",
        "p_holm",
        "n",
        cell_words.told_events(),
    )


def _run(model: str, arm: str, method: str) -> str:
    """A run in a few words."""
    how = {"in_distribution": "at home", "zero_shot": "unchanged"}.get(arm, arms.METHODS.get(method, method))
    return f"{arms.model_label(model)}, {how}"
