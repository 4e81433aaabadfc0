"""A path that can be played hour by hour, in the browser alone: the server hears nothing of it.

Frames hold the path and never the density behind it, so that 25 of them weigh a few kilobytes. What is drawn
at first, printed and handed out as numbers is the whole path.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from dashboard import theme

MS_AN_HOUR = 180  # a day in some 5 s; Plotly draws one frame in 20 to 80 ms
_BELOW_PX = 40  # the bar of hours, under which the slider stands
_CONTROLS_PX = 32  # what the controls add to a figure's height
_QUIET = {"transition": {"duration": 0}, "mode": "immediate"}
_BUTTON_INK = theme.alpha(theme.NEUTRAL, 0.25)
_CLEAR = "rgba(0, 0, 0, 0)"


def play(figure: go.Figure, *, button: float) -> go.Figure:
    """Let the paths of a map (`charts.paths`) be played; returns the figure, unchanged where nothing moves.

    `button` is the share of the width that the button takes at the left; the bar of hours and the slider
    below it have the rest. Whoever takes hold of the slider stops what is playing.
    """
    moving = [(i, trace) for i, trace in enumerate(figure.data) if trace.meta == theme.STAY]
    hours = sorted({int(hour) for _, trace in moving for hour in trace.customdata})
    if len(hours) < 2:
        return figure
    walks = {trace.name: trace for _, trace in moving}
    figure.frames = [
        go.Frame(
            name=str(hour),
            data=[_until(hour, trace, walks) for _, trace in moving],
            traces=[i for i, _ in moving],
        )
        for hour in hours
    ]
    length = 1 - button
    for _, trace in moving:
        if trace.marker.colorbar.orientation:
            trace.marker.colorbar.update(x=button, xanchor="left", len=length)
    return figure.update_layout(
        sliders=[_slider(hours, x=button, length=length)],
        updatemenus=[_button()],
        height=figure.layout.height + _CONTROLS_PX,
    )


def _until(hour: int, trace: go.Scatter, walks: dict[str, go.Scatter]) -> go.Scatter:
    """The trace as it is at an hour; the end of a path goes along it and tells the hour."""
    path = walks.get(trace.legendgroup)
    source = trace if path is None else path
    seen = np.flatnonzero(np.asarray(source.customdata) <= hour)
    if path is None:
        return go.Scatter(x=_values(source.x, seen), y=_values(source.y, seen))
    seen = seen[-1:]
    end = go.Scatter(x=_values(source.x, seen), y=_values(source.y, seen))
    if path.marker.colorscale is not None:
        colours, opacities = (np.asarray(path.marker[key])[seen].tolist() for key in ("color", "opacity"))
        end.update(marker={"color": colours, "opacity": opacities}, text=[f"{hour} h"])
    return end


def _values(values: Any, seen: np.ndarray) -> list[float]:
    return [round(float(value), 4) for value in np.asarray(values)[seen]]


def _slider(hours: list[int], *, x: float, length: float) -> dict[str, Any]:
    steps = [
        {"label": f"{hour} h", "method": "animate", "args": [[str(hour)], _QUIET | _frame(0)]}
        for hour in hours
    ]
    return {
        "steps": steps,
        "active": len(steps) - 1,
        "x": x,
        "len": length,
        "y": 0,
        "yanchor": "top",
        "pad": {"t": _BELOW_PX, "b": 0, "l": 0, "r": 0},
        "currentvalue": {"visible": False},
        "ticklen": 0,
        "minorticklen": 0,
        "font": {"size": 1, "color": _CLEAR},  # the hours stand above, on the bar
        "bgcolor": theme.NEUTRAL,
        "activebgcolor": theme.ACCENT,
        "borderwidth": 0,
    }


def _button() -> dict[str, Any]:
    return {
        "type": "buttons",
        "showactive": False,
        "x": 0,
        "xanchor": "left",
        "y": 0,
        "yanchor": "top",
        "pad": {"t": 12, "b": 0, "l": 0, "r": 0},
        "bgcolor": _BUTTON_INK,
        "bordercolor": _CLEAR,
        "font": {"size": 15},
        "buttons": [
            {
                "label": "▶\ufe0e",  # as text, nowhere a coloured picture
                "method": "animate",
                "args": [None, _QUIET | _frame(MS_AN_HOUR) | {"fromcurrent": True}],
            }
        ],
    }


def _frame(duration: int) -> dict[str, Any]:
    # without redraw Plotly (4.2) wipes a heat map off: it moves scatters alone and drops every other layer
    return {"frame": {"duration": duration, "redraw": True}}
