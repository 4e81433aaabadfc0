"""Measures of the path against an outcome: coefficients, and rates by decile above the tokens charted."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go
import polars as pl
from plotly.subplots import make_subplots

from dashboard import theme
from ehrfm_core import cell_words

ADJUSTMENTS = {
    "unadjusted": ("Alone", "circle-open"),
    "tokens_age_sex": ("With tokens, age and sex", "square"),
}
WIDEST = 4.6  # log-odds, about a hundredfold
HIGH_VIF = 10.0  # beyond it a measure is nearly a sum of the covariates (Marquardt 1970)


def coefficients(rows: pl.DataFrame, features: Mapping[str, str], colour: str) -> go.Figure:
    """Log-odds per 1 SD with 95 % intervals: a row a feature, alone and adjusted below each other.

    `rows` as `associations.parquet`, for one site and outcome; what could not be estimated is said at the
    feature's name, and so is a variance inflation above 10. The axis is made for the intervals of the others
    and ends at ±4.6: what is beyond runs off it.
    """
    known = rows.drop_nulls(["coefficient", "ci_low", "ci_high"])
    estimated = set(known["feature"])
    entangled = dict(known.filter(pl.col("vif") > HIGH_VIF).select("feature", "vif").iter_rows())
    at = {feature: -i for i, feature in enumerate(features)}
    figure = go.Figure()
    for k, (adjustment, (label, symbol)) in enumerate(ADJUSTMENTS.items()):
        part = known.filter(pl.col("adjustment") == adjustment, pl.col("feature").is_in(list(features)))
        if part.is_empty():
            continue
        value = part["coefficient"].to_numpy()
        figure.add_scatter(
            x=value,
            y=[at[feature] + 0.14 - 0.28 * k for feature in part["feature"]],
            error_x=theme.interval(value, part["ci_low"], part["ci_high"]),
            mode="markers",
            marker={"symbol": symbol, "size": 9, "color": colour, "line": {"width": 1.5, "color": colour}},
            name=label,
            customdata=part.select("ci_low", "ci_high", cell_words.sizes(), "vif").rows(),
            hovertemplate=f"<b>{label}</b><br>%{{x:+.2f}} per SD "
            "[%{customdata[0]:+.2f}, %{customdata[1]:+.2f}]<br>%{customdata[2]}, "
            "VIF %{customdata[3]:.1f}<extra></extra>",
        )
    theme.style(figure, height=110 + 38 * len(features), hovermode="closest")
    figure.add_vline(x=0, line={"color": theme.RULE, "dash": "dash", "width": 1.5})
    settled = known.filter(pl.col("vif") <= HIGH_VIF)
    ends = settled.select(pl.col("ci_low").min(), pl.col("ci_high").max()).row(0)
    low, high = (0.0 if end is None else float(end) for end in ends)
    figure.update_xaxes(
        title="Log-odds per 1 SD",
        range=[max(-WIDEST, min(-0.4, low - 0.1)), min(WIDEST, max(0.4, high + 0.1))],
    )
    figure.update_yaxes(
        tickvals=list(at.values()),
        ticktext=[
            name
            + ("" if f in estimated else " (not estimated)")
            + (f" (VIF {entangled[f]:,.0f})" if f in entangled else "")
            for f, name in features.items()
        ],
        range=[-len(features) + 0.4, 0.6],
        showgrid=False,
    )
    return figure


def by_decile(rows: pl.DataFrame, title: str, colour: str) -> go.Figure:
    """Outcome rate with Wilson intervals in each tenth of a measure, over the mean number of tokens.

    `rows` as `deciles.parquet`, for one site, outcome and feature.
    """
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.66, 0.34], vertical_spacing=0.06)
    decile, rate = rows["decile"].to_numpy(), rows["rate"].to_numpy()
    figure.add_scatter(
        x=decile,
        y=rate,
        error_y=theme.interval(rate, rows["ci_low"], rows["ci_high"], thickness=1.3),
        mode="lines+markers",
        line={"color": colour, "width": 1.5},
        marker={"size": 8},
        cliponaxis=False,
        customdata=rows.select("low", "high", "n", "n_events", "ci_low", "ci_high").to_numpy(),
        hovertemplate="<b>tenth %{x}</b>: %{customdata[0]:,.4~g} to %{customdata[1]:,.4~g}<br>"
        "%{customdata[3]:.0f} of %{customdata[2]:.0f} stays: %{y:.1%} "
        "[%{customdata[4]:.1%}–%{customdata[5]:.1%}]<extra></extra>",
        row=1,
        col=1,
    )
    figure.add_bar(
        x=decile,
        y=rows["mean_tokens"].to_numpy(),
        marker={"color": theme.alpha(theme.NEUTRAL, 0.55)},
        hovertemplate="tenth %{x}: %{y:,.0f} tokens on average<extra></extra>",
        row=2,
        col=1,
    )
    theme.style(figure, height=430, legend=False)
    figure.update_yaxes(title="Outcome rate", rangemode="tozero", tickformat=".0%", nticks=6, row=1, col=1)
    figure.update_yaxes(title="Mean tokens", rangemode="tozero", nticks=4, row=2, col=1)
    figure.update_xaxes(range=[0.4, 10.6], tickvals=list(range(1, 11)))
    figure.update_xaxes(title=f"Tenth of the stays by {title}", row=2, col=1)
    return figure
