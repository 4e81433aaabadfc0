"""The second stay, pinned beside the focused one: which it is, and what the charts need of it."""

from __future__ import annotations

import streamlit as st

from dashboard import data, population, state, timeline, ui
from dashboard.charts.patient import Other
from ehrfm_core.study import Study

NAME = "Pinned stay"


def pinned(study: Study) -> tuple[str, str] | None:
    """Site and id of the pinned stay where this study has it; one that it has not is told and forgotten."""
    held = state.pin()
    if held is None:
        if state.PIN in st.query_params:  # names no stay at all
            state.tell_unknown(state.PIN, st.query_params[state.PIN], "pinned stay")
            state.clear_pin()
        return None
    site, stay = held
    if site not in study.sites or stay not in data.stays(study, site)["hospitalization_id"]:
        state.tell_unknown(state.PIN, "/".join(held), "pinned stay")
        state.clear_pin()
        return None
    state.set_pin(site, stay)  # a page reached through the menu has lost it from its address
    return held


def button(site: str, stay: str, held: tuple[str, str] | None) -> None:
    """Pin the focused stay or let it go, also with P."""
    here = held == (site, stay)

    def toggle() -> None:
        if here:
            state.clear_pin()
        else:
            state.set_pin(site, stay)

    st.button(
        "Unpin" if here else "Pin",
        icon=":material/keep_off:" if here else ":material/keep:",
        shortcut="P",
        on_click=toggle,
        key="pin-focused",
        help="Keep this stay beside those you look at next",
    )


def header(held: tuple[str, str], *, focused: bool) -> None:
    """One line on the pinned stay, in its ink."""
    site, stay = held
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f":violet-badge[Pinned] **{ui.plain(stay)}** :gray[{ui.plain(site)}]", width="content")
        if focused:
            st.markdown(":gray[It is the stay in focus: step on with J or K to compare.]", width="content")
        st.button("Unpin", icon=":material/close:", type="tertiary", on_click=state.clear_pin, key="unpin")


def other(study: Study, held: tuple[str, str] | None, site: str, stay: str) -> Other | None:
    """What to draw beside the focused stay; None where nothing is pinned, or the same stay is."""
    if held is None or held == (site, stay):
        return None
    return Other(NAME, timeline.stay_tokens(study, *held), population.path(study, *held))
