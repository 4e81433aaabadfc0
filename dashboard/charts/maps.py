"""The two maps: a population as density and one stay's path on top; an index, no measurement."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import plotly.graph_objects as go
import polars as pl

from dashboard import measures, theme

KINDS = {"pca": "PCA", "umap": "UMAP"}


def density_map(
    counts: np.ndarray,
    info: dict[str, Any],
    kind: str,
    *,
    colour: str,
    height: int,
    off_map: np.ndarray | None = None,
) -> go.Figure:
    """Hourly positions of a population as a heat map (log scale).

    `counts` has rows along y; `info` is this map's entry of `maps.json`, whose ranges the axes keep. Where
    more than half of the states are `off_map` (counts on the same grid), grey lies over the colour.
    """
    shown = np.where(counts > 0, np.log10(1 + counts), np.nan)
    heat = go.Heatmap(
        z=shown.astype(np.float32),
        customdata=counts.astype(np.int32),
        colorscale=theme.fade(colour),
        hovertemplate="%{customdata:,} hourly states here<extra></extra>",
        showscale=False,
    )
    figure = _frame(heat, counts.shape[0], info, kind, height)
    if off_map is not None:
        mostly = np.where(2 * off_map > counts, 1, np.nan)
        figure.add_heatmap(
            z=mostly.astype(np.float32),
            x=figure.data[0].x,
            y=figure.data[0].y,
            colorscale=[[0, theme.alpha(theme.NEUTRAL, 0.6)], [1, theme.alpha(theme.NEUTRAL, 0.6)]],
            hoverinfo="skip",
            showscale=False,
            name="mostly off the map",
        )
    return figure


def difference_map(
    first: np.ndarray,
    second: np.ndarray,
    info: dict[str, Any],
    kind: str,
    *,
    colours: tuple[str, str],
    height: int,
) -> go.Figure:
    """Where one population is denser than the other: log2 ratio of their shares.

    The first's colour stands where it prevails. Bins with fewer than `measures.MIN_CELL` states of both
    together stay empty.
    """
    share = (first + 0.5) / max(1.0, first.sum()), (second + 0.5) / max(1.0, second.sum())
    ratio = np.clip(np.log2(share[0] / share[1]), -4, 4)
    shown = np.where(first + second >= measures.MIN_CELL, ratio, np.nan)
    heat = go.Heatmap(
        z=shown.astype(np.float32),
        zmin=-4,
        zmax=4,
        colorscale=[[0, colours[1]], [0.5, theme.alpha(theme.NEUTRAL, 0.15)], [1, colours[0]]],
        hovertemplate="log2 ratio of densities %{z:.1f}<extra></extra>",
        colorbar={
            "title": {"text": "log2 ratio", "side": "right"},
            "thickness": 8,
            "len": 0.6,
            "outlinewidth": 0,
        },
    )
    return _frame(heat, first.shape[0], info, kind, height)


def rate_map(
    counted: np.ndarray, events: np.ndarray, info: dict[str, Any], kind: str, *, height: int
) -> go.Figure:
    """How often an outcome happened among the stays of a bin; empty with fewer than `measures.MIN_CELL`.

    `counted` and `events` (bins × bins, rows along y) are stays at the end of the window.
    """
    enough = counted >= measures.MIN_CELL
    rate = np.where(enough, events / np.maximum(counted, 1), np.nan)
    heat = go.Heatmap(
        z=rate.astype(np.float32),
        zmin=0,
        zmax=float(np.nanmax(rate)) if enough.any() and np.nanmax(rate) > 0 else 1.0,
        customdata=np.where(enough, counted, 0).astype(np.int32),
        colorscale=theme.SEQUENTIAL,
        hovertemplate="%{z:.0%} of %{customdata:,} stays here<extra></extra>",
        colorbar={"thickness": 8, "len": 0.6, "outlinewidth": 0, "tickformat": ".0%"},
    )
    return _frame(heat, counted.shape[0], info, kind, height)


def _frame(heat: go.Heatmap, bins: int, info: dict[str, Any], kind: str, height: int) -> go.Figure:
    x_range, y_range = info["x_range"], info["y_range"]
    heat.update(
        x=measures.centres(x_range[0], x_range[1], bins), y=measures.centres(y_range[0], y_range[1], bins)
    )
    figure = go.Figure(heat)
    theme.style(figure, height=height, legend=False, margin={"l": 8, "r": 14, "t": 8, "b": 8})
    titles = _axis_titles(info, kind)
    plain = {
        "showgrid": False,
        "ticks": "",
        "showticklabels": False,
        "showline": True,
        "linecolor": theme.GRID,
    }
    # the title stands on top: the bar of hours takes the place below
    figure.update_xaxes(range=list(x_range), title=titles[0], side="top", mirror=True, **plain)
    figure.update_yaxes(range=list(y_range), title=titles[1], mirror=True, **plain)
    figure.update_yaxes(scaleanchor="x", scaleratio=1)
    return figure


def _axis_titles(info: dict[str, Any], kind: str) -> tuple[str, str]:
    if kind == "umap":
        return "UMAP 1 (axes have no units)", "UMAP 2"
    shares = [f" ({100 * share:.0f} % of variance)" for share in info.get("explained_variance") or []]
    first, second = (*shares, "", "")[:2]
    return f"PC 1{first}", f"PC 2{second}"


def make_selectable(figure: go.Figure, info: dict[str, Any]) -> go.Figure:
    """Let regions be drawn: the browser asks for a point that could be selected, and gets one nobody sees.

    What is drawn comes back as a polygon; the path's points, which it may hold, keep their look.
    """
    middle = [sum(info[f"{axis}_range"]) / 2 for axis in "xy"]
    figure.update_traces(unselected={"marker": {"opacity": 0.9}}, selector={"name": "path"})
    figure.add_scatter(
        x=[middle[0]],
        y=[middle[1]],
        mode="markers",
        marker={"opacity": 0, "size": 1},
        unselected={"marker": {"opacity": 0}},
        selected={"marker": {"opacity": 0}},
        hoverinfo="skip",
        name="region",
    )
    region = {"line": {"color": theme.ACCENT, "width": 2, "dash": "solid"}}
    top = 64  # the buttons stay in sight, above the axis' title
    height = figure.layout.height + top
    return figure.update_layout(dragmode="lasso", newselection=region, margin_t=8 + top, height=height)


def add_path(figure: go.Figure, path: pl.DataFrame, kind: str, *, jump_minute: float | None) -> go.Figure:
    """Draw one stay's hourly path: hours in colour, an open circle at its start, a filled one at its end.

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
            hoverinfo="skip",
            name="hour of the largest jump",
            meta=theme.STAY,
        )
    last = len(path) - 1
    quarters = np.linspace(0, max(1, last), 5).tolist()
    figure.add_scatter(
        x=x,
        y=y,
        mode="lines+markers",
        line={"color": theme.NEUTRAL, "width": 1.4},
        marker={
            "color": hour,
            "opacity": [0.3 if off else 1.0 for off in off_map],
            "colorscale": theme.SEQUENTIAL,
            "cmin": 0,
            "cmax": max(1, last),
            "size": [13 if i == last else 7 for i in range(last + 1)],
            "line": {"color": "rgba(255, 255, 255, 0.85)", "width": 1},
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
        hoverinfo="skip",
        name="start",
        meta=theme.STAY,
    )
    if step is not None:
        figure.add_annotation(
            x=0.015,
            y=0.985,
            xref="x domain",
            yref="y domain",
            text=f"<b>━</b> largest jump, full space: hour {step}",
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
    return figure.add_scatter(
        x=path[f"{kind}_x"].to_numpy(),
        y=path[f"{kind}_y"].to_numpy(),
        mode="lines+markers",
        line={"color": theme.PIN, "width": 1.6},
        marker={
            "color": theme.PIN,
            "size": [12 if i in (0, last) else 5 for i in range(last + 1)],
            "symbol": ["diamond-open" if i == 0 else "diamond" for i in range(last + 1)],
            "line": {"width": [2.5 if i == 0 else 0 for i in range(last + 1)]},
        },
        customdata=path["hour"].to_numpy(),
        hovertemplate=f"{name}, hour %{{customdata}}<extra></extra>",
        name=name,
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
