"""The section of the Patient page in which events are changed and the model reads the stay again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
import streamlit as st

from dashboard import data, live, population, theme, timeline, ui
from dashboard.charts import maps, paths
from dashboard.charts.patient import Other, lanes
from ehrfm_core.errors import UserError
from ehrfm_core.outcomes import Outcome
from ehrfm_core.study import Study
from ehrfm_core.tokens import vocabulary as names
from ehrfm_core.tokens.tokenizer import Tokenizer

if TYPE_CHECKING:
    from ehrfm_core.live import Reading

_OPEN, _TURN = "what-if-open", "what-if-turn"  # whether the model may be loaded; how often a table was reset
_MEASURES = {
    "path_length": ("Path length", "{:,.0f}"),
    "event_max_jump": ("Largest event jump", "{:.1f}"),
    "anomaly_score": ("Anomaly score", "{:.2f}"),
}


def section(study: Study, outcome: Outcome, site: str, stay: str) -> None:
    """Draw the section: a button first, then the table of events and what their change does."""
    ui.section("What if", "What would the model have made of this stay had other things been charted?")
    reason = live.why_not(study)
    if reason is not None:
        st.button("Load the model", icon=":material/play_arrow:", disabled=True, key="what-if-load")
        st.caption(f"Unavailable: {ui.plain(reason)}")
        return
    _live(study, outcome, site, stay)


@st.fragment
def _live(study: Study, outcome: Outcome, site: str, stay: str) -> None:
    try:
        if not st.session_state.get(_OPEN):
            _offer(study)
            return
        _edit(study, outcome, site, stay)
    except UserError as error:  # a fragment runs outside of the page that catches these
        st.warning(ui.plain(str(error)), icon=":material/error:")


def _offer(study: Study) -> None:
    def open_it() -> None:
        st.session_state[_OPEN] = True

    st.button("Load the model", icon=":material/play_arrow:", on_click=open_it, key="what-if-load")
    st.caption(
        "Events can then be changed, added and deleted. Loading takes about "
        f"{live.memory_gb(study):.1f} GB of the server's memory and, the first time, 5 to 20 seconds; an "
        "edit is then read within a second, on the CPU. Nothing is written to the study."
    )


def _edit(study: Study, outcome: Outcome, site: str, stay: str) -> None:
    as_it_is = live.opened(study, site, stay)
    turn = st.session_state.get(_TURN, 0)

    def reset() -> None:
        st.session_state[_TURN] = turn + 1

    edited = _table(as_it_is.events, data.tokenizer(study), key=f"events-{study.digest}-{site}-{stay}-{turn}")
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        st.button("Reset", icon=":material/undo:", on_click=reset, key="what-if-reset")
        note = st.empty()
    events, waiting = live.complete(edited)
    lacking = f" {ui.count(waiting, 'row lacks', 'rows lack')} a minute or a code still." if waiting else ""
    if events.equals(as_it_is.events):
        note.markdown(
            f":gray[Change a cell, add a row at the end, or mark rows at the left and delete them.{lacking}]"
        )
        return
    live.check(events, as_it_is.events, Tokenizer.from_json(data.tokenizer(study)))
    hours = 60 * data.tokenizer(study).get("window_hours", 24)
    if late := events.filter(pl.col("minute") > hours).height:
        lacking += f" {ui.count(late, 'event')} after the window's end: not read."
    reading, seconds = live.read(study, as_it_is, events)
    note.markdown(f":gray[Read in {seconds:.2f} s on this machine's CPU.{lacking}]")
    row = data.stays(study, site).filter(hospitalization_id=stay).row(0, named=True)
    counting = {name for name in study.outcomes if row[f"counts_{name}"]}
    _figures(study, as_it_is.reading, reading, counting)
    before = live.as_day(study, as_it_is.reading, "Before", counting)
    after = live.as_day(study, reading, "After", counting)
    left, right = st.columns([5, 2], gap="medium")
    with left:
        _lanes(study, outcome, site, stay, before, after)
    with right:
        minute = reading.measures["max_jump_minute"][0]
        _maps(study, site, stay, before, after, minute)


def _table(events: pl.DataFrame, tokenizer: dict[str, Any], *, key: str) -> pl.DataFrame:
    """The events as a table whose rows can be changed, added and deleted."""
    column = st.column_config
    return ui.editor(
        events,
        key=key,
        num_rows="dynamic",
        height=300,
        placeholder="—",
        alt="The events of the window: minute, code and value, to be changed",
        column_config={
            "minute": column.NumberColumn(
                "Minute", min_value=0, format="%.0f", help="Since the start of the stay", required=True
            ),
            "code": column.SelectboxColumn(
                "Event",
                options=live.codes(tokenizer),
                format_func=lambda code: code_label(str(code)),
                width="large",
                required=True,
            ),
            "value": column.SelectboxColumn(
                "Value",
                options=live.values(tokenizer),
                format_func=lambda value: value_label(str(value)),
                help="Bin of the source's training values, from the lowest; an answer; or nothing",
            ),
        },
    )


def code_label(code: str) -> str:
    """A code in words.

    >>> code_label("lab/lactate"), code_label("location_out/icu")
    ('Labs · lactate', 'Transfers out · icu')
    """
    family = names.family(code)
    shown = names.FAMILY_LABELS.get(family, family.replace("_", " ").capitalize())
    return f"{shown} · {names.name(code).replace('_', ' ')}"


def value_label(value: str) -> str:
    """A value in words; bins count from 1, as on the rest of the page.

    >>> value_label("Q0"), value_label("HIGH"), value_label("answer/positive")
    ('bin 1', 'high', 'positive')
    """
    if value.startswith("Q") and names.is_bin(value):
        return f"bin {(names.bin_index(value) or 0) + 1}"
    return value.rpartition("/")[2].lower().replace("_", " ")


def _figures(study: Study, before: Reading, after: Reading, counting: set[str]) -> None:
    """Risks at the end of the window and measures of the path, with what the edit changed."""
    shown = [name for name in study.outcomes if name in counting and name in after.risks]
    places = st.columns(len(shown) + len(_MEASURES))
    for place, name in zip(places, shown, strict=False):
        then, now = (float(reading.hourly[f"risk_{name}"][-1]) for reading in (before, after))
        change = f"{100 * (now - then):+.1f} points"
        place.metric(study.outcomes[name].label, f"{now:.1%}", change, delta_color="off", delta_arrow="off")
    for place, (column, (label, pattern)) in zip(places[len(shown) :], _MEASURES.items(), strict=True):
        then, now = (float(reading.measures[column][0]) for reading in (before, after))
        change = ("+" if now >= then else "−") + pattern.format(abs(now - then))
        place.metric(label, pattern.format(now), change, delta_color="off", delta_arrow="off")
    st.caption(
        "Risk at the end of the window (probe, not calibrated; only outcomes this stay counts for), and "
        "under each figure its difference from the stay as it is. **This is what the model reads "
        "differently, not what would have happened to the patient: an event that lowers a risk here is no "
        "treatment.** An edit that no hospital would chart can lead where the model has never been: see the "
        "anomaly score. No interval."
    )


def _lanes(study: Study, outcome: Outcome, site: str, stay: str, before: Other, after: Other) -> None:
    ui.chart(
        lanes(
            after.tokens,
            timeline.largest_jumps(after.tokens),
            after.path,
            study.outcomes,
            hours=max(1, len(after.path) - 1),
            outcome=outcome.name,
            band=population.risk_band(study, site, outcome),
            name=after.name,
            other=before,
        ),
        key="what-if-lanes",
        alt=f"The three lanes of stay {stay} after the edit, and before it in a second ink",
        caption="Above and in the first ink: after the edit; below and in the second: before it. Jumps are "
        "distances in the model's full space. An edit can change everything that comes after it, and nothing "
        "before.",
    )


def _maps(study: Study, site: str, stay: str, before: Other, after: Other, minute: float | None) -> None:
    bins = population.bins_for(len(data.paths(study, site)))
    for kind, title in maps.KINDS.items():
        grid = population.counts(study, site, kind, bins=bins)
        colour = theme.site_colours(study.sites)[site]
        figure = maps.density_map(grid, data.maps(study)[kind], kind, colour=colour, height=330)
        paths.add_other_path(figure, before.path, kind, before.name)
        paths.add_path(figure, after.path, kind, jump_minute=minute)
        ui.chart(
            figure,
            key=f"what-if-{kind}",
            alt=f"Path of stay {stay} on the {title} map after the edit and before it",
            caption=f"{title}: hours in colour after the edit, diamonds before. Not to scale, no interval.",
        )
