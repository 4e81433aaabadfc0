"""What the patients explain of a gap: four areas under the ROC curve on one axis."""

from __future__ import annotations

import plotly.graph_objects as go
import polars as pl

from dashboard import theme
from ehrfm_core import cell_words

BY = {"population": "population", "charting": "population and charting"}
HEAD = ["home", "home_reweighted", "zero_shot"]


def ladder(rows: pl.DataFrame, *, source: str, target: str, colours: tuple[str, str]) -> go.Figure:
    """Home, home weighted to look like the target in either way, and the target; a gap for what is null.

    `rows` as `reweighting.parquet`, of one site and outcome; `colours` of the source and the target.
    """
    home, away = colours
    lines = [(f"{source} → {source}", "home", "population", home, "circle")]
    lines += [
        (f"… weighted like {target} by<br>{label}", "home_reweighted", name, home, "diamond-open")
        for name, label in BY.items()
    ]
    lines += [(f"{source} → {target}, unchanged", "zero_shot", "population", away, "circle")]
    figure = go.Figure()
    lowest = 0.4
    for place, (label, quantity, name, colour, symbol) in enumerate(lines):
        known = rows.filter(quantity=quantity, characteristics=name).drop_nulls("estimate")
        if known.is_empty():
            note = {
                "text": "no figure",
                "x": 0.5,
                "y": -place,
                "xanchor": "left",
                "xshift": 6,
                "showarrow": False,
            }
            figure.add_annotation(note | {"font": {"size": 12, "color": theme.NEUTRAL}})
        figure.add_scatter(
            x=known["estimate"].to_list(),
            y=[-place] * known.height,
            error_x=theme.interval(known["estimate"], known["ci_low"], known["ci_high"])
            | {"color": theme.NEUTRAL},
            mode="markers",
            marker={"size": 11, "symbol": symbol, "color": colour, "line": {"width": 2, "color": colour}},
            name=label,
            customdata=known.select("ci_low", "ci_high", cell_words.sizes()).rows(),
            hovertemplate=f"<b>{label}</b><br>AUC %{{x:.3f}} [%{{customdata[0]:.3f}}–%{{customdata[1]:.3f}}]"
            "<br>%{customdata[2]}<extra></extra>",
        )
        lowest = min([lowest, *(low - 0.03 for low in known["ci_low"].drop_nulls())])
    theme.style(figure, height=250, hovermode="closest", legend=False)
    figure.add_vline(x=0.5, line={"color": theme.RULE, "dash": "dot", "width": 1.3})
    figure.update_xaxes(title="ROC-AUC of the probe (0.5 is chance)", range=[max(0.0, lowest), 1.005])
    ticks = [-place for place in range(len(lines))]
    figure.update_yaxes(
        tickvals=ticks, ticktext=[line[0] for line in lines], range=[0.6 - len(lines), 0.6], showgrid=True
    )
    return figure
