"""The table of stays from which the focus is chosen, on the Map and on the Patient page."""

from __future__ import annotations

import math

import polars as pl
import streamlit as st

from dashboard import data, state, stays, ui
from ehrfm_core.outcomes import Outcome
from ehrfm_core.study import Study

ROWS = 250  # of a page: the browser waits for every row, shown or not


def table(
    study: Study, listed: pl.Series, outcome: Outcome, site: str, stay: str | None, *, key: str, height: int
) -> None:
    """Draw a page of the table, the one with the focused stay at first; a click on a row moves the focus."""
    at = None if stay is None else listed.index_of(stay)
    home = 1 if at is None else at // ROWS + 1
    paged = f"page-{key}-{home}"  # of its own for each page the focus lies on: moving it turns the page
    begin = (int(st.session_state.get(paged, home)) - 1) * ROWS
    ids = listed.slice(begin, ROWS)
    inside = at is not None and begin <= at < begin + ROWS
    state.select_row(key, at - begin if at is not None and inside else None)
    risk = f"risk_{outcome.name}"
    rows = data.stays(study, site).join(
        ids.to_frame(), on="hospitalization_id", maintain_order="right", how="right"
    )
    shown = rows.select(
        "hospitalization_id",
        stays.happened(outcome),
        risk,
        "path_length",
        "event_max_jump",
        "anomaly_score",
        "n_tokens",
        "age",
        "sex",
        pl.col("los_hours") / 24,
        "split",
    )
    number = st.column_config.NumberColumn
    ui.table(
        shown,
        key=key,
        height=height,
        on_select=state.follow_table(key, ids.to_list(), site),
        selection_mode="single-row",
        placeholder="—",
        alt="Table of stays; choose a row to focus it",
        column_config={
            "hospitalization_id": st.column_config.TextColumn("Stay", pinned=True),
            "outcome": st.column_config.TextColumn(outcome.label, help=outcome.definition),
            risk: st.column_config.ProgressColumn(
                "Risk at 24 h",
                width=112,
                min_value=0,
                max_value=1,
                format="percent",
                color="blue",
                help="Probe's probability after the first 24 h",
            ),
            "path_length": number("Path length", format="%.0f", help="Sum of all jumps in the full space"),
            "event_max_jump": number(
                "Largest jump", format="%.1f", help="Largest jump at an event, static prefix left out"
            ),
            "anomaly_score": number(
                "Anomaly", format="%.2f", help="Isolation forest fitted on the source; above 0.5 flagged"
            ),
            "n_tokens": number("Tokens", format="localized"),
            "age": number("Age", format="%.0f"),
            "sex": "Sex",
            "los_hours": number("Stay, days", format="%.1f"),
            "split": "Split",
        },
    )
    if len(listed) > ROWS:
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.pagination(math.ceil(len(listed) / ROWS), default=home, key=paged, width=430)
            end = min(begin + ROWS, len(listed))
            st.markdown(f":gray[{begin + 1:,} to {end:,} of {len(listed):,}]", width="content")
