"""The two maps, on which a population is drawn as density or as rate; an index, no measurement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go

from dashboard import measures, theme
from ehrfm_core.cell_words import FEW
from ehrfm_core.cohorts import Region
from ehrfm_core.small_cells import MIN_CELL, hidden_levels, small

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
    told = np.where(small(counts), MIN_CELL - 1, counts)  # so few look alike
    shown = np.where(told > 0, np.log10(1 + told), np.nan)
    heat = go.Heatmap(
        z=shown.astype(np.float32),
        customdata=np.where(told < MIN_CELL, FEW, np.char.mod("%d", told)),
        colorscale=theme.fade(colour),
        hovertemplate="%{customdata} hourly states here<extra></extra>",
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

    The first's colour stands where it prevails. Bins with fewer than `MIN_CELL` states of both
    together stay empty.
    """
    share = (first + 0.5) / max(1.0, first.sum()), (second + 0.5) / max(1.0, second.sum())
    ratio = np.clip(np.log2(share[0] / share[1]), -4, 4)
    shown = np.where(first + second >= MIN_CELL, ratio, np.nan)
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
    """How often an outcome happened among the stays of a bin; empty with fewer than `MIN_CELL`.

    Empty also with as few with the outcome or without it, and in the bins from which those would follow.
    `counted` and `events` (bins × bins, rows along y) are stays at the end of the window.
    """
    parts = np.stack([events, counted - events]).reshape(2, -1)
    enough = (counted >= MIN_CELL) & ~hidden_levels(parts).reshape(counted.shape)
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

    What is drawn comes back as a polygon; paths, whose points it may hold, keep their look.
    """
    middle = [sum(info[f"{axis}_range"]) / 2 for axis in "xy"]
    figure.update_traces(unselected={"marker": {"opacity": 0.9}}, selector={"meta": theme.STAY})
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


def outline(figure: go.Figure, regions: Mapping[str, Region]) -> go.Figure:
    """Show regions of cohorts, by side, on a map that can be drawn on, as drawings that the next replaces."""
    return figure.update_layout(
        selections=[
            {
                "type": "path",
                "xref": "x",
                "yref": "y",
                "path": "M" + "L".join(f"{x},{y}" for x, y in shape) + "Z",
                "line": {"color": theme.COHORT_COLOURS[side], "width": 2.5, "dash": "solid"},
                "opacity": 1,
            }
            for side, region in regions.items()
            for shape in region.shapes
        ]
    )
