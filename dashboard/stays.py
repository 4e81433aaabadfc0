"""Which stays can be chosen, in which order, and which of them is in focus."""

from __future__ import annotations

import random
from collections.abc import Callable

import polars as pl
import streamlit as st

from dashboard import cohorts, controls, data, state, ui
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
FIND = "find"
_AGAIN = "site-again"  # the focus for which the page was run a second time


def groups(study: Study) -> dict[str, str]:
    """The groups of the table: those of every study, and the cohorts that there are."""
    made = [side for side in cohorts.SIDES if cohorts.usable(study, side) is not None]
    return GROUPS | {side: f"Cohort {side.upper()}" for side in made}


def chosen_site(study: Study) -> str:
    """The site whose stays are listed: that of the stay in focus, until another one is chosen."""
    sites = {site: site for site in study.sites}
    held = state.focus()
    if len(sites) == 1:
        return study.sites[0]
    focused = held[0] if held and held[0] in sites else None
    if focused is not None:
        st.session_state[state.SITE] = focused
    chosen = controls.choose("Site", sites, key=state.SITE, what="site", on_change=state.drop_focus)
    if focused in (None, chosen):
        st.session_state.pop(_AGAIN, None)
    elif st.session_state.get(_AGAIN) != held:
        # the browser's way back to an address that names nothing: Streamlit then insists on the first site
        st.session_state[_AGAIN] = held
        st.rerun()
    return chosen


def candidates(study: Study, site: str, outcome: Outcome, group: str, order: str) -> pl.Series:
    """The hospitalization_id of all stays of a group, in an order."""
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
    return (
        frame.filter(keep)
        .select("hospitalization_id", pl.col(column).alias("by"))
        .sort("by", descending=order != "id", nulls_last=True, maintain_order=True)
        .to_series(0)
    )


def focused(study: Study, site: str, listed: pl.Series) -> str | None:
    """The focused stay: the one of the link where it exists, else the first listed; None without stays."""
    held = state.focus()
    known = data.stays(study, site)["hospitalization_id"]
    if held and held[0] == site and held[1] in known:
        state.set_focus(*held)
        return held[1]
    if held and (held[0] not in study.sites or (held[0] == site and held[1] not in known)):
        name = ui.plain("/".join(held)[:60])
        st.warning(
            f"The link names the stay {name}, which is not in this study. The stay below is another one.",
            icon=":material/link_off:",
        )
    if listed.is_empty():
        return None
    first = str(listed[0])
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


def find(study: Study) -> None:
    """A field for the id of any stay of any site."""

    def go() -> None:
        wanted = str(st.session_state[FIND]).strip()
        for site in study.sites:
            if wanted and wanted in data.stays(study, site)["hospitalization_id"]:
                state.set_focus(site, wanted)
                st.session_state[FIND] = ""
                return
        if wanted:
            st.toast(f"No stay {ui.plain(wanted[:60])} in this study.", icon=":material/search_off:")

    st.text_input("Find a stay", key=FIND, on_change=go, placeholder="its id, then Enter", width=190)


def stepping(listed: pl.Series, site: str, stay: str) -> None:
    """Previous, next and random, also on the keyboard."""

    def move(step: int) -> Callable[[], None]:
        def act() -> None:
            held = state.focus()  # of now: keys may come faster than pages
            now = listed.index_of(held[1]) if held and held[0] == site else None
            target = (0 if step > 0 else -1) if now is None else (now + step) % len(listed)
            state.set_focus(site, str(listed[target]))

        return act

    def shuffle() -> None:
        state.set_focus(site, str(listed[random.randrange(len(listed))]))

    at = listed.index_of(stay)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Previous",
            icon=":material/chevron_left:",
            shortcut="K",
            on_click=move(-1),
            key="previous",
        )
        st.button(
            "Next",
            icon=":material/chevron_right:",
            shortcut="J",
            on_click=move(1),
            key="next",
        )
        # R, the obvious key, is reserved by Streamlit
        st.button(
            "Random",
            icon=":material/shuffle:",
            shortcut="X",
            on_click=shuffle,
            key="random",
        )
        n = f"{len(listed):,}"
        where = f"not among these {n}" if at is None else f"{at + 1:,} of {n}"
        st.markdown(f":gray[{where}]", width="content")
