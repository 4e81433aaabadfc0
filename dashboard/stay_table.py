"""The table of stays from which the focus is chosen, on the Map and on the Patient page."""

from __future__ import annotations

import math

import polars as pl
import streamlit as st

from dashboard import data, state, stays, ui
from ehrfm_core.outcomes import Outcome
from ehrfm_core.study import Study

_SHOWN = "stays-shown"
ROWS = 50  # of a page: the browser waits for every row, shown or not


def table(
    study: Study, listed: pl.Series, outcome: Outcome, site: str, stay: str | None, *, key: str, height: int
) -> None:
    """Draw a page of the table, the one with the focused stay at first; a click on a row moves the focus."""
    at = None if stay is None else listed.index_of(stay)
    first, paged = _first_page(key, site, stay, 1 if at is None else at // ROWS + 1)
    begin = (int(st.session_state.get(paged, first)) - 1) * ROWS
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
            "outcome": st.column_config.TextColumn(outcome.label, help=ui.plain(outcome.definition)),
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
            st.pagination(math.ceil(len(listed) / ROWS), default=first, key=paged, width=430)
            end = min(begin + ROWS, len(listed))
            st.markdown(f":gray[{begin + 1:,} to {end:,} of {len(listed):,}]", width="content")


def _first_page(key: str, site: str, stay: str | None, home: int) -> tuple[int, str]:
    """The page that is shown before one is chosen, and the key of the choice.

    The focused stay's page (`home`), and again whenever the focus moves; but the first one where the stays of
    a site have just been put in another order: one orders them to see who is on top.
    """
    before = st.session_state.get(_SHOWN)
    if before is not None and before["site"] == site and before["key"] != key:
        now = {"first": 1, "turn": before["turn"] + 1}
    elif before is None or (before["key"], before["stay"]) != (key, stay):
        moved = before is not None and st.session_state.get(before["page"], before["first"]) != home
        now = {"first": home, "turn": (before["turn"] if before else 0) + moved}
    else:
        now = {"first": before["first"], "turn": before["turn"]}
    page = f"page-{now['turn']}"  # a widget of its own for each turn: its page is then the first again
    st.session_state[_SHOWN] = now | {"key": key, "site": site, "stay": stay, "page": page}
    return now["first"], page
