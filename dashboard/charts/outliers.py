"""Who is unlike the source's patients: the anomaly score, its threshold, and what drives it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go
import polars as pl

from dashboard import theme
from ehrfm_core.cell_words import FEW
from ehrfm_core.small_cells import MIN_CELL, evened, small

_SCATTER_LIMIT = 2_000  # points of one site drawn as SVG; beyond it a density


def score_distribution(
    frames: Mapping[str, pl.DataFrame], threshold: float, *, default: float = 0.5
) -> go.Figure:
    """Share of stays by anomaly score, one outline a site, with the default and the chosen threshold."""
    colours = theme.site_colours(list(frames))
    scores = {site: frame["anomaly_score"].drop_nulls().to_numpy() for site, frame in frames.items()}
    every = np.concatenate([*scores.values(), [default]])
    edges = np.linspace(
        min(0.3, every.min()), max(0.7, every.max()), 1 + int(np.clip(2 * np.sqrt(len(every)), 12, 50))
    )
    middle = (edges[:-1] + edges[1:]) / 2
    figure = go.Figure()
    for site, values in scores.items():
        counts = np.histogram(values, edges)[0]
        share = evened(counts) / max(1, len(values))
        figure.add_scatter(
            x=middle,
            y=share,
            mode="lines",
            line={"shape": "hvh", "color": colours[site], "width": 1.8},
            fill="tozeroy",
            fillcolor=theme.alpha(colours[site], 0.18),
            name=site,
            hovertemplate="score %{x:.2f}: %{y:.1%} of stays<extra>" + site + "</extra>",
        )
    theme.style(figure, height=330)
    figure.add_vline(x=default, line={"color": theme.RULE, "dash": "dash", "width": 1.5})
    if abs(threshold - default) > 1e-9:
        figure.add_vline(x=threshold, line={"color": theme.ACCENT, "width": 2.5})
    figure.add_annotation(
        x=default,
        y=1,
        yref="paper",
        xanchor="left",
        yanchor="top",
        showarrow=False,
        text=f" {default:g}: paper's threshold",
    )
    figure.update_xaxes(title="Anomaly score (isolation forest fitted on the source)")
    highest = max((float(np.nanmax(trace.y, initial=0.0)) for trace in figure.data), default=0.0)
    top = 1.15 * highest or 1.0  # room for the threshold's words
    figure.update_yaxes(title="Share of stays", tickformat=".0%", range=[0, top])
    return figure


def rates(tables: Mapping[str, pl.DataFrame], colours: Mapping[str, str]) -> go.Figure:
    """Outcome rate above and below the threshold, a row a site and group.

    `tables` from `measures.inside_outside`.
    """
    figure = go.Figure()
    labels = []
    for site, table in tables.items():
        for row in table.iter_rows(named=True):
            label = f"{site} · {'flagged' if row['flagged'] else 'not flagged'}"
            labels.append(label)
            if row["rate"] is None:
                continue
            figure.add_scatter(
                x=[row["rate"]],
                y=[label],
                error_x=theme.interval([row["rate"]], [row["ci_low"]], [row["ci_high"]], thickness=1.6),
                mode="markers+text",
                marker={
                    "size": 11,
                    "color": colours[site],
                    "symbol": "circle" if row["flagged"] else "circle-open",
                },
                text=[f"{row['events']:,} of {row['n']:,}"],
                textposition="top right",
                cliponaxis=False,
                hovertemplate=f"{label}: %{{x:.1%}} "
                f"[{row['ci_low']:.1%}–{row['ci_high']:.1%}]<extra></extra>",
            )
    theme.style(figure, height=90 + 62 * max(2, len(labels)), legend=False, hovermode="closest")
    figure.update_xaxes(title="Outcome rate", tickformat=".0%", rangemode="tozero")
    figure.update_yaxes(
        categoryorder="array", categoryarray=labels[::-1], range=[-0.5, len(labels) - 0.3], showgrid=False
    )
    return figure


def score_tokens(frame: pl.DataFrame, site: str, colour: str, threshold: float) -> go.Figure:
    """Anomaly score against the number of tokens: points for a small site, a density for a large one."""
    known = frame.select("hospitalization_id", "n_tokens", "anomaly_score").drop_nulls()
    tokens, score = known["n_tokens"].to_numpy().astype(float), known["anomaly_score"].to_numpy()
    figure = go.Figure()
    if len(known) <= _SCATTER_LIMIT:
        figure.add_scatter(
            x=tokens,
            y=score,
            mode="markers",
            marker={"size": 7, "color": theme.alpha(colour, 0.55)},
            customdata=known["hospitalization_id"].to_list(),
            meta=theme.STAY,
            hovertemplate="stay %{customdata}<br>%{x:,} tokens, score %{y:.2f}<extra></extra>",
        )
    else:
        logs = np.log10(np.maximum(tokens, 1))
        counts, x_edges, y_edges = np.histogram2d(logs, score, bins=(50, 50))
        counts = counts.T.astype(np.int32)
        few = small(counts)
        shown = np.where(counts > 0, np.log10(1 + np.where(few, MIN_CELL - 1, counts)), np.nan)
        figure.add_heatmap(
            x=10 ** ((x_edges[:-1] + x_edges[1:]) / 2),
            y=(y_edges[:-1] + y_edges[1:]) / 2,
            z=shown.astype(np.float32),
            customdata=np.where(few, FEW, np.char.mod("%d", counts)),
            colorscale=theme.fade(colour),
            showscale=False,
            hovertemplate="about %{x:,.0f} tokens, score %{y:.2f}: %{customdata} stays<extra></extra>",
        )
    theme.style(figure, height=330, legend=False, hovermode="closest")
    figure.add_hline(y=threshold, line={"color": theme.ACCENT, "width": 2})
    ticks = theme.log_ticks(max(1.0, tokens.min(initial=1e4)), tokens.max(initial=10.0) * 1.05)
    figure.update_xaxes(type="log", title=f"Tokens in 24 h (log scale) · {site}", tickvals=ticks)
    figure.update_xaxes(ticktext=[f"{tick:,g}" for tick in ticks])
    figure.update_yaxes(title="Anomaly score")
    return figure
