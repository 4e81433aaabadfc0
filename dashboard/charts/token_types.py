"""What each family of tokens adds: how far the state jumps, and how much the model is surprised."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go
import polars as pl
from plotly.subplots import make_subplots

from dashboard import theme
from dashboard.each_row import each_row
from ehrfm_core import cell_words, small_cells

MEASURES = {"jump": "Jump", "information": "Information (nats)"}


def families(rows: pl.DataFrame, labels: Mapping[str, str], colour: str) -> go.Figure:
    """Mean jump and mean information by family; a bar runs from the median to the 90th percentile.

    `rows` as `token_types.parquet`, for one site, families only, in the order to be drawn from the top.
    """
    figure = make_subplots(
        rows=1, cols=2, shared_yaxes=True, column_titles=list(MEASURES.values()), horizontal_spacing=0.04
    )
    names = [labels.get(family, family) for family in rows["family"]]
    stays = each_row(rows, cell_words.number, "n_stays").alias("n_stays")
    tokens = pl.when(pl.col("n_tokens") >= small_cells.MIN_CELL).then(pl.col("n_tokens"))
    extra = rows.select(tokens, stays, "path_share", "information_share").rows()
    for column, measure in enumerate(MEASURES, start=1):
        median, high = rows[f"median_{measure}"], rows[f"p90_{measure}"]
        share = (
            "%{customdata[2]:.1%} of all path"
            if measure == "jump"
            else "%{customdata[3]:.1%} of all information"
        )
        figure.add_bar(
            x=(high - median).to_numpy(),
            base=median.to_numpy(),
            y=names,
            orientation="h",
            marker={"color": theme.alpha(colour, 0.25)},
            hoverinfo="skip",
            name="Median to 90th percentile",
            showlegend=column == 1,
            width=0.5,
            row=1,
            col=column,
        )
        figure.add_scatter(
            x=rows[f"mean_{measure}"].to_numpy(),
            y=names,
            mode="markers",
            marker={"color": colour, "size": 9, "symbol": "diamond"},
            name="Mean",
            showlegend=column == 1,
            customdata=extra,
            hovertemplate="<b>%{y}</b>: mean %{x:.3g}<br>%{customdata[0]:,.0f} tokens of "
            f"%{{customdata[1]}} stays<br>{share}<extra></extra>",
            row=1,
            col=column,
        )
    theme.style(figure, height=170 + 34 * len(names))
    figure.update_layout(margin_t=76, legend_y=1.14)  # above the titles of the columns
    figure.update_xaxes(rangemode="tozero", nticks=5)
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure
