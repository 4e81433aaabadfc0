"""Text of figures as text: Plotly reads some HTML in what it writes, in the name of a category too."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import plotly.graph_objects as go

_PARTS = ("name", "text", "hovertext", "hovertemplate", "customdata", "x", "y")
# what the charts themselves write; everything else that begins like a tag is somebody's name
_FOREIGN = re.compile(r'<(?!/?(?:b|i|br|sub|sup|extra)>|span style="font-size: \d\dpx">|/span>)')


def harmless(figure: go.Figure) -> go.Figure:
    """Let no tag through but bold, italic, line breaks and the like; returns the figure.

    >>> figure = go.Figure().add_scatter(x=["<a href='http://x'>lab</a>"], y=[1], name="<b>mimic</b>")
    >>> harmless(figure).data[0].x[0], figure.data[0].name
    ("&lt;a href='http://x'>lab&lt;/a>", '<b>mimic</b>')
    """
    for trace in figure.data:
        for part in _PARTS:
            if part in trace and _has_tags(value := trace[part]):
                trace[part] = _cleaned(value)
    for note in figure.layout.annotations:
        if _has_tags(note.text):
            note.text = _cleaned(note.text)
    for axis in (*figure.select_xaxes(), *figure.select_yaxes()):
        if _has_tags(axis.ticktext):
            axis.ticktext = _cleaned(axis.ticktext)
        if _has_tags(axis.title.text):
            axis.title.text = _cleaned(axis.title.text)
    return figure


def _has_tags(value: Any) -> bool:
    if isinstance(value, str):
        return _FOREIGN.search(value) is not None
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "OU" and any(map(_has_tags, value.tolist()))
    return isinstance(value, list | tuple) and any(map(_has_tags, value))


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return _FOREIGN.sub("&lt;", value)
    if isinstance(value, np.ndarray):
        return _cleaned(value.tolist())
    return [_cleaned(part) for part in value] if isinstance(value, list | tuple) else value
