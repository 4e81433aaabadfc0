"""The outlier detectors compared: how many they flag, and what they say beyond the amount of charting."""

from __future__ import annotations

import polars as pl
import streamlit as st

from dashboard import data, theme, ui
from dashboard.charts import detectors as charts
from ehrfm_core import cell_words
from ehrfm_core.dynamics.detector_names import DETECTORS
from ehrfm_core.outcomes import Outcome
from ehrfm_core.study import Study
from ehrfm_core.study.layout import result_file

CHARTING = "n_tokens"
LABELS = DETECTORS | {CHARTING: "Number of tokens alone"}


def compare(study: Study, outcome: Outcome) -> None:
    """The section of the Outliers page."""
    ui.section(
        "Would another detector say the same?",
        "Five ways of being strange, all fitted on the source. The last row is no detector: it is what the "
        "amount of charting says by itself.",
    )
    stage = study.manifest.stages.get("evaluate")
    if stage is None or result_file("outliers") not in stage.files:
        ui.absent(
            "The detectors have not been compared in this study",
            "It was made before they were, or has not been evaluated: run these two stages again.",
            f"python -m train embed {study.folder} && python -m train evaluate {study.folder}",
        )
        return
    rows = data.result(study, "outliers").filter(
        pl.col("outcome").is_null() | (pl.col("outcome") == outcome.name), pl.col("label").is_null()
    )
    if rows["estimate"].count() == 0:
        ui.absent("Nothing to compare", "The test split is empty at every site.")
        return
    areas = rows.filter(measure="roc_auc", detector=CHARTING)
    counted = "; ".join(
        f"{row['site']}: {cell_words.sized(row['n'], row['n_events'])}" for row in areas.iter_rows(named=True)
    )
    ui.chart(
        charts.comparison(rows, LABELS, theme.site_colours(study.sites)),
        key="detectors",
        alt=f"Share flagged, correlation with tokens and AUC for {outcome.label} of each outlier detector",
        caption=f"Test split. AUC for {ui.inline(outcome.label)} among stays that count; {counted}. Filled: "
        "the AUC among stays with about as many tokens (Janes & Pepe 2009); 0.5 says nothing. 95 % "
        "intervals: Wilson; Bonett & Wright; patients resampled, or Newcombe's with fewer than 10 on a side. "
        f"Each detector flags as many of {study.source}'s training stays as the forest does. Full space.",
    )
    with st.expander("The same in figures", icon=":material/table_rows:"):
        ui.table(
            in_figures(rows),
            alt="The detectors in figures",
            column_config={"n": st.column_config.NumberColumn("n", format="localized")},
        )
        st.caption(
            "Intervals are 95 %. “Against the forest”: difference of the AUC among like numbers of tokens, "
            "on the same stays. Odds ratio: flagged against others with as many tokens, Mantel & Haenszel."
        )


def in_figures(rows: pl.DataFrame) -> pl.DataFrame:
    """One row a site and detector: estimates with their intervals in words, n and events of the AUC.

    `rows` as `outliers.parquet`, of one outcome and none.
    """
    columns = {
        "share_flagged": "Flagged",
        "spearman_n_tokens": "ρ with tokens",
        "roc_auc": "AUC",
        "roc_auc_adjusted": "AUC, like tokens",
        "roc_auc_adjusted_difference": "Against the forest",
        "rate_flagged": "Rate, flagged",
        "rate_others": "Rate, others",
        "odds_ratio_adjusted": "Odds ratio, like tokens",
    }
    span = pl.format(
        "{} [{}–{}]", *(pl.col(name).round(2).cast(pl.String) for name in ("estimate", "ci_low", "ci_high"))
    )
    told = pl.coalesce(span, pl.col("estimate").round(2).cast(pl.String), pl.lit("—"))
    keys = ["site", "detector"]
    wide = (
        rows.filter(pl.col("measure").is_in(list(columns)))
        .with_columns(told=told)
        .pivot("measure", index=keys, values="told", maintain_order=True)
    )
    events = cell_words.told_events().alias("events")
    size = rows.filter(measure="roc_auc").select(*keys, "n", events)
    there = {name: label for name, label in columns.items() if name in wide.columns}
    return wide.join(size, on=keys, how="left", maintain_order="left").select(
        pl.col("site").alias("Site"),
        pl.col("detector").replace(LABELS).alias("Detector"),
        *(pl.col(name).alias(label) for name, label in there.items()),
        "n",
        "events",
    )
