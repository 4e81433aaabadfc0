"""One figure of the story: a row an outcome, a symbol a way of predicting it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
import polars as pl

from dashboard import theme
from ehrfm_core import cell_words

Series = tuple[str, str, str, pl.DataFrame]  # label, colour, symbol and rows


def dots(series: Sequence[Series], labels: Mapping[str, str]) -> go.Figure:
    """ROC-AUC with its interval, an outcome a row, a line from the first series to the last.

    Rows have outcome, estimate, ci_low, ci_high, n and n_events. `labels` names and orders the outcomes.
    """
    found = [o for o in labels if any(o in set(rows["outcome"]) for *_, rows in series)]
    at = {outcome: -i for i, outcome in enumerate(found)}
    figure = go.Figure()
    for outcome in found:
        ends = [
            (value, at[outcome] - 0.14 * (k - (len(series) - 1) / 2))
            for k, (*_, rows) in enumerate(series)
            for value in rows.filter(pl.col("outcome") == outcome)["estimate"].head(1)
        ]
        if len(ends) > 1:
            figure.add_scatter(
                x=[x for x, _ in ends],
                y=[y for _, y in ends],
                mode="lines",
                line={"color": theme.RULE, "width": 1.5, "dash": "dot"},
                hoverinfo="skip",
                showlegend=False,
                name="from first to last",
            )
    for k, (label, colour, symbol, rows) in enumerate(series):
        estimate = rows["estimate"].to_numpy()
        figure.add_scatter(
            x=estimate,
            y=[at[outcome] - 0.14 * (k - (len(series) - 1) / 2) for outcome in rows["outcome"]],
            error_x=theme.interval(estimate, rows["ci_low"], rows["ci_high"], thickness=1.8),
            mode="markers",
            marker={"size": 12, "color": colour, "symbol": symbol},
            name=label,
            customdata=rows.select("ci_low", "ci_high", cell_words.sizes()).rows(),
            hovertemplate=f"<b>{label}</b><br>AUC %{{x:.3f}} [%{{customdata[0]:.3f}}–%{{customdata[1]:.3f}}]"
            "<br>%{customdata[2]}<extra></extra>",
        )
    theme.style(figure, height=110 + 78 * max(2, len(found)), hovermode="closest")
    figure.add_vline(x=0.5, line={"color": theme.RULE, "dash": "dot", "width": 1.3})
    lows = [low for *_, rows in series for low in rows["ci_low"].drop_nulls()]
    figure.update_xaxes(title="ROC-AUC (0.5 is chance)", range=[max(0.0, min([0.45, *lows]) - 0.02), 1.01])
    figure.update_yaxes(
        tickvals=list(at.values()),
        ticktext=[labels[outcome] for outcome in found],
        range=[-len(found) + 0.45, 0.5],
        showgrid=False,
    )
    return figure
