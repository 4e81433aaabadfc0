"""Keys for a path that plays: Plotly's own button and slider know the mouse alone."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

_SCRIPT = (Path(__file__).parent / "assets/playback_keys.js").read_text()  # ours, and the same for everyone
_playback_keys = st.components.v2.component("playback_keys", js=_SCRIPT)


def playback_keys() -> None:
    """Bring the controls of whatever paths the page draws within reach of the keyboard."""
    _playback_keys(key="playback-keys", height=1)
