"""Regions of the cohorts that are there when a map is painted: outlined on it as if they had just been drawn.

A map must not change while one draws on it. So what is outlined is settled at its first painting and kept as
long as it is the same figure; what is then drawn replaces the outline, in the browser, like any drawing.
"""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from dashboard import cohorts
from ehrfm_core.cohorts import Region
from ehrfm_core.cohorts.polygon import DIGITS, Polygon
from ehrfm_core.study import Study

INKS = {"a": "green", "b": "pink"}  # theme.COHORT_COLOURS in words
_HELD = "cohort_outlines"  # of each map: which figure it is, and the words of the cohorts outlined on it


def settle(study: Study, kind: str, *, widget: str, figure: str) -> dict[str, Region]:
    """The regions outlined on a map, by cohort; `widget` is its key, `figure` says all else that it shows."""
    held = st.session_state.setdefault(_HELD, {})
    here = f"{widget}|{study.digest}|{figure}"
    if widget not in st.session_state or held.get(kind, ("", {}))[0] != here:
        made = {side: cohorts.usable(study, side) for side in cohorts.SIDES}
        held[kind] = here, {side: cohorts.encode(one) for side, one in made.items() if one and one.regions}
    return regions(kind)


def regions(kind: str) -> dict[str, Region]:
    """What was settled for a map last."""
    _, words = st.session_state.get(_HELD, {}).get(kind, ("", {}))
    return {
        side: region
        for side, word in words.items()
        for region in cohorts.decode(word).regions
        if region.kind == kind
    }


def is_one(kind: str, x: Sequence[float], y: Sequence[float], *sides: str) -> bool:
    """Whether what a map sends back is one of its outlines, of these cohorts."""
    corners = {(round(a, DIGITS), round(b, DIGITS)) for a, b in zip(x, y, strict=False)}
    return any(corners == set(shape) for shape in shapes(regions(kind), *sides))


def shapes(outlined: dict[str, Region], *sides: str) -> list[Polygon]:
    """The polygons of these cohorts' outlines."""
    return [shape for side in sides if side in outlined for shape in outlined[side].shapes]


def told(outlined: dict[str, Region]) -> str:
    """Which cohorts are outlined, as a sentence for the caption; empty where none is."""
    names = [f"cohort {side.upper()} ({INKS[side]})" for side in outlined]
    return f" Outlined: {' and '.join(names)}." if names else ""
