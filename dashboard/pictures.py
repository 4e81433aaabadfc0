"""PNG beside SVG in the buttons of every chart: Plotly's own camera takes one format alone."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

_SCRIPT = (Path(__file__).parent / "assets/pictures.js").read_text()  # ours, and the same for everyone
_second_camera = st.components.v2.component("second_camera", js=_SCRIPT)


def second_camera() -> None:
    """Put it beside the first, in whatever charts the page draws."""
    _second_camera(key="second-camera", height=1)
