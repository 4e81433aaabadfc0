"""What a predicted probability is worth: calibration, net benefit, and how both change with local data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
import polars as pl

from dashboard import theme

METHODS = {
    "finetune": ("Fine-tuned further, or left", "#CC79A7", "circle"),  # no colour of a hospital
    "refit": ("Probe re-fitted, or left", theme.ACCENT, "diamond"),
    "pretrain": ("Pretrained further, or left", "#117733", "triangle-up"),
    "local": ("Probe of local stays alone", theme.NEUTRAL, "square"),
    "scratch": ("Model of local stays alone", "#882255", "x"),
}

Curve = tuple[str, str, str, pl.DataFrame]  # label, colour, dash and rows


def calibration(curves: Sequence[Curve]) -> go.Figure:
    """Smooth calibration curves with pointwise bands; rows as `calibration_curves.parquet`, one run each."""
    figure = go.Figure()
    most = 0.05
    for label, colour, dash, rows in curves:
        known = rows.drop_nulls("observed")
        _band(figure, known, "predicted", colour, label)
        figure.add_scatter(
            x=known["predicted"].to_list(),
            y=known["observed"].to_list(),
            mode="lines",
            line={"color": colour, "width": 2.2, "dash": dash},
            name=label,
            legendgroup=label,
            hovertemplate=f"<b>{label}</b><br>predicted %{{x:.1%}}, observed %{{y:.1%}}<extra></extra>",
        )
        most = max([most, *known["predicted"].tail(1).to_list(), *known["observed"].tail(1).to_list()])
    end = min(1.0, most * 1.05)
    _dotted(figure, [0, end], [0, end])
    theme.style(figure, height=430 + 24 * len(curves), hovermode="closest")
    _legend_below(figure)
    figure.update_xaxes(title="Predicted risk", tickformat=".0%", range=[0, end], nticks=6)
    figure.update_yaxes(title="Observed rate", tickformat=".0%", range=[0, end], nticks=6)
    return figure


def decision(curves: Sequence[Curve]) -> go.Figure:
    """Net benefit by threshold, beside acting on nobody (0) and on everybody; `decision_curves.parquet`."""
    figure = go.Figure()
    low, high = 0.0, 0.01
    for label, colour, dash, rows in curves:
        _band(figure, rows, "threshold", colour, label)
        figure.add_scatter(
            x=rows["threshold"].to_list(),
            y=rows["net_benefit"].to_list(),
            mode="lines",
            line={"color": colour, "width": 2.2, "dash": dash},
            name=label,
            legendgroup=label,
            hovertemplate=f"<b>{label}</b><br>threshold %{{x:.1%}}: net benefit %{{y:.4f}}<extra></extra>",
        )
        values = rows["net_benefit"].to_numpy()
        low, high = min(low, float(values.min())), max(high, float(values.max()))
    for site, (colour, part) in _everybody(curves).items():
        figure.add_scatter(
            x=part["threshold"].to_list(),
            y=part["everybody"].to_list(),
            mode="lines",
            line={"color": theme.alpha(colour, 0.7), "width": 1.2, "dash": "dashdot"},
            name=f"Act on everybody at {site}",
            hoverinfo="skip",
        )
    figure.add_hline(y=0, line={"color": theme.RULE, "dash": "dot", "width": 1.3})
    theme.style(figure, height=430 + 24 * len(curves), hovermode="closest")
    _legend_below(figure)
    figure.update_xaxes(title="Risk from which one would act", tickformat=".0%", range=[0, 0.5])
    figure.update_yaxes(title="Net benefit a stay", range=[max(low, -0.5 * high) - 0.1 * high, 1.15 * high])
    return figure


def local_data(rows: pl.DataFrame, references: Mapping[str, tuple[float, str]], colour: str) -> go.Figure:
    """AUC by share of the target's training split: the median of the draws, and every draw as a point.

    `rows` as `metrics.parquet`, the adapted runs of one target and outcome; `references` names horizontal
    lines with their height and dash. Shares stand on a logarithmic axis.
    """
    figure = go.Figure()
    for method, (label, ink, symbol) in METHODS.items():
        part = rows.filter(pl.col("adapt_method") == method).drop_nulls("estimate")
        if part.is_empty():
            continue
        middle = part.group_by("adapt_fraction").agg(pl.col("estimate").median()).sort("adapt_fraction")
        figure.add_scatter(
            x=part["adapt_fraction"].to_list(),
            y=part["estimate"].to_list(),
            error_y=theme.interval(part["estimate"], part["ci_low"], part["ci_high"], thickness=0.6)
            | {"color": theme.alpha(ink, 0.35)},
            mode="markers",
            marker={"size": 5, "color": theme.alpha(ink, 0.55), "symbol": symbol},
            customdata=np.column_stack([part[c].to_numpy() for c in ("repeat", "ci_low", "ci_high")]),
            hovertemplate=f"<b>{label}</b><br>%{{x:.1%}} of the training split, draw %{{customdata[0]}}<br>"
            "AUC %{y:.3f} [%{customdata[1]:.3f}–%{customdata[2]:.3f}]<extra></extra>",
            legendgroup=method,
            showlegend=False,
        )
        figure.add_scatter(
            x=middle["adapt_fraction"].to_list(),
            y=middle["estimate"].to_list(),
            mode="lines+markers",
            line={"color": ink, "width": 2},
            marker={"size": 9, "color": ink, "symbol": symbol},
            name=label,
            legendgroup=method,
            hoverinfo="skip",
        )
    theme.style(figure, height=460, hovermode="closest")
    for side, (name, (height, dash)) in enumerate(references.items()):  # left and right: they may coincide
        figure.add_hline(
            y=height,
            line={"color": colour, "dash": dash, "width": 1.5},
            annotation={
                "text": name,
                "font": {"size": 12},
                "xanchor": ("left", "right")[side % 2],
                "x": side % 2,
                "yanchor": ("bottom", "top")[side % 2],
            },
        )
    shares = sorted(set(rows["adapt_fraction"]))
    figure.update_xaxes(
        title="Share of the target's training split",
        type="log",
        tickvals=shares,
        ticktext=[f"{s:.1%}" for s in shares],
    )
    figure.update_yaxes(title="ROC-AUC on the target's test split")
    return figure


def _band(figure: go.Figure, rows: pl.DataFrame, x: str, colour: str, label: str) -> None:
    known = rows.drop_nulls(["ci_low", "ci_high"])
    at = known[x].to_list()
    figure.add_scatter(
        x=[*at, *at[::-1]],
        y=[*known["ci_high"].to_list(), *known["ci_low"].to_list()[::-1]],
        fill="toself",
        fillcolor=theme.alpha(colour, 0.12),
        line={"width": 0},
        hoverinfo="skip",
        legendgroup=label,
        showlegend=False,
    )


def _everybody(curves: Sequence[Curve]) -> dict[str, tuple[str, pl.DataFrame]]:
    """Colour and one table a test site: acting on everybody does not depend on the run."""
    found: dict[str, tuple[str, pl.DataFrame]] = {}
    for _, colour, _, rows in curves:
        if rows.height:
            found.setdefault(str(rows["test_site"][0]), (colour, rows))
    return found


def _dotted(figure: go.Figure, x: list[float], y: list[float]) -> None:
    line = {"color": theme.RULE, "dash": "dot", "width": 1.3}
    figure.add_scatter(x=x, y=y, mode="lines", line=line, hoverinfo="skip", showlegend=False)


def _legend_below(figure: go.Figure) -> None:
    figure.update_layout(legend={"orientation": "v", "x": 0, "y": -0.16, "yanchor": "top"}, margin={"t": 8})
