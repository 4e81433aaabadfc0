"""What the page remembers: names of URL parameters, the focused stay and the one pinned beside it.

Widgets are bound to the URL by Streamlit itself (`bind="query-params"`); focus and pin are written by hand,
because a table's selection cannot be bound. Session state holds names and ids only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st

STUDY = "b"
OUTCOME = "y"
SITE = "s"
MAP = "m"
LAYER = "c"
GROUP = "g"
ORDER = "o"
THRESHOLD = "t"
MODEL = "k"
TARGET = "v"
HOME = "home"
WAY = "way"
ARM = "arm"
VIEW = "view"
FEATURE = "x"
FOCUS = "f"
PIN = "p"
COHORT_A = "a"
COHORT_B = "z"
DRAWS = "to"
WHEN = "w"
RUNS = "runs"
AXIS = "axis"
SCALE = "scale"
ITEMS = "items"
CODE = "code"
RESULT = "result"
STEP = "step"
PRESENT = "present"

_TOLD = "told"  # unknown URL values the user has already been told about
_WORDS = "words"  # by key: what each value of a bound widget is called in the URL


def seed(key: str, options: Mapping[str, str], *, what: str) -> Callable[[str], str]:
    """Prepare a bound widget: accept a value's name as well as its label in the URL, drop what is unknown.

    `options` maps values to labels. Returns the function that formats a value, for the widget's
    `format_func`.
    """
    st.session_state.setdefault(_WORDS, {})[key] = dict(options)
    raw = st.query_params.get(key)
    if key in st.session_state and st.session_state[key] not in options:
        del st.session_state[key]  # chosen under another study, which had other options
    if raw is not None and raw not in options.values():
        if raw in options:
            st.session_state.setdefault(key, raw)
        else:
            tell_unknown(key, raw, what, where="this folder" if key == STUDY else "this study")
    return lambda value: options.get(value, str(value))


def in_url(key: str) -> Any:
    """The value of a bound widget as Streamlit writes it into the URL, and finds it there after a reload."""
    value = st.session_state.get(key)
    words: Mapping[str, str] = st.session_state.get(_WORDS, {}).get(key, {})
    return words.get(value, value) if isinstance(value, str) else value


def tell_unknown(key: str, value: str, what: str, *, where: str = "this study") -> None:
    """Say once that a value in the link is not known here."""
    told = st.session_state.setdefault(_TOLD, [])
    mark = f"{key}={value[:60]}"
    if mark not in told:
        told.append(mark)
        st.toast(
            f"This link names {_what(what)} that is not in {where}: showing the default.",
            icon=":material/link_off:",
        )


def _what(what: str) -> str:
    return f"an {what}" if what[0] in "aeiou" else f"a {what}"


def focus() -> tuple[str, str] | None:
    """Site and id of the focused stay, or None."""
    return _stay(FOCUS, "focus")


def set_focus(site: str, stay: str) -> None:
    """Focus a stay, here and in the URL."""
    _set_stay(FOCUS, "focus", site, stay)


def drop_focus() -> None:
    """Focus nothing, until a page chooses."""
    st.session_state.pop("focus", None)
    if FOCUS in st.query_params:
        del st.query_params[FOCUS]


def pin() -> tuple[str, str] | None:
    """Site and id of the stay pinned beside the focused one, or None."""
    return _stay(PIN, "pin")


def set_pin(site: str, stay: str) -> None:
    """Pin a stay, here and in the URL."""
    _set_stay(PIN, "pin", site, stay)


def clear_pin() -> None:
    """Pin nothing any more."""
    st.session_state.pop("pin", None)
    if PIN in st.query_params:
        del st.query_params[PIN]


def _stay(parameter: str, held: str) -> tuple[str, str] | None:
    raw = st.query_params.get(parameter) or st.session_state.get(held)
    if not raw or "/" not in str(raw):
        return None
    site, _, stay = str(raw).partition("/")
    return site, stay


def _set_stay(parameter: str, held: str, site: str, stay: str) -> None:
    value = f"{site}/{stay}"
    st.session_state[held] = value
    if st.query_params.get(parameter) != value:
        st.query_params[parameter] = value


def follow_table(key: str, ids: list[str], site: str) -> Callable[[], None]:
    """The callback of a table of stays: focus the row that was clicked."""

    def follow() -> None:
        rows = st.session_state[key]["selection"]["rows"]
        if rows and rows[0] < len(ids):
            set_focus(site, ids[rows[0]])

    return follow


def select_row(key: str, row: int | None) -> None:
    """Mark a row of a table from code, before the table is drawn."""
    wanted: dict[str, Any] = {"rows": [] if row is None else [row], "columns": [], "cells": []}
    held = st.session_state.get(key)
    if held is None or list(held["selection"]["rows"]) != wanted["rows"]:
        st.session_state[key] = {"selection": wanted}
