"""Two cohorts beside each other, as a figure."""

from __future__ import annotations

import plotly.graph_objects as go
import polars as pl

from dashboard import theme


def effects(table: pl.DataFrame, *, names: tuple[str, str]) -> go.Figure:
    """Standardised differences with 95 % intervals, one row each, the largest on top.

    `table` has label, effect, low, high, q_value, rate_a and rate_b; filled where q is below 0.05. Symbol and
    side say in which of the two it is more frequent, not only the colour.
    """
    figure = go.Figure()
    figure.add_vline(x=0, line={"color": theme.RULE, "width": 1})
    for side, name, symbol, rows in (
        ("a", names[0], "circle", table.filter(pl.col("effect") >= 0)),
        ("b", names[1], "diamond", table.filter(pl.col("effect") < 0)),
    ):
        if rows.is_empty():
            continue
        found = (rows["q_value"] < 0.05).fill_null(value=False).to_list()
        figure.add_scatter(
            x=rows["effect"],
            y=rows["label"],
            mode="markers",
            name=f"more often in {name}",
            marker={
                "color": theme.COHORT_COLOURS[side],
                "size": 10,
                "symbol": [symbol if yes else f"{symbol}-open" for yes in found],
                "line": {"width": 2, "color": theme.COHORT_COLOURS[side]},
            },
            error_x=theme.interval(rows["effect"], rows["low"], rows["high"]),
            customdata=rows.select("rate_a", "rate_b", "q_value").to_numpy(),
            hovertemplate=(
                f"%{{y}}: {names[0]} %{{customdata[0]:.1%}}, {names[1]} %{{customdata[1]:.1%}}<br>"
                "difference %{x:.2f} SD, q %{customdata[2]:.2g}<extra></extra>"
            ),
        )
    theme.style(figure, height=100 + 24 * max(4, len(table)))
    figure.update_xaxes(title="Standardised difference, A − B (SD)".replace("A − B", " − ".join(names)))
    figure.update_yaxes(
        categoryorder="array", categoryarray=table["label"].to_list()[::-1], showgrid=False, tickmode="linear"
    )
    return figure
