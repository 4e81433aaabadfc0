"""Regions drawn on the maps: the only way from a picture into a cohort.

A callback copies the polygon; nothing that is drawn is read back into the figure while it is drawn on, or the
browser would forget it and the zoom (see `outlines`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import streamlit as st

from dashboard import cohorts, controls, outlines, state
from ehrfm_core.cohorts import Cohort, Region
from ehrfm_core.cohorts.predicate import ANY, END, KINDS, SITE
from ehrfm_core.errors import UserError
from ehrfm_core.study import Study

_FOR = "cohort_drawn_for"  # which cohort the drawing on each map made


@dataclass(frozen=True)
class Pen:
    """What a drawing makes: which cohort, of the stays that are there at which hour."""

    side: str
    hour: str


def options() -> Pen:
    """Let the user choose what the next drawing makes."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        side = controls.choose(
            "Drawing a region makes", {"a": "Cohort A", "b": "Cohort B"}, key=state.DRAWS, what="cohort"
        )
        hour = controls.choose(
            "of the stays that are there",
            {END: "At the end of the window", ANY: "At any hour"},
            key=state.WHEN,
            what="hour",
        )
    st.caption(
        "Draw with the lasso or the box from the buttons on a map; hold Shift to add another region, and "
        "start a new one outside the old. Regions on both maps: a stay must be in both."
    )
    return Pen(side, hour)


def widget(kind: str) -> str:
    """The key of a map in the session; another one when what was drawn has to go."""
    return f"map-{kind}-{cohorts.drawing()}"


def follow(study: Study, kind: str, sites: list[str], pen: Pen) -> Callable[[], None]:
    """The callback of a map: what is drawn becomes a cohort of the sites that the map shows.

    Filters that the cohort had stay. An empty selection changes nothing: the browser sends one whenever a
    figure is drawn anew.
    """

    def drawn() -> None:
        if not anew(kind):
            return
        made_for = st.session_state.setdefault(_FOR, {})
        made_for[kind] = pen.side
        before = cohorts.usable(study, pen.side) or Cohort()
        levels = {column: list(values) for column, values in before.levels if column != SITE}
        if len(study.sites) > 1:
            levels[SITE] = list(sites)
        try:
            found = (_region(each, pen, made_for.get(each)) for each in KINDS)
            regions = tuple(region for region in found if region is not None)
        except UserError as error:
            st.toast(str(error), icon=":material/error:")
            return
        cohort = cohorts.made_here(
            study,
            levels=levels,
            ranges=dict(before.ranges),
            flags=dict(before.flags),
            regions=regions,
        )
        cohorts.put(pen.side, cohort)
        st.session_state[state.GROUP] = pen.side

    return drawn


def anew(kind: str) -> bool:
    """Whether anything has been drawn on a map but what was outlined on it from the first."""
    return any(not outlines.is_one(kind, x, y, *cohorts.SIDES) for x, y in _shapes(kind))


def _region(kind: str, pen: Pen, made_for: str | None) -> Region | None:
    """The pen's region on a map: what was drawn for it, else the outline that still stands there."""
    if not anew(kind):
        return outlines.regions(kind).get(pen.side)
    if made_for != pen.side:
        return None
    others = [side for side in cohorts.SIDES if side != pen.side]
    shapes = [(x, y) for x, y in _shapes(kind) if not outlines.is_one(kind, x, y, *others)]
    return Region.drawn(kind, shapes, pen.hour)


def _shapes(kind: str) -> list[tuple[list[float], list[float]]]:
    """The x and y of what is drawn on a map: lassos as they are, boxes as their corners."""
    held: Any = st.session_state.get(widget(kind)) or {}
    selection = held.get("selection") or {}
    lassos = [(list(shape["x"]), list(shape["y"])) for shape in selection.get("lasso", [])]
    boxes = [(shape["x"], shape["y"]) for shape in selection.get("box", [])]
    return lassos + [([x[0], x[1], x[1], x[0]], [y[0], y[0], y[1], y[1]]) for x, y in boxes]
