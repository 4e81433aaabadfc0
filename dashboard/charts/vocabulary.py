"""Figures of the vocabulary: a category's bins and cut points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
from plotly.colors import sample_colorscale
from plotly.subplots import make_subplots

from dashboard import theme

MOST_LABELS = 24  # of bins, beyond which none is written
MOST_TICKS = 14  # cut points, beyond which only some are written

_HALF = 0.42  # of a dash, in bins


@dataclass(frozen=True)
class Bins:
    """A category's bins: the names of their value tokens, the cut points between them, those that stay empty.

    `typed` is the bin of the result typed in, None without one.
    """

    tokens: Sequence[str]
    edges: Sequence[float]
    empty: Sequence[int] = ()
    typed: int | None = None


def ruler(
    bins: Bins, shares: Mapping[str, Sequence[float]], colours: Mapping[str, str], *, trained: str, axis: str
) -> go.Figure:
    """Bins side by side, all of one width, with the cut points between them; above them the share of values.

    `shares` maps a group of stays to its share of values by bin; that named `trained`, from whose values the
    cut points come, is drawn as a dash a bin, the others as bars of `colours`.
    """
    n = len(bins.tokens)
    figure = make_subplots(2, 1, shared_xaxes=True, row_heights=[0.8, 0.2], vertical_spacing=0.03)
    places = list(range(n))
    for name, values in shares.items():
        hover = "%{customdata}: %{y:.1%} of values<extra>" + name + "</extra>"
        if name == trained:
            held = [i for i in places if i not in bins.empty]
            figure.add_scatter(
                x=[x for i in held for x in (i - _HALF, i, i + _HALF, None)],
                y=[y for i in held for y in (*[values[i]] * 3, None)],
                mode="lines",
                line={"width": 2.5, "color": theme.NEUTRAL},
                name=name,
                customdata=[bins.tokens[i] for i in held for _ in range(4)],
                hovertemplate=hover,
                row=1,
                col=1,
            )
        else:
            figure.add_bar(
                x=places,
                y=list(values),
                marker={"color": colours[name]},
                name=name,
                customdata=list(bins.tokens),
                hovertemplate=hover,
                row=1,
                col=1,
            )
    inks = (
        sample_colorscale(theme.SEQUENTIAL, [i / max(1, n - 1) for i in places]) if n > 1 else [theme.NEUTRAL]
    )
    figure.add_bar(
        x=places,
        y=[1] * n,
        width=1,
        marker={
            "color": [theme.GRID if i in bins.empty else inks[i] for i in places],
            "pattern": {"shape": ["/" if i in bins.empty else "" for i in places], "fgcolor": theme.RULE},
            "line": {"width": 1, "color": "white"},
        },
        text=[
            f"{'<b>' if i == bins.typed else ''}{token}{'</b>' if i == bins.typed else ''}"
            if n <= MOST_LABELS
            else ""
            for i, token in enumerate(bins.tokens)
        ],
        textposition="inside",
        insidetextanchor="middle",
        textangle=0,
        textfont={
            "color": [
                theme.NEUTRAL if i in bins.empty else "white" if i < 0.55 * n else "#1B2733" for i in places
            ]
        },
        customdata=[_span(bins, i) for i in places],
        hovertemplate="%{customdata}<extra></extra>",
        showlegend=False,
        row=2,
        col=1,
    )
    if bins.typed is not None:
        figure.add_vrect(
            x0=bins.typed - 0.5,
            x1=bins.typed + 0.5,
            line={"color": theme.ACCENT, "width": 2},
            fillcolor=theme.alpha(theme.ACCENT, 0.12),
            layer="below",
        )
    every = max(1, -(-len(bins.edges) // MOST_TICKS))
    theme.style(figure, height=330, legend=bool(shares), bargap=0.25, barmode="group")
    figure.update_layout(legend_itemsizing="constant")
    figure.update_xaxes(range=[-0.5, max(n, 1) - 0.5], showgrid=False)
    figure.update_xaxes(
        tickvals=[i + 0.5 for i in range(0, len(bins.edges), every)],
        ticktext=[f"{edge:g}" for edge in bins.edges[::every]],
        tickangle=0 if len(bins.edges) <= 12 else None,
        ticks="outside",
        title=axis,
        row=2,
        col=1,
    )
    figure.update_yaxes(title="Share of values", tickformat=".0%", rangemode="tozero", nticks=5, row=1, col=1)
    figure.update_yaxes(visible=False, range=[0, 1], fixedrange=True, row=2, col=1)
    return figure


def _span(bins: Bins, index: int) -> str:
    token, edges = bins.tokens[index], bins.edges
    if index in bins.empty:
        return f"{token}: no value can fall here, both cut points are {edges[index]:g}"
    low = f"from {edges[index - 1]:g}" if index else ""
    high = f"below {edges[index]:g}" if index < len(edges) else ""
    return f"{token}: {' '.join(part for part in (low, high) if part) or 'every value'}"
