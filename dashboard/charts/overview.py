"""Figures of the overview and of the methods page."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go

from dashboard import theme
from ehrfm_core.tokens.vocabulary import FAMILY_LABELS


def token_composition(families: Mapping[str, Mapping[str, float]]) -> go.Figure:
    """Mean tokens a stay in the window, by family, one bar a site; `families` maps site to family to mean."""
    colours = theme.site_colours(list(families))
    order = sorted({f for means in families.values() for f in means}, key=lambda f: -_largest(families, f))
    figure = go.Figure()
    for site, means in families.items():
        figure.add_bar(
            x=[means.get(family, 0.0) for family in order],
            y=[FAMILY_LABELS.get(family, family.capitalize()) for family in order],
            orientation="h",
            name=site,
            marker={"color": colours[site]},
            text=[f"{means.get(family, 0.0):.1f}" for family in order],
            textposition="outside",
            cliponaxis=False,
            hovertemplate="%{y}: %{x:.1f} tokens a stay<extra>" + site + "</extra>",
        )
    theme.style(
        figure, height=90 + (14 + 18 * len(families)) * len(order), legend=len(families) > 1, bargap=0.3
    )
    figure.update_layout(margin_r=44, barmode="group", legend_traceorder="normal")
    figure.update_xaxes(title="Mean tokens a stay in the first 24 h", rangemode="tozero")
    figure.update_yaxes(autorange="reversed", showgrid=False)  # the sites of a group in the legend's order
    return figure


def _largest(families: Mapping[str, Mapping[str, float]], family: str) -> float:
    return max(means.get(family, 0.0) for means in families.values())


def loss_ladder(nats: Mapping[str, float]) -> go.Figure:
    """Nats per token of the model against simpler guesses; `nats` maps a label to a value, worst first."""
    figure = go.Figure(
        go.Bar(
            x=list(nats.values()),
            y=list(nats),
            orientation="h",
            marker={"color": [theme.NEUTRAL] * (len(nats) - 1) + [theme.SITE_COLOURS[0]]},
            text=[f"{value:.2f}" for value in nats.values()],
            textposition="outside",
            cliponaxis=False,
            hovertemplate="%{y}: %{x:.3f} nats a token<extra></extra>",
        )
    )
    theme.style(figure, height=70 + 42 * len(nats), legend=False, bargap=0.35)
    figure.update_xaxes(title="Nats per token (lower is better)", rangemode="tozero")
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure
