"""The table of stays from which the focus is chosen, on the Map and on the Patient page."""

from __future__ import annotations

import random
from collections.abc import Callable

import polars as pl
import streamlit as st

from dashboard import cohorts, data, state, ui
from ehrfm_core.outcomes import Outcome
from ehrfm_core.study import Study

GROUPS = {"test": "Test split", "event": "With the outcome", "outlier": "Outliers", "all": "All stays"}
ORDERS = {
    "path": "Path length",
    "risk": "Risk at 24 h",
    "jump": "Largest event jump",
    "anomaly": "Anomaly score",
    "tokens": "Tokens in 24 h",
    "los": "Length of stay",
    "id": "Stay id",
}
_LIMIT = 10_000  # rows sent to the browser


def groups(study: Study) -> dict[str, str]:
    """The groups of the table: those of every study, and the cohorts that there are."""
    made = [side for side in cohorts.SIDES if cohorts.usable(study, side) is not None]
    return GROUPS | {side: f"Cohort {side.upper()}" for side in made}


def chosen_site(study: Study) -> str:
    """The site whose stays are listed; the focus of a link brings its site along."""
    sites = {site: site for site in study.sites}
    held = state.focus()
    if state.SITE not in st.session_state and state.SITE not in st.query_params and held and held[0] in sites:
        st.session_state[state.SITE] = held[0]
    if len(sites) == 1:
        return study.sites[0]
    return ui.choose("Site", sites, key=state.SITE, what="site")


def candidates(study: Study, site: str, outcome: Outcome, group: str, order: str) -> pl.DataFrame:
    """The stays of a group, in an order; at most `_LIMIT`."""
    frame = data.stays(study, site)
    if group in cohorts.SIDES:
        cohort = cohorts.held(group)
        assert cohort is not None, "a group is offered where there is a cohort"
        key = "hospitalization_id"
        frame = frame.join(cohorts.ids(study, cohort).filter(site=site), on=key, how="semi")
    keep = {
        "test": pl.col("split") == "test",
        "event": pl.col(f"counts_{outcome.name}") & pl.col(outcome.name),
        "outlier": pl.col("outlier"),
    }.get(group, pl.lit(value=True))
    column = {
        "risk": f"risk_{outcome.name}",
        "path": "path_length",
        "jump": "event_max_jump",
        "anomaly": "anomaly_score",
        "tokens": "n_tokens",
        "los": "los_hours",
        "id": "hospitalization_id",
    }[order]
    ascending = order == "id"
    return (
        frame.filter(keep)
        .sort(column, descending=not ascending, nulls_last=True, maintain_order=True)
        .head(_LIMIT)
    )


def focused(study: Study, site: str, listed: pl.DataFrame) -> str | None:
    """The focused stay: the one of the link where it exists, else the first listed; None without stays."""
    held = state.focus()
    known = data.stays(study, site)["hospitalization_id"]
    if held and held[0] == site and held[1] in known:
        state.set_focus(*held)
        return held[1]
    if held and (held[0] not in study.sites or (held[0] == site and held[1] not in known)):
        state.tell_unknown(state.FOCUS, "/".join(held), "stay")
    if listed.is_empty():
        return None
    first = listed["hospitalization_id"][0]
    state.set_focus(site, first)
    return first


def happened(outcome: Outcome) -> pl.Expr:
    """Expression `outcome`: yes, no, or why the stay does not count."""
    text = pl.when(outcome.name).then(pl.lit("yes")).otherwise(pl.lit("no"))
    return (
        pl.when(pl.col(outcome.name).is_null())
        .then(pl.lit("not known"))
        .when(f"counts_{outcome.name}")
        .then(text)
        .otherwise(pl.lit("in the first 24 h"))
        .alias("outcome")
    )


def table(
    listed: pl.DataFrame, outcome: Outcome, site: str, stay: str | None, *, key: str, height: int
) -> None:
    """Draw the table with the focused row marked; a click on a row moves the focus."""
    ids = listed["hospitalization_id"].to_list()
    state.select_row(key, ids.index(stay) if stay in ids else None)
    risk = f"risk_{outcome.name}"
    shown = listed.select(
        "hospitalization_id",
        happened(outcome),
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
        on_select=state.follow_table(key, ids, site),
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


def stepping(ids: list[str], site: str, stay: str) -> None:
    """Previous, next and random, also on the keyboard."""

    def to(index: int) -> Callable[[], None]:
        return lambda: state.set_focus(site, ids[index % len(ids)])

    at = ids.index(stay) if stay in ids else -1
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Previous",
            icon=":material/chevron_left:",
            shortcut="K",
            on_click=to(at - 1 if at >= 0 else -1),
            key="previous",
        )
        st.button("Next", icon=":material/chevron_right:", shortcut="J", on_click=to(at + 1), key="next")
        # R, the obvious key, is reserved by Streamlit
        st.button(
            "Random",
            icon=":material/shuffle:",
            shortcut="X",
            on_click=to(random.randrange(len(ids))),
            key="random",
        )
        where = f"{at + 1:,} of {len(ids):,}" if at >= 0 else f"not among these {len(ids):,}"
        st.markdown(f":gray[{where}]", width="content")
