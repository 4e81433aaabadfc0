"""Part of the page Transfer: what local data bring, a little at a time."""

from __future__ import annotations

import polars as pl
import streamlit as st

from dashboard import arms, data, state, theme, ui
from dashboard.charts import probabilities as charts
from ehrfm_core import cell_words
from ehrfm_core.outcomes import Outcome
from ehrfm_core.study import Study


def draw(study: Study, outcome: Outcome) -> None:
    """How much a little local data brings, for each target."""
    metrics = data.result(study, "metrics").filter(
        pl.col("metric") == "roc_auc", pl.col("subgroup") == "all", pl.col("outcome") == outcome.name
    )
    adapted = metrics.filter(pl.col("arm") == "adapted", pl.col("adapt_method").is_in(list(charts.METHODS)))
    if adapted.filter(pl.col("adapt_fraction") < 1).is_empty():
        return
    ui.section(
        "A little local data",
        "The target's tuning split chooses, and leaving the model as it is is one of the choices.",
    )
    targets = [site for site in study.sites[1:] if site in set(adapted["test_site"])]
    chosen = st.session_state.get(state.TARGET)  # as for the curves above, where there are several
    site = chosen if chosen in targets else targets[0]
    rows = adapted.filter(pl.col("test_site") == site, pl.col("model").is_in(["probe", "finetuned"]))
    unchanged = metrics.filter(test_site=site, arm="zero_shot", train_site=study.source)
    references = {
        f"{arms.model_label(model)}, unchanged": (float(value), dash)
        for model, dash in (("finetuned", "dash"), ("probe", "dot"))
        for value in unchanged.filter(pl.col("model") == model)["estimate"].drop_nulls()
    }
    training = data.stays(study, site).filter(pl.col("split") == "train")
    first = rows.row(0, named=True)
    ui.chart(
        charts.local_data(rows, references, theme.site_colours(study.sites)[site]),
        key="local_data",
        alt=f"ROC-AUC at {site} for {outcome.label} by share of local training data",
        caption=f"Test split of {site}, {cell_words.sized(first['n'], first['n_events'])}. The whole "
        f"training split is {cell_words.stays(training.height)} of "
        f"{cell_words.people(training['patient_id'].n_unique())}; each share is drawn "
        "several times by patient, nested. Large symbols: median of the draws; small ones with 95 % "
        "intervals (DeLong, stays of a patient together): every draw.",
    )
