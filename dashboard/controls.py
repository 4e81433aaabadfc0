"""Controls whose choice stands in the page's address, so that a link brings it back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import streamlit as st

from dashboard import state


def choose(
    label: str,
    options: Mapping[str, str],
    *,
    key: str,
    what: str,
    hidden: bool = False,
    on_change: Callable[[], None] | None = None,
) -> str:
    """A row of buttons bound to the URL, of which exactly one is chosen; `options` maps values to labels."""
    shown = state.seed(key, options, what=what)
    first = next(iter(options))
    chosen = st.segmented_control(
        label,
        list(options),
        default=first,
        required=True,
        format_func=shown,
        key=key,
        bind="query-params",
        on_change=on_change or "rerun",
        label_visibility="collapsed" if hidden else "visible",
    )
    return chosen if chosen in options else first


def pick(
    label: str,
    options: Mapping[str, str],
    *,
    key: str,
    what: str,
    help: str | None = None,
    width: int | Literal["stretch"] = "stretch",
) -> str:
    """A drop-down bound to the URL, `width` pixels wide; `options` maps values to labels."""
    shown = state.seed(key, options, what=what)
    chosen = st.selectbox(
        label, list(options), format_func=shown, key=key, bind="query-params", help=help, width=width
    )
    return chosen if chosen in options else next(iter(options))
