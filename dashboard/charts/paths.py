"""One stay's path on a map, hour by hour: an index to the full space, no measurement."""

from __future__ import annotations

import math

import numpy as np
import plotly.graph_objects as go
import polars as pl

from dashboard import theme

_EDGE = {"color": "rgba(255, 255, 255, 0.85)", "width": 1}


def add_path(figure: go.Figure, path: pl.DataFrame, kind: str, *, jump_minute: float | None) -> go.Figure:
    """Draw one stay's hourly path: hours in colour, an open circle at its start, a large dot at its end.

    `path` has hour, <kind>_x, <kind>_y and off_map; an hour off the map is faded. The hour of the largest
    jump (measured in the full space) is drawn thick: it need not be the longest step on the picture, and that
    is the point.
    """
    path = path.sort("hour")
    x, y, hour = (path[column].to_numpy() for column in (f"{kind}_x", f"{kind}_y", "hour"))
    off_map = path["off_map"].fill_null(value=False).to_list()
    if len(path) == 0:
        return figure
    step = largest_step(jump_minute, int(hour[-1]))
    if step is not None:
        inside = (hour == step - 1) | (hour == step)
        figure.add_scatter(
            x=x[inside],
            y=y[inside],
            mode="lines",
            line={"color": theme.ACCENT, "width": 7},
            opacity=0.9,
            customdata=hour[inside],
            hoverinfo="skip",
            name="hour of the largest jump",
            meta=theme.STAY,
        )
    last = len(path) - 1
    colours = {"colorscale": theme.SEQUENTIAL, "cmin": 0, "cmax": max(1, last)}
    opacity = [0.3 if off else 1.0 for off in off_map]
    quarters = np.linspace(0, max(1, last), 5).tolist()
    figure.add_scatter(
        x=x,
        y=y,
        mode="lines+markers",
        line={"color": theme.NEUTRAL, "width": 1.4},
        marker={
            "color": hour,
            "opacity": opacity,
            **colours,
            "size": 7,
            "line": _EDGE,
            "colorbar": {
                "orientation": "h",
                "x": 0.5,
                "y": -0.02,
                "yanchor": "top",
                "tickvals": quarters,
                "ticktext": [f"{quarter:g} h" for quarter in quarters],
                "tickangle": 0,
                "thickness": 7,
                "len": 0.8,
                "outlinewidth": 0,
            },
        },
        customdata=hour,
        text=[", off the map" if off else "" for off in off_map],
        hovertemplate="hour %{customdata}%{text}<extra></extra>",
        name="path",
        meta=theme.STAY,
    )
    figure.add_scatter(  # a ring of its own ink: hour 0 of the scale is too dark for a dark page
        x=x[:1],
        y=y[:1],
        mode="markers",
        marker={"symbol": "circle-open", "size": 14, "color": theme.START, "line": {"width": 3}},
        customdata=hour[:1],
        hoverinfo="skip",
        name="start",
        meta=theme.STAY,
    )
    figure.add_scatter(
        x=x[-1:],
        y=y[-1:],
        mode="markers+text",
        marker={"color": hour[-1:], "opacity": opacity[-1:], **colours, "size": 13, "line": _EDGE},
        text=[""],  # the hour, where the path is played
        textposition="top center",
        textfont={"size": 12},
        cliponaxis=False,
        customdata=hour[-1:],
        hoverinfo="skip",
        name="end",
        legendgroup="path",  # whose end it is
        meta=theme.STAY,
    )
    if step is not None and jump_minute is not None:
        figure.add_annotation(
            x=0.015,
            y=0.985,
            xref="x domain",
            yref="y domain",
            text=f"<b>━</b> hour of the largest jump, {jump_minute / 60:.1f} h",
            font={"color": theme.ACCENT, "size": 12},
            showarrow=False,
        )
    return figure


def add_other_path(figure: go.Figure, path: pl.DataFrame, kind: str, name: str) -> go.Figure:
    """Draw a second path in the second ink, without hours in colour: an open diamond at its start."""
    path = path.sort("hour")
    last = len(path) - 1
    if last < 0:
        return figure
    x, y, hour = (path[column].to_numpy() for column in (f"{kind}_x", f"{kind}_y", "hour"))
    figure.add_scatter(
        x=x,
        y=y,
        mode="lines+markers",
        line={"color": theme.PIN, "width": 1.6},
        marker={
            "color": theme.PIN,
            "size": [12 if i == 0 else 5 for i in range(last + 1)],
            "symbol": ["diamond-open" if i == 0 else "diamond" for i in range(last + 1)],
            "line": {"width": [2.5 if i == 0 else 0 for i in range(last + 1)]},
        },
        customdata=hour,
        hovertemplate=f"{name}, hour %{{customdata}}<extra></extra>",
        name=name,
        meta=theme.STAY,
    )
    return figure.add_scatter(
        x=x[-1:],
        y=y[-1:],
        mode="markers",
        marker={"color": theme.PIN, "size": 12, "symbol": "diamond"},
        customdata=hour[-1:],
        hoverinfo="skip",
        name=f"{name}, end",
        legendgroup=name,  # whose end it is
        meta=theme.STAY,
    )


def largest_step(minute: float | None, last_hour: int) -> int | None:
    """The hour whose hourly step contains a minute: minute 61 lies in the step from hour 1 to hour 2.

    >>> largest_step(61.0, 24), largest_step(0.0, 24), largest_step(1440.0, 24), largest_step(None, 24)
    (2, 1, 24, None)
    """
    if minute is None or not math.isfinite(minute):
        return None
    return int(min(max(1, math.ceil(minute / 60)), last_hour))
