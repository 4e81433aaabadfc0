"""The bar over every page: everyone ▸ cohort A ▸ cohort B ▸ focus ▸ pin."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlencode

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboard import cohort_form, cohort_words, cohorts, data, options, state, ui
from ehrfm_core.cell_words import UNTOLD, number
from ehrfm_core.cohorts import Cohort
from ehrfm_core.errors import UserError
from ehrfm_core.outcomes import Outcome
from ehrfm_core.small_cells import MIN_CELL, hidden_levels
from ehrfm_core.study import Study

USED_ON = ("", "map", "patient")  # pages whose content follows the cohorts
BOUND = (
    state.STUDY,
    state.OUTCOME,
    state.SITE,
    state.MAP,
    state.LAYER,
    state.GROUP,
    state.ORDER,
    state.THRESHOLD,
    state.MODEL,
    state.TARGET,
    state.VIEW,
    state.FEATURE,
    state.DRAWS,
    state.WHEN,
)  # parameters that belong to a widget, which leaves its default out of the address
WITHOUT = ("training", "methods", "vocabulary", "story")  # pages without stays


def draw(study: Study, page: str) -> Callable[[], None]:
    """Draw the bar into the container that is open; `page` is the page's path.

    Returns what finishes it after the page, which may choose the stay in focus.
    """
    outcome = study.outcomes[st.session_state[state.OUTCOME]]
    try:
        total = sum(len(data.site_table(study, site, "stays")) for site in study.sites)
    except UserError:
        return lambda: None  # the page says what is wrong with the file
    st.markdown(f"Everyone **{number(total)}**", width="content")
    for side in cohorts.SIDES:
        st.markdown(":gray[▸]", width="content")
        _cohort(study, outcome, side)
    st.markdown(":gray[▸]", width="content")
    stays = st.container(horizontal=True, width="content", gap="xsmall", vertical_alignment="center")
    st.space("stretch")
    if page not in USED_ON and any(cohorts.held(side) for side in cohorts.SIDES):
        st.markdown(":gray[this page shows everyone]", width="content")
    link_place = _tools(study, outcome)

    def finish() -> None:
        with stays:
            _stay("Focus", state.focus())
            st.markdown(":gray[▸]", width="content")
            _stay("Pin", state.pin())
        with link_place:
            st.code(link(), language=None, wrap_lines=True)

    return finish


def _stay(name: str, held: tuple[str, str] | None) -> None:
    shown = f"**{ui.plain(held[1][:24])}** :gray[{ui.plain(held[0][:24])}]" if held else ":gray[none]"
    st.markdown(f"{name} {shown}", width="content")


def _cohort(study: Study, outcome: Outcome, side: str) -> None:
    """One cohort's button, and what opens under it."""
    cohort, name = cohorts.held(side), side.upper()
    if cohort is None:
        with st.popover(f"{name} · none", type="tertiary", key=f"cohort-{side}"):
            st.markdown(
                f"There is no cohort {name}. Draw around a region on the Map, choose filters under *New*"
                + ("." if options.current().view_only else ", or open one that was saved.")
            )
            _open(side)
        return
    wrong = cohorts.problem(study, cohort)
    found = None if wrong else counts(study, cohort, outcome)
    label = "not of this study" if found is None else _short(found)
    icon = ":material/warning:" if wrong else None
    hint = f"Stays, and the share of them with: {ui.inline(outcome.label)}"
    with st.popover(f"{name} · {label}", type="tertiary", icon=icon, key=f"cohort-{side}", help=hint):
        st.markdown(f"**Cohort {name}** :gray[{cohort.id}]")
        st.markdown("\n".join(f"- {part}" for part in cohort_words.describe(cohort, study.outcomes)))
        if wrong:
            st.warning(wrong)
            other = cohorts.adopted(study, cohort)
            if other is not None and cohorts.problem(study, other) is None:
                st.button(
                    "Use this rule here",
                    key=f"adopt-{side}",
                    on_click=cohorts.put,
                    args=(side, other),
                    width="stretch",
                )
        else:
            st.caption(_told(study, cohort, outcome))
        text = cohorts.to_file(cohort, synthetic=study.manifest.synthetic)
        ui.download(
            f"Save cohort {name}", text, name=f"cohort_{cohort.id}", ending="json", mime="application/json"
        )
        st.button(
            f"Clear {name}",
            icon=":material/close:",
            key=f"clear-{side}",
            on_click=cohorts.clear,
            args=(side,),
            width="stretch",
        )
        _open(side)


