"""What one threshold does at home and elsewhere: four shares, each with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
import polars as pl
from plotly.subplots import make_subplots

from dashboard import theme
from ehrfm_core import cell_words

MEASURES = {
    "carried_sensitivity": "Sensitivity",
    "carried_specificity": "Specificity",
    "carried_ppv": "PPV",
    "carried_alerts_per_100": "Alerts per 100 stays",
}


def carried(
    rows: pl.DataFrame, sites: Sequence[str], colours: Mapping[str, str], *, aim: float | None
) -> go.Figure:
    """Four panels, a row a hospital, home first; `rows` as `metrics.parquet`, unchanged runs of one model.

    `aim` is the specificity that the threshold had where it was set.
    """
    figure = make_subplots(
        rows=2,
        cols=2,
        shared_yaxes=True,
        subplot_titles=list(MEASURES.values()),
        horizontal_spacing=0.06,
        vertical_spacing=0.3,
    )
    for place, (metric, name) in enumerate(MEASURES.items()):
        row, column = place // 2 + 1, place % 2 + 1
        own = {r["test_site"]: r for r in rows.filter(metric=metric).drop_nulls("estimate").to_dicts()}
        here = [site for site in sites if site in own]
        scale = 1 if metric == "carried_alerts_per_100" else 100
        values = [scale * own[site]["estimate"] for site in here]
        bounds = [
            [None if own[site][side] is None else scale * own[site][side] for site in here]
            for side in ("ci_low", "ci_high")
        ]
        figure.add_scatter(
            x=values,
            y=[-sites.index(site) for site in here],
            error_x=theme.interval(values, *bounds) | {"color": theme.NEUTRAL},
            mode="lines+markers" if len(sites) == 2 else "markers",  # several have no order
            line={"color": theme.alpha(theme.NEUTRAL, 0.7), "width": 1.4},
            marker={"size": 10, "color": [colours[site] for site in here]},
            name=name,
            customdata=[
                [site, _span(own[site], scale), cell_words.sized(own[site]["n"], own[site]["n_events"])]
                for site in here
            ],
            hovertemplate=f"<b>%{{customdata[0]}}</b><br>{name} %{{x:.1f}} %{{customdata[1]}}<br>"
            "%{customdata[2]}<extra></extra>",
            row=row,
            col=column,
        )
        if metric == "carried_specificity" and aim is not None:
            line = {"color": theme.RULE, "dash": "dot", "width": 1.3}
            figure.add_vline(x=100 * aim, line=line, row=row, col=column)
    theme.style(figure, height=190 + 56 * len(sites), legend=False, hovermode="closest")
    figure.update_layout(margin={"t": 30})
    figure.update_annotations(font={"size": 13})
    ticks = [0, 50, 100]
    figure.update_xaxes(range=[-3, 103], tickvals=ticks, ticktext=[f"{tick} %" for tick in ticks])
    figure.update_xaxes(ticktext=[str(tick) for tick in ticks], row=2, col=2)  # a number, no share
    figure.update_yaxes(
        tickvals=[-i for i in range(len(sites))], ticktext=list(sites), range=[0.5 - len(sites), 0.5]
    )
    return figure


def _span(row: Mapping[str, float | None], scale: float) -> str:
    low, high = row["ci_low"], row["ci_high"]
    return "(no interval)" if low is None or high is None else f"[{scale * low:.1f}–{scale * high:.1f}]"
