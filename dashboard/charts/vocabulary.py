"""Figures of the vocabulary: a category's bins, coverage at two hospitals, drift."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
import polars as pl
from plotly.colors import sample_colorscale
from plotly.subplots import make_subplots

from dashboard import theme

SYMBOLS = ("circle", "diamond", "square", "triangle-up", "cross", "x", "star", "hexagon", "triangle-down")
MOST_LABELS = 24  # of bins and cut points, beyond which only some are written
DRIFTED = 0.1  # the lower of the two customary marks of the index
NAMED = 7  # points of the scatter that carry their name


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
            dash = {
                "symbol": "line-ew",
                "size": max(6, min(44, 520 // n)),
                "line": {"width": 2.5, "color": theme.NEUTRAL},
            }
            figure.add_scatter(
                x=places,
                y=list(values),
                mode="markers",
                marker=dash,
                name=name,
                customdata=list(bins.tokens),
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
    every = max(1, -(-len(bins.edges) // MOST_LABELS))
    theme.style(figure, height=330, legend=bool(shares), bargap=0.25, barmode="group")
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


def coverage(table: pl.DataFrame, source: str, target: str, labels: Mapping[str, str]) -> go.Figure:
    """Share of stays that have a category, at two sites; a point a category, a colour and symbol a family.

    `table` as `side_by_side` gives; `labels` names the families. Open points are unknown to the vocabulary.
    """
    x, y = f"coverage {source}", f"coverage {target}"
    figure = go.Figure()
    figure.add_scatter(
        x=[0, 1],
        y=[0, 1],
        mode="lines",
        line={"color": theme.RULE, "dash": "dash", "width": 1.5},
        hoverinfo="skip",
        showlegend=False,
    )
    for i, family in enumerate(table["family"].unique(maintain_order=True)):
        rows = table.filter(pl.col("family") == family)
        symbol, colour = SYMBOLS[i % len(SYMBOLS)], theme.SITE_COLOURS[i % len(theme.SITE_COLOURS)]
        figure.add_scatter(
            x=rows[x].to_list(),
            y=rows[y].to_list(),
            mode="markers",
            marker={
                "symbol": [symbol if known else f"{symbol}-open" for known in rows["known"]],
                "size": 9,
                "opacity": 0.85,
                "color": colour,
                "line": {"width": [1 if known else 2 for known in rows["known"]], "color": colour},
            },
            name=labels.get(family, family),
            text=[
                _name(code) + ("" if known else " (unknown: UNK)")
                for code, known in rows.select("code", "known").iter_rows()
            ],
            hovertemplate=f"<b>%{{text}}</b><br>{source} %{{x:.1%}}, {target} %{{y:.1%}}<extra></extra>",
        )
    for code, a, b in _apart(table, x, y):
        figure.add_annotation(
            x=a,
            y=b,
            text=_name(code),
            showarrow=False,
            font={"size": 11},
            xanchor="left" if a < 0.6 else "right",
            xshift=8 if a < 0.6 else -8,
        )
    theme.style(figure, height=440)
    figure.update_layout(legend={"font": {"size": 12}})
    figure.update_xaxes(title=f"Stays of {source} with it", tickformat=".0%", range=[-0.03, 1.03])
    figure.update_yaxes(title=f"Stays of {target} with it", tickformat=".0%", range=[-0.04, 1.06])
    return figure


def _apart(table: pl.DataFrame, x: str, y: str) -> list[tuple[str, float, float]]:
    """The categories farthest from the diagonal, one a place, so that names do not lie on each other."""
    named: list[tuple[str, float, float]] = []
    far = table.sort((pl.col(y) - pl.col(x)).abs(), descending=True, maintain_order=True)
    for code, a, b in far.select("code", x, y).iter_rows():
        if len(named) == NAMED or abs(a - b) < 0.1:
            break
        if all(abs(b - other) > 0.045 or abs(a - beside) > 0.35 for _, beside, other in named):
            named.append((code, a, b))
    return named


def drift(rows: pl.DataFrame, colours: Mapping[str, str]) -> go.Figure:
    """Population stability index by category and site on a logarithmic axis, and what chance would give.

    `rows`: site, code, psi, psi_noise, in the order to be drawn from the top.
    """
    codes = rows["code"].unique(maintain_order=True).to_list()
    figure = go.Figure()
    least = 1e-3
    for i, (site, colour) in enumerate(colours.items()):
        own = rows.filter(pl.col("site") == site)
        if own.is_empty():
            continue
        names = [_name(code) for code in own["code"]]
        values, noise = (np.maximum(own[column].to_numpy(), least) for column in ("psi", "psi_noise"))
        figure.add_scatter(
            x=noise,
            y=names,
            mode="markers",
            marker={"symbol": "line-ns", "size": 13, "line": {"width": 2, "color": colour}},
            name=f"{site}: by chance",
            legendgroup=site,
            hovertemplate=f"%{{y}}: %{{x:.3f}} by chance<extra>{site}</extra>",
        )
        figure.add_scatter(
            x=values,
            y=names,
            mode="markers",
            marker={"symbol": theme.MODEL_SYMBOLS[i % len(theme.MODEL_SYMBOLS)], "size": 9, "color": colour},
            name=site,
            legendgroup=site,
            hovertemplate=f"<b>%{{y}}</b>: %{{x:.3f}}<extra>{site}</extra>",
        )
    figure.add_vline(x=DRIFTED, line={"color": theme.RULE, "dash": "dash", "width": 1.5})
    theme.style(figure, height=max(240, 110 + 22 * len(codes)), hovermode="closest")
    figure.update_xaxes(
        title="Population stability index (logarithmic)",
        type="log",
        tickvals=[0.001, 0.01, 0.1, 1, 10],
        ticktext=["0.001", "0.01", "0.1", "1", "10"],
    )
    figure.update_yaxes(
        categoryorder="array", categoryarray=[_name(code) for code in codes[::-1]], gridcolor=theme.GRID
    )
    return figure


def _name(code: str) -> str:
    return code.partition("/")[2].replace("_", " ") or code
