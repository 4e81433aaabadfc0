"""Figures of what hospitals chart: coverage at two of them, drift of values."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go
import polars as pl

from dashboard import theme

SYMBOLS = ("circle", "diamond", "square", "triangle-up", "cross", "x", "star", "hexagon", "triangle-down")
DRIFTED = 0.1  # the lower of the two customary marks of the index
LEAST = 1e-3  # where the logarithmic axis begins
NAMED = 7  # points of the scatter that carry their name


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
            yanchor="bottom",
            yshift=2,
        )
    theme.style(figure, height=500)
    figure.update_layout(legend={"font": {"size": 11}, "entrywidth": 0.47, "entrywidthmode": "fraction"})
    figure.update_xaxes(title=f"Stays of {source} with it", tickformat=".0%", range=[-0.03, 1.03])
    figure.update_yaxes(title=f"Stays of {target} with it", tickformat=".0%", range=[-0.04, 1.1])
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
    place = {code: -i for i, code in enumerate(codes)}
    figure = go.Figure()
    for i, (site, colour) in enumerate(colours.items()):
        own = rows.filter(pl.col("site") == site)
        if own.is_empty():
            continue
        y = [place[code] for code in own["code"]]
        told = [(_name(c), a, b) for c, a, b in own.select("code", "psi", "psi_noise").iter_rows()]
        values, noise = (np.maximum(own[column].to_numpy(), LEAST) for column in ("psi", "psi_noise"))
        figure.add_scatter(
            x=noise,
            y=y,
            customdata=told,
            mode="markers",
            marker={"symbol": "line-ns", "size": 13, "line": {"width": 2, "color": colour}},
            name=f"{site}: by chance",
            legendgroup=site,
            hovertemplate=f"%{{customdata[0]}}: %{{customdata[2]:.4f}} by chance<extra>{site}</extra>",
        )
        figure.add_scatter(
            x=values,
            y=y,
            customdata=told,
            mode="markers",
            marker={"symbol": theme.MODEL_SYMBOLS[i % len(theme.MODEL_SYMBOLS)], "size": 9, "color": colour},
            name=site,
            legendgroup=site,
            hovertemplate=f"<b>%{{customdata[0]}}</b>: %{{customdata[1]:.4f}}<extra>{site}</extra>",
        )
    figure.add_vline(x=DRIFTED, line={"color": theme.RULE, "dash": "dash", "width": 1.5})
    theme.style(figure, height=max(240, 110 + 22 * len(codes)), hovermode="closest")
    held = [DRIFTED, *rows["psi"], *rows["psi_noise"]]
    figure.update_xaxes(
        title="Population stability index (logarithmic)",
        type="log",
        range=[np.log10(max(min(held), LEAST) / 1.4), np.log10(1.4 * max(held))],
        tickvals=[0.001, 0.01, 0.1, 1, 10],
        ticktext=["0.001", "0.01", "0.1", "1", "10"],
    )
    figure.update_yaxes(tickvals=list(place.values()), ticktext=[_name(code) for code in codes])
    figure.update_yaxes(range=[0.6 - len(codes), 0.6])
    return figure


def _name(code: str) -> str:
    return code.partition("/")[2].replace("_", " ") or code
