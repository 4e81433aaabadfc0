"""One stay on one clock: what was charted, where the model's state jumped, how the risks moved."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import polars as pl
from plotly.subplots import make_subplots

from dashboard import theme
from dashboard.timeline import LABELS, PREFIX_LABEL
from ehrfm_core.outcomes import OUTCOMES, Outcomes

HOURS = 24
HEIGHT, LANES_PX, LANE_PX = 720, 240, 24  # of the figure; of a lane of charts; of a family of events
_LANE_ORDER = [PREFIX_LABEL, *LABELS.values()]


def lanes(
    tokens: pl.DataFrame,
    largest: pl.DataFrame,
    path: pl.DataFrame,
    outcomes: Outcomes = OUTCOMES,
    *,
    hours: int = HOURS,
) -> go.Figure:
    """Three aligned lanes over 0 … `hours`.

    `tokens` and `largest` come from `timeline`, `path` from `population.path`. The static prefix stands at
    hour 0 in the first lane and is left out of the second, where it would dwarf every event.
    """
    events = max(LANES_PX, LANE_PX * tokens["label"].n_unique())
    figure = make_subplots(
        rows=3,
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.07 * HEIGHT / (HEIGHT + events - LANES_PX),
        row_heights=[events, 0.94 * LANES_PX, LANES_PX],
        subplot_titles=(
            "What was charted",
            "Jump at each token, ‖ΔR‖ in the full space",
            "Risk after each hour",
        ),
    )
    _events(figure, tokens, largest)
    _jumps(figure, tokens, largest)
    _risks(figure, path, outcomes, hours)
    theme.style(
        figure,
        height=HEIGHT + events - LANES_PX,
        legend=False,
        margin={"l": 8, "r": 160, "t": 28, "b": 8},
        hovermode="closest",
    )
    figure.update_xaxes(range=[-0.4, hours + 0.4], tickvals=list(range(0, hours + 1, 3)))
    figure.update_xaxes(title="Hours since the start of the stay", row=3, col=1)
    figure.update_annotations(
        x=0,
        xanchor="left",
        font={"size": 14},
        selector=lambda a: a.xref == "paper" or "domain" in str(a.xref),
    )
    return theme.of_single_stays(figure)


def _events(figure: go.Figure, tokens: pl.DataFrame, largest: pl.DataFrame) -> None:
    """One tick an event in the lane of its family; the events behind the largest jumps carry their number."""
    events = tokens.group_by("event", maintain_order=True).agg(
        pl.col("hour").first(),
        pl.col("label").first(),
        pl.col("text").last(),
        pl.col("jump").sum(),
    )
    present = set(events["label"].to_list())
    order = [label for label in _LANE_ORDER if label in present] + sorted(present - set(_LANE_ORDER))
    figure.add_scatter(
        x=events["hour"].to_numpy(),
        y=events["label"].to_list(),
        mode="markers",
        marker={"symbol": "line-ns-open", "size": 11, "color": theme.SITE_COLOURS[4], "line": {"width": 1.5}},
        customdata=np.column_stack(
            [events["text"].to_list(), events["jump"].fill_null(np.nan).round(1).to_list()]
        )
        if len(events)
        else None,
        hovertemplate="<b>%{customdata[0]}</b><br>%{y}, hour %{x:.1f}<br>jump "
        "%{customdata[1]}<extra></extra>",
        row=1,
        col=1,
    )
    _numbered(figure, largest, "label", row=1)
    figure.update_yaxes(
        categoryorder="array", categoryarray=order[::-1], dtick=1, showgrid=True, row=1, col=1
    )


def _jumps(figure: go.Figure, tokens: pl.DataFrame, largest: pl.DataFrame) -> None:
    """A stem a token: one trace with gaps, and an invisible one for the hover."""
    events = tokens.filter(~pl.col("prefix") & pl.col("jump").is_not_null())
    hour, jump = events["hour"].to_numpy(), events["jump"].to_numpy()
    gap = np.full(len(hour), np.nan)
    figure.add_scatter(
        x=np.column_stack([hour, hour, gap]).ravel(),
        y=np.column_stack([np.zeros(len(hour)), jump, gap]).ravel(),
        mode="lines",
        line={"color": theme.NEUTRAL, "width": 1.2 if len(hour) < 300 else 0.6},
        hoverinfo="skip",
        row=2,
        col=1,
    )
    figure.add_scatter(
        x=hour,
        y=jump,
        mode="markers",
        marker={"size": 4 if len(hour) < 300 else 2.5, "color": theme.NEUTRAL},
        customdata=np.column_stack(
            [events["text"].to_list(), events["information"].fill_null(np.nan).round(2).to_list()]
        )
        if len(events)
        else None,
        hovertemplate="<b>%{customdata[0]}</b><br>hour %{x:.1f}: jump %{y:.1f}<br>information "
        "%{customdata[1]} nats<extra></extra>",
        row=2,
        col=1,
    )
    _numbered(figure, largest, "jump", row=2)
    figure.update_yaxes(rangemode="tozero", nticks=5, row=2, col=1)


def _numbered(figure: go.Figure, largest: pl.DataFrame, y: str, *, row: int) -> None:
    """Mark the largest jumps with their numbers; those too close to tell apart share a mark."""
    lane = pl.col("label") if y == "label" else pl.lit("")
    marks = largest.group_by(
        lane.alias("lane"), about=(pl.col("hour") / 1.5).floor(), maintain_order=True
    ).agg(pl.col("hour").mean(), pl.col(y).first().alias("y"), pl.col("rank").cast(pl.String))
    for mark in marks.iter_rows(named=True):
        figure.add_annotation(
            x=mark["hour"],
            y=mark["y"],
            text=f"<b>{','.join(mark['rank'])}</b>",
            font={"color": "#1B2733", "size": 11},
            bgcolor=theme.ACCENT,
            borderpad=3,
            showarrow=False,
            yshift=0 if y == "label" else 10,
            row=row,
            col=1,
        )


def _risks(figure: go.Figure, path: pl.DataFrame, outcomes: Outcomes, hours: int) -> None:
    """A line an outcome the stay counts for, named at its end."""
    ends: dict[str, float] = {}
    colours = theme.outcome_lines(outcomes)
    for name, outcome in outcomes.items():
        known = path.select("hour", risk=pl.col(f"risk_{name}")).drop_nulls()
        if known.is_empty():
            continue
        ends[name] = float(known["risk"][-1])
        figure.add_scatter(
            x=known["hour"].to_numpy(),
            y=known["risk"].to_numpy(),
            mode="lines",
            line={"color": colours[name][0], "dash": colours[name][1], "width": 2.2},
            hovertemplate=f"{outcome.label}: %{{y:.1%}} at hour %{{x}}<extra></extra>",
            row=3,
            col=1,
        )
    top = max([0.1, *(float(path[f"risk_{name}"].max() or 0) for name in ends)]) * 1.08  # type: ignore[arg-type]
    for name, y in spread(ends, gap=0.13 * top, top=0.97 * top).items():
        figure.add_annotation(
            x=hours + 0.4,
            y=y,
            text=f"<b>{outcomes[name].label}</b> {100 * ends[name]:.0f} %",
            xref="x3",
            yref="y3",
            xanchor="left",
            showarrow=False,
            font={"color": colours[name][0], "size": 12},
        )
    figure.update_yaxes(range=[0, top], tickformat=".0%", nticks=5, row=3, col=1)


def spread(values: dict[str, float], *, gap: float, top: float) -> dict[str, float]:
    """Heights for labels at `values`: no two closer than `gap`, none above `top`, moved as little as needed.

    >>> spread({"a": 0.25, "b": 0.25, "c": 0.75}, gap=0.25, top=1)
    {'a': 0.25, 'b': 0.5, 'c': 0.75}
    >>> spread({"a": 1.0, "b": 1.0}, gap=0.25, top=1)
    {'a': 0.75, 'b': 1.0}
    """
    names = sorted(values, key=lambda name: values[name])
    placed: dict[str, float] = {}
    last = -float("inf")
    for name in names:
        placed[name] = last = max(values[name], last + gap)
    ceiling = float(top)
    for name in reversed(names):
        placed[name] = min(placed[name], ceiling)
        ceiling = placed[name] - gap
    return placed
