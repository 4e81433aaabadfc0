"""A whole stay, hour by hour: how far the state moved, and the risk."""

from __future__ import annotations

import plotly.graph_objects as go
import polars as pl
from plotly.subplots import make_subplots

from dashboard import theme
from ehrfm_core.outcomes import Outcome

_DAY = 24


def whole_stay(hours: pl.DataFrame, outcome: Outcome, *, window: int) -> go.Figure:
    """Two lanes over all hours (hour, step, risk); the window is shaded. Missing values leave gaps."""
    figure = make_subplots(
        rows=2,
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.16,
        subplot_titles=("Step of each hour, in the full space", f"Risk: {outcome.label}"),
    )
    hour = hours["hour"].to_numpy()
    figure.add_scatter(
        x=hour,
        y=hours["step"].to_numpy(),
        mode="lines",
        line={"color": theme.NEUTRAL, "width": 1.4, "shape": "vh"},
        hovertemplate="hour %{x}: step %{y:.1f}<extra></extra>",
        row=1,
        col=1,
    )
    colour, dash = theme.outcome_lines([outcome.name])[outcome.name]
    figure.add_scatter(
        x=hour,
        y=hours["risk"].to_numpy(),
        mode="lines",
        line={"color": colour, "dash": dash, "width": 2.2},
        hovertemplate="hour %{x}: %{y:.1%}<extra></extra>",
        row=2,
        col=1,
    )
    figure.add_vrect(x0=0, x1=window, fillcolor=theme.NEUTRAL, opacity=0.12, line_width=0, layer="below")
    theme.style(figure, height=320, legend=False, margin={"l": 8, "r": 22, "t": 28, "b": 8})
    last = int(hour[-1]) if len(hour) else window
    every = _DAY * max(1, round(last / _DAY / 10))
    figure.update_xaxes(range=[0, last], tickvals=list(range(0, last + 1, every)))
    figure.update_xaxes(title="Hours since the start of the stay", row=2, col=1)
    figure.update_yaxes(rangemode="tozero", nticks=4)
    figure.update_yaxes(tickformat=".0%", row=2, col=1)
    figure.update_annotations(x=0, xanchor="left", font={"size": 14})
    return theme.of_single_stays(figure)
