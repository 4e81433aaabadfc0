"""Movement in the model's space against the outcome, and against how much is charted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
import polars as pl

from dashboard import theme

ADJUSTMENTS = {
    "unadjusted": ("Alone", "circle-open"),
    "joint": ("With the other two", "diamond"),
    "joint_tokens_age_sex": ("… and tokens, age, sex", "square"),
}


def dose_response(tables: Mapping[str, pl.DataFrame], title: str) -> go.Figure:
    """Outcome rate by quantile of a feature, one line a site; `tables` from `measures.rate_by_quantile`."""
    colours = theme.site_colours(list(tables))
    figure = go.Figure()
    for site, table in tables.items():
        if table.is_empty():
            continue
        rate = table["rate"].to_numpy()
        figure.add_scatter(
            x=table["middle"].to_numpy(),
            y=rate,
            error_y=theme.interval(rate, table["ci_low"], table["ci_high"], thickness=1.3),
            mode="lines+markers",
            line={"color": colours[site], "width": 1.5},
            marker={"size": 8},
            cliponaxis=False,
            name=site,
            customdata=table.select("bin", "low", "high", "n", "events", "ci_low", "ci_high").to_numpy(),
            hovertemplate="<b>bin %{customdata[0]:.0f}</b>: %{customdata[1]:,.4~g} to "
            "%{customdata[2]:,.4~g}<br>%{customdata[4]:.0f} of %{customdata[3]:.0f} stays: "
            "%{y:.1%} "
            "[%{customdata[5]:.1%}–%{customdata[6]:.1%}]<extra>" + site + "</extra>",
        )
    theme.style(figure, height=300, legend=len(tables) > 1)
    known = [table["middle"].to_numpy() for table in tables.values() if len(table)]
    middles = np.concatenate(known) if known else np.ones(1)
    if middles.min() > 0 and middles.max() / middles.min() > 8:
        ticks = theme.log_ticks(middles.min() / 1.5, middles.max() * 1.5)
        figure.update_xaxes(type="log", tickvals=ticks, ticktext=[f"{tick:,g}" for tick in ticks])
        title += " (log scale)"
    figure.update_xaxes(title=title, nticks=6)
    figure.update_yaxes(title="Outcome rate", rangemode="tozero", tickformat=".0%", nticks=6)
    return figure


def forest(rows: pl.DataFrame, features: Mapping[str, str], colours: Mapping[str, str]) -> go.Figure:
    """Odds ratios per 1 SD on a log axis; a row a feature and site, a symbol an adjustment.

    `rows` as `associations.parquet`, for one outcome; rows without a coefficient are left out.
    """
    sites = [site for site in colours if site in rows["site"].unique().to_list()]
    known = rows.drop_nulls(["coefficient", "ci_low", "ci_high"])
    estimated = set(known.select("feature", "site").iter_rows())
    labels = {
        (f, s): (features[f] if len(sites) == 1 else f"{features[f]} · {s}")
        + ("" if (f, s) in estimated else "<br>(not estimated)")
        for f in features
        for s in sites
    }
    positions = {pair: -i for i, pair in enumerate(labels)}
    figure = go.Figure()
    for k, (adjustment, (label, symbol)) in enumerate(ADJUSTMENTS.items()):
        in_legend = False
        for site in sites:
            part = known.filter(
                (pl.col("adjustment") == adjustment)
                & (pl.col("site") == site)
                & pl.col("feature").is_in(list(features))
            )
            if part.is_empty():
                continue
            ratio, low, high = (
                np.exp(np.clip(part[c].to_numpy(), -20, 20)) for c in ("coefficient", "ci_low", "ci_high")
            )
            figure.add_scatter(
                x=ratio,
                y=[positions[feature, site] + 0.24 * (1 - k) for feature in part["feature"]],
                error_x=theme.interval(ratio, low, high),
                mode="markers",
                marker={
                    "symbol": symbol,
                    "size": 9,
                    "color": colours[site],
                    "line": {"width": 1.5, "color": colours[site]},
                },
                name=label,
                legendgroup=adjustment,
                showlegend=not in_legend,
                customdata=np.column_stack([low, high, part["n"].to_numpy()]),
                hovertemplate=f"<b>{label}</b>, {site}<br>OR %{{x:.2f}} "
                "[%{customdata[0]:.2f}–%{customdata[1]:.2f}], n %{customdata[2]:,.0f}<extra></extra>",
            )
            in_legend = True
    theme.style(figure, height=150 + 62 * len(positions), hovermode="closest")
    figure.add_vline(x=1, line={"color": theme.RULE, "dash": "dash", "width": 1.5})
    low, high = _log_range(rows)
    ticks = theme.log_ticks(10**low, 10**high)
    figure.update_xaxes(type="log", title="Odds ratio per 1 SD (log scale)", range=[low, high])
    figure.update_xaxes(tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks])
    figure.update_yaxes(tickvals=list(positions.values()), ticktext=list(labels.values()), showgrid=False)
    figure.update_yaxes(range=[-len(positions) + 0.4, 0.6])
    return figure


def _log_range(rows: pl.DataFrame) -> tuple[float, float]:
    """An axis wide enough for every interval, but never beyond 1/100 … 100, and always around 1."""
    ends = rows.select(pl.col("ci_low").min(), pl.col("ci_high").max()).row(0)
    low, high = ((0.0 if value is None else value / np.log(10)) for value in ends)
    return max(-2.0, min(-0.35, low - 0.05)), min(2.0, max(0.35, high + 0.05))


def correlation(matrix: np.ndarray, labels: Sequence[str]) -> go.Figure:
    """Spearman correlations, signed: a diverging scale, the numbers written in."""
    figure = go.Figure(
        go.Heatmap(
            z=matrix,
            x=list(labels),
            y=list(labels),
            zmin=-1,
            zmax=1,
            colorscale=[
                [0, theme.alpha(theme.SITE_COLOURS[1], 0.4)],
                [0.5, theme.alpha(theme.NEUTRAL, 0.06)],
                [1, theme.alpha(theme.SITE_COLOURS[0], 0.4)],
            ],
            hovertemplate="%{y} and %{x}: ρ = %{z:.2f}<extra></extra>",
            showscale=False,
            xgap=2,
            ygap=2,
        )
    )
    # as text of its own the numbers take the page's colour; a heat map would guess one, wrongly in the dark
    figure.add_scatter(
        x=[column for _ in labels for column in labels],
        y=[row for row in labels for _ in labels],
        text=["" if np.isnan(value) else f"{value:.2f}" for value in matrix.ravel()],
        mode="text",
        hoverinfo="skip",
    )
    theme.style(figure, height=110 + 42 * len(labels), legend=False)
    figure.update_xaxes(showgrid=False, tickangle=-45)
    figure.update_yaxes(showgrid=False, autorange="reversed")
    return figure
