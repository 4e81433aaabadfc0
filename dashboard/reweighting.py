"""Part of the page Transfer: how much of the gap comes of who the target's patients are."""

from __future__ import annotations

import polars as pl
import streamlit as st

from dashboard import data, state, theme, ui
from dashboard.charts import reweighting as charts
from ehrfm_core import cell_words
from ehrfm_core.evaluation.propensity import CHARACTERISTICS
from ehrfm_core.outcomes import Outcome
from ehrfm_core.study import Study

LIMITS = (
    "Explained is not caused: what was not weighed may go along with what was. And nothing is told of stays "
    "at the target that none at home is like."
)


def section(study: Study, outcome: Outcome) -> None:
    """The source's probe at home, at home weighted to look like the target, and at the target."""
    if len(study.sites) == 1:
        return
    title = "What the patients explain"
    if not data.has_result(study, "reweighting"):
        ui.section(title)
        ui.absent(
            "The gap is not divided yet",
            "This study was evaluated by an older version. Evaluate it again with:",
            f"python -m train evaluate {study.folder}",
        )
        return
    table = data.result(study, "reweighting").filter(outcome=outcome.name)
    targets = [site for site in study.sites[1:] if site in set(table["site"])]
    if not targets:
        return  # the probe was not tested at both; the page has said so
    chosen = st.session_state.get(state.TARGET)  # as for the curves above, where there are several
    site = str(chosen) if chosen in targets else targets[0]
    rows = table.filter(site=site)
    if rows.filter(quantity="gap")["estimate"].drop_nulls().is_empty():
        return  # with one class there is no AUC
    ui.section(
        title,
        "Would the model rank at home as it does there, if home had the target's patients?",
    )
    colours = theme.site_colours(study.sites)
    ui.chart(
        charts.ladder(rows, source=study.source, target=site, colours=(colours[study.source], colours[site])),
        key="reweighting",
        alt=f"ROC-AUC for {outcome.label} at {study.source}, weighted to look like {site}, and at {site}",
        caption=_caption(rows, study.source, site, outcome),
    )


def _caption(rows: pl.DataFrame, source: str, site: str, outcome: Outcome) -> str:
    home, away = (rows.filter(quantity=quantity).row(0, named=True) for quantity in ("home", "zero_shot"))
    sizes = "; ".join(
        f"{name}: {cell_words.sized(row['n'], row['n_events'])}"
        for name, row in ((source, home), (site, away))
    )
    words = [
        f"Test split, {ui.inline(outcome.label)}; {sizes}. The gap, {source} less {site}, is "
        f"{_figure(rows, 'gap', 'population')}."
    ]
    words += [f"By {label}: {_divided(rows, name, source)}." for name, label in CHARACTERISTICS.items()]
    words += [
        f"Diamonds: stays of {source} count by their odds of being one of {site}'s, from a logistic "
        "regression fitted on other patients; 95 % intervals resample the patients of both hospitals.",
        LIMITS,
    ]
    return " ".join(words)


def _divided(rows: pl.DataFrame, name: str, source: str) -> str:
    """What one set of characteristics explains, or why that cannot be told."""
    row = rows.filter(quantity="explained", characteristics=name).row(0, named=True)
    if row["propensity_auc"] is None:
        return "no figure, since a hospital has too few patients"
    apart = f"the hospitals are told apart with an AUC of {row['propensity_auc']:.2f}"
    size = f"{row['n']:,} stays of {source} then tell as much as {row['effective_n']:,.0f}"
    if row["estimate"] is None:
        return f"no figure, since too few stays or events are alike ({apart}; the {size})"
    explained, remaining = (_figure(rows, quantity, name) for quantity in ("explained", "remaining"))
    return f"explained {explained}, remaining {remaining} ({apart}; the {size})"


def _figure(rows: pl.DataFrame, quantity: str, name: str) -> str:
    row = rows.filter(quantity=quantity, characteristics=name).row(0, named=True)
    if row["estimate"] is None:
        return "unknown"
    if row["ci_low"] is None:
        return f"{row['estimate']:+.3f} (too few events for an interval)"
    return f"{row['estimate']:+.3f} [{row['ci_low']:+.3f} to {row['ci_high']:+.3f}]"
