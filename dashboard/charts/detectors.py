"""Outlier detectors side by side, and what sets one stay apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import polars as pl
from plotly.subplots import make_subplots

from dashboard import theme
from ehrfm_core import cell_words

# measures of outliers.parquet in each panel, with title and reference line
PANELS: tuple[tuple[str, tuple[str, ...], float | None], ...] = (
    ("Share flagged", ("share_flagged",), None),
    ("ρ with the number of tokens", ("spearman_n_tokens",), 0.0),
    ("AUC: open as it is, filled among like numbers of tokens", ("roc_auc", "roc_auc_adjusted"), 0.5),
)


def comparison(rows: pl.DataFrame, labels: Mapping[str, str], colours: Mapping[str, str]) -> go.Figure:
    """Three panels of estimates with intervals; a row a detector, a colour a site.

    `rows` as `outliers.parquet`, of one outcome or none; `labels` names the detectors, top to bottom.
    """
    figure = make_subplots(
        1,
        len(PANELS),
        shared_yaxes=True,
        column_widths=[1, 1, 1.6],
        horizontal_spacing=0.03,
        subplot_titles=[title for title, _, _ in PANELS],
    )
    place = {name: -i for i, name in enumerate(labels)}
    sites = [site for site in colours if site in rows["site"].unique().to_list()]
    for k, (_, measures, reference) in enumerate(PANELS, start=1):
        marks = [(site, measure) for site in sites for measure in measures]
        for i, (site, measure) in enumerate(marks):
            known = rows.filter(
                pl.col("site") == site, pl.col("measure") == measure, pl.col("detector").is_in(list(place))
            ).drop_nulls("estimate")
            shift = 0.6 * ((len(marks) - 1) / 2 - i) / max(2, len(marks))
            figure.add_scatter(
                x=known["estimate"].to_list(),
                y=[place[name] + shift for name in known["detector"]],
                error_x=theme.interval(known["estimate"], known["ci_low"], known["ci_high"]),
                mode="markers",
                marker={
                    "size": 9,
                    "color": colours[site],
                    "symbol": "circle-open" if measure == "roc_auc" else "circle",
                    "line": {"width": 1.5, "color": colours[site]},
                },
                name=site,
                legendgroup=site,
                showlegend=k == 1,
                text=[_hover(row, labels) for row in known.iter_rows(named=True)],
                hovertemplate="%{text}<extra></extra>",
                row=1,
                col=k,
            )
        if reference is not None:
            line = {"color": theme.RULE, "dash": "dash", "width": 1.5}
            figure.add_vline(x=reference, line=line, row=1, col=k)
    theme.style(figure, height=150 + 52 * len(place), hovermode="closest")
    figure.update_layout(margin_t=64, legend_y=1.1)
    figure.update_xaxes(tickformat=".0%", rangemode="tozero", row=1, col=1)
    figure.update_yaxes(tickvals=list(place.values()), ticktext=list(labels.values()), showgrid=False)
    figure.update_yaxes(range=[-len(place) + 0.4, 0.6])
    return figure


def _hover(row: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    span = "" if row["ci_low"] is None else f" [{row['ci_low']:.2f}–{row['ci_high']:.2f}]"
    size = f"n {cell_words.number(row['n'])}"
    if row["measure"] == "share_flagged":
        size += f", {cell_words.part(row['n_events'], row['n'])} flagged"
    elif row["n_events"] is not None:
        size = cell_words.sized(row["n"], row["n_events"])
    name = f"<b>{labels[str(row['detector'])]}</b>, {row['site']}"
    return f"{name}<br>{row['estimate']:.2f}{span}<br>{size}"


def against_inliers(
    labels: Sequence[str],
    value: Sequence[float],
    low: Sequence[float],
    middle: Sequence[float],
    high: Sequence[float],
    *,
    colour: str,
    title: str,
) -> go.Figure:
    """The stay's value on each row against the span and the middle of its matched inliers, top to bottom."""
    figure = go.Figure()
    rows = [-i for i in range(len(labels))]
    figure.add_scatter(
        x=[x for pair in zip(low, high, strict=True) for x in (*pair, None)],
        y=[y for row in rows for y in (row, row, None)],
        mode="lines",
        line={"color": theme.alpha(theme.NEUTRAL, 0.5), "width": 9},
        name="matched inliers, 5–95 %",
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=list(middle),
        y=rows,
        mode="markers",
        marker={"symbol": "line-ns-open", "size": 13, "color": theme.NEUTRAL, "line": {"width": 2}},
        name="their middle",
        hovertemplate="%{x:.1f}<extra>inliers</extra>",
    )
    figure.add_scatter(
        x=list(value),
        y=rows,
        mode="markers",
        marker={"size": 11, "color": colour},
        name="this stay",
        hovertemplate="%{x:.1f}<extra>this stay</extra>",
    )
    theme.style(figure, height=110 + 30 * max(2, len(labels)), hovermode="closest")
    figure.update_xaxes(title=title)
    figure.update_yaxes(tickvals=rows, ticktext=list(labels), showgrid=False)
    figure.update_yaxes(range=[-len(labels) + 0.4, 0.6])
    return theme.of_single_stays(figure)
