"""How well predictions rank patients, at home and elsewhere: ROC curves and a ladder of their areas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
import polars as pl

from dashboard import theme
from dashboard.roc import GRID, Roc
from ehrfm_core import cell_words

_SQUARE_PX, _AXIS_PX, _ENTRY_PX = (
    372,
    60,
    43,
)  # of the ROC figure: the square, what is below it, a curve's name
_LINE_PX = 15  # a dot's share of the height
DASHES = {"in_distribution": "solid", "zero_shot": "dash", "adapted": "solid"}


def roc_figure(curves: Sequence[tuple[str, str, str, Roc]]) -> go.Figure:
    """ROC curves with their bands, square, with the line of chance.

    Each entry is label, colour, dash and curve.
    """
    figure = go.Figure()
    for label, colour, dash, curve in curves:
        figure.add_scatter(
            x=[*GRID, *GRID[::-1]],
            y=[*curve.high, *curve.low[::-1]],
            fill="toself",
            fillcolor=theme.alpha(colour, 0.14),
            line={"width": 0},
            hoverinfo="skip",
            legendgroup=label,
            showlegend=False,
        )
        figure.add_scatter(
            x=curve.fpr,
            y=curve.tpr,
            mode="lines",
            line={"color": colour, "width": 2.2, "dash": dash},
            name=label,
            legendgroup=label,
            hovertemplate="false positives %{x:.0%}, true positives %{y:.0%}<extra></extra>",
        )
    figure.add_scatter(
        x=[0, 1],
        y=[0, 1],
        mode="lines",
        line={"color": theme.RULE, "dash": "dot", "width": 1.3},
        hoverinfo="skip",
        showlegend=False,
    )
    below = _AXIS_PX + _ENTRY_PX * len(curves)
    theme.style(figure, height=_SQUARE_PX + below, hovermode="closest")
    figure.update_layout(
        legend={"orientation": "v", "x": 0, "y": 0, "yref": "container", "yanchor": "bottom"},
        margin={"t": 8, "b": below},
    )
    figure.update_xaxes(
        title="False positive rate",
        range=[-0.01, 1.01],
        tickformat=".0%",
        constrain="domain",
        constraintoward="left",
    )
    figure.update_yaxes(
        title="True positive rate",
        range=[-0.01, 1.01],
        tickformat=".0%",
        scaleanchor="x",
        scaleratio=1,
        constrain="domain",
        constraintoward="bottom",  # in a narrow column the space is left above, not before the legend
    )
    return figure


def baselines(rows: pl.DataFrame, colours: Mapping[str, str]) -> go.Figure:
    """ROC-AUC with its interval, a group an arm, a symbol a model; `rows` from `arms.auc_rows`.

    A group is as high as the models it has.
    """
    known = rows.drop_nulls("estimate")
    models = known["model_label"].unique(maintain_order=True).to_list()
    heights, middles = _places(known, models)
    figure = go.Figure()
    for k, model in enumerate(models):
        part = known.filter(pl.col("model_label") == model)
        estimate = part["estimate"].to_numpy()
        simple = part["model"].str.starts_with("baseline_").all()
        ink = theme.NEUTRAL if simple else [colours.get(site, theme.NEUTRAL) for site in part["test_site"]]
        figure.add_scatter(
            x=estimate,
            y=[heights[label, model] for label in part["label"]],
            error_x=theme.interval(
                estimate, part["ci_low"], part["ci_high"], thickness=1.1 if simple else 1.6
            )
            | {"color": theme.NEUTRAL},
            mode="markers",
            marker={
                "size": 8 if simple else 10,
                "symbol": theme.MODEL_SYMBOLS[k % len(theme.MODEL_SYMBOLS)],
                "color": ink,
            },
            name=model,
            customdata=part.select("label", "ci_low", "ci_high", cell_words.sizes()).rows(),
            hovertemplate=f"<b>{model}</b><br>%{{customdata[0]}}<br>AUC %{{x:.3f}} "
            "[%{customdata[1]:.3f}–%{customdata[2]:.3f}]<br>%{customdata[3]}<extra></extra>",
        )
    last = min(heights.values())
    theme.style(figure, height=round(70 + 24 * len(models) + _LINE_PX * (1 - last)), hovermode="closest")
    figure.update_layout(legend={"orientation": "v", "y": 1.0, "yref": "container", "yanchor": "top"})
    figure.update_layout(margin={"t": 14 + 21 * len(models)})
    figure.add_vline(x=0.5, line={"color": theme.RULE, "dash": "dot", "width": 1.3})
    figure.update_xaxes(title="ROC-AUC (0.5 is chance)", range=[min(0.4, _lowest(known)), 1.005])
    figure.update_yaxes(
        tickvals=list(middles.values()), ticktext=list(middles), range=[last - 0.8, 0.8], showgrid=False
    )
    for top in [height for height in _tops(heights) if height < 0]:  # between the groups
        figure.add_hline(y=top + 0.95, line={"color": theme.GRID, "width": 1})
    return figure


def _places(
    rows: pl.DataFrame, models: Sequence[str]
) -> tuple[dict[tuple[str, str], float], dict[str, float]]:
    """Heights of the dots, by label and model, and of the labels; groups stand as high as they need."""
    heights: dict[tuple[str, str], float] = {}
    middles: dict[str, float] = {}
    at = 0.0
    for label, part in rows.group_by("label", maintain_order=True):
        here = set(part["model_label"])
        own = [model for model in models if model in here]
        heights |= {(str(label[0]), model): at - i for i, model in enumerate(own)}
        middles[str(label[0])] = at - (len(own) - 1) / 2
        at -= len(own) + 0.9
    return heights, middles


def _tops(heights: Mapping[tuple[str, str], float]) -> list[float]:
    """Height of the first dot of each group."""
    tops: dict[str, float] = {}
    for (label, _), height in heights.items():
        tops[label] = max(height, tops.get(label, height))
    return list(tops.values())


def _lowest(rows: pl.DataFrame) -> float:
    value = rows["ci_low"].min()
    return max(0.0, float(value) - 0.03) if value is not None else 0.4  # type: ignore[arg-type]