def counts(study: Study, cohort: Cohort, outcome: Outcome) -> cohort_words.Counts:
    """Stays of a cohort, those that count for the outcome, and those with it."""
    return cohort_words.counts(cohorts.stays(study, cohort), cohorts.everyone(study), outcome.name)


def _short(found: cohort_words.Counts) -> str:
    return f"{found.n:,}, event {found.rate()}" if found.told and found.counted else found.size()


def _told(study: Study, cohort: Cohort, outcome: Outcome) -> str:
    found = counts(study, cohort, outcome)
    if found.n < MIN_CELL:
        return f"{found.size().capitalize()}: too few for statistics. Draw a larger region, or drop a filter."
    size = found.size()
    rate = f"{found.rate()} of the {found.counted:,} that count" if found.told else UNTOLD
    return (
        f"{size[0].upper()}{size[1:]}{_where(study, cohort)}. {ui.plain(outcome.label)}: {rate}. All splits."
    )


def _where(study: Study, cohort: Cohort) -> str:
    """How many of the cohort's stays are at each site, in brackets; of one site nothing is said."""
    inside, whole = (frame["site"] for frame in (cohorts.ids(study, cohort), cohorts.everyone(study)))
    counts = np.array([[int((one == site).sum()) for site in study.sites] for one in (inside, whole)])
    hidden = hidden_levels(np.stack([counts[0], counts[1] - counts[0]]))
    told = ", ".join(
        f"{ui.plain(site)} {UNTOLD if untold else f'{n:,} stays'}"
        for site, n, untold in zip(study.sites, counts[0], hidden, strict=True)
        if n or untold
    )
    return f" ({told})"


def _open(side: str) -> None:
    if options.current().view_only:
        return

    def opened() -> None:
        file = st.session_state[f"open-{side}"]
        if file is None:
            return
        try:
            cohorts.put(side, cohorts.from_file(file.getvalue()))
            cohorts.wipe()
        except UserError as error:
            st.toast(str(error), icon=":material/error:")

    st.file_uploader(
        f"Open a saved cohort as {side.upper()}", type="json", key=f"open-{side}", on_change=opened
    )


def _tools(study: Study, outcome: Outcome) -> DeltaGenerator:
    """The buttons at the right; returns the place for the link."""
    any_held = any(cohorts.held(side) for side in cohorts.SIDES)
    with st.popover("New", icon=":material/filter_alt:", type="tertiary", help="A cohort from filters"):
        cohort_form.draw(study, outcome)
    for key, label, icon, act, possible in (
        ("swap", "Swap A and B", ":material/swap_horiz:", cohorts.swap, any_held),
        ("undo", "Undo the last change of A or B", ":material/undo:", cohorts.undo, cohorts.can_undo()),
        ("clear", "Clear A and B", ":material/delete_sweep:", lambda: cohorts.clear("a", "b"), any_held),
    ):
        st.button(
            label,  # for screen readers; the eye sees the icon
            icon=icon,
            help=label,
            key=f"cohort-{key}",
            on_click=act,
            disabled=not possible,
            type="tertiary",
        )
    with st.popover("Link", icon=":material/link:", type="tertiary", help="A link to this view"):
        st.markdown("**A link to this view**")
        place = st.container()
        st.caption(
            "It opens for whoever reaches this server and has this study on it. It carries the rules of A "
            "and B and the ids of the focused and the pinned stay; no data."
        )
    return place


def link() -> str:
    """The address of the view, with everything that is chosen; defaults too, which differ elsewhere."""
    chosen = {key: state.in_url(key) for key in BOUND if st.session_state.get(key) is not None}
    # a page that shows no single stay leaves them out of its address
    held = {state.FOCUS: state.focus(), state.PIN: state.pin()}
    chosen |= {key: "/".join(stay) for key, stay in held.items() if stay}
    rest = [key for key in st.query_params if key not in chosen]
    pairs = [*chosen.items(), *((key, value) for key in rest for value in st.query_params.get_all(key))]
    return f"{st.context.url or ''}?{urlencode(pairs)}"
