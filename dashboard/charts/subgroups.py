"""A forest of areas under the ROC curve, a row a subgroup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from dashboard import theme
from ehrfm_core import cell_words

ROW_PX = 22


def forest(rows: Sequence[Mapping[str, Any]], colour: str) -> go.Figure:
    """`rows` from the top down: label, heading (bool), and estimate, ci_low, ci_high, n, n_events.

    A row without an estimate that is no heading says that it is suppressed.
    """
    figure = go.Figure()
    known = [(i, row) for i, row in enumerate(rows) if row.get("estimate") is not None]
    values = [row["estimate"] for _, row in known]
    figure.add_scatter(
        x=values,
        y=[-i for i, _ in known],
        error_x=theme.interval(values, [r["ci_low"] for _, r in known], [r["ci_high"] for _, r in known])
        | {"color": theme.NEUTRAL},
        mode="markers",
        marker={
            "size": [11 if row["label"] == "All" else 9 for _, row in known],
            "symbol": ["diamond" if row["label"] == "All" else "circle" for _, row in known],
            "color": colour,
        },
        customdata=[
            [row["label"], _span(row), cell_words.sized(row["n"], row["n_events"])] for _, row in known
        ],
        hovertemplate="<b>%{customdata[0]}</b><br>AUC %{x:.3f} %{customdata[1]}<br>"
        "%{customdata[2]}<extra></extra>",
    )
    low = min([0.4, *(row["ci_low"] - 0.03 for _, row in known if row["ci_low"] is not None)])
    aside = {"xref": "paper", "x": 1.02, "xanchor": "left", "showarrow": False, "font": {"size": 12}}
    for i, row in enumerate(rows):
        if row.get("estimate") is not None:
            figure.add_annotation(aside | {"text": cell_words.short(row["n"], row["n_events"]), "y": -i})
        elif not row.get("heading"):
            grey = {"size": 12, "color": theme.NEUTRAL}
            figure.add_annotation(aside | {"text": "suppressed", "y": -i, "font": grey})
    figure.add_annotation(aside | {"text": "<b>n (events)</b>", "yref": "paper", "y": 1, "yanchor": "bottom"})
    whole = [row["estimate"] for _, row in known if row["label"] == "All"]
    theme.style(figure, height=70 + ROW_PX * len(rows), legend=False, hovermode="closest")
    figure.update_layout(margin={"r": 92, "t": 24})
    figure.add_vline(x=0.5, line={"color": theme.RULE, "dash": "dot", "width": 1.3})
    for value in whole:
        figure.add_vline(x=value, line={"color": theme.alpha(colour, 0.5), "width": 1.2})
    figure.update_xaxes(title="ROC-AUC (0.5 is chance)", range=[max(0.0, low), 1.02])
    figure.update_yaxes(
        tickvals=[-i for i in range(len(rows))],
        ticktext=[f"<b>{row['label']}</b>" if row.get("heading") else _short(row["label"]) for row in rows],
        range=[0.4 - len(rows), 0.6],
        showgrid=False,
    )
    return figure


def _short(label: str) -> str:
    """A label that leaves the figure its room; the whole one is told on a point.

    >>> _short("Female"), _short("Native Hawaiian or Other Pacific Islander")
    ('Female', 'Native Hawaiian or Other…')
    """
    return label if len(label) <= 28 else f"{label[:25].rsplit(' ', 1)[0]}…"


def _span(row: Mapping[str, Any]) -> str:
    return "(no interval)" if row["ci_low"] is None else f"[{row['ci_low']:.3f}–{row['ci_high']:.3f}]"
