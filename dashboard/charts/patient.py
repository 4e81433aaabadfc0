"""One stay on one clock: what was charted, where the model's state jumped, how the risks moved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
import polars as pl
from plotly.subplots import make_subplots

from dashboard import theme
from dashboard.charts import risk_lane
from dashboard.timeline import LABELS, PREFIX_LABEL
from ehrfm_core.outcomes import OUTCOMES, Outcomes

HOURS = 24
HEIGHT, LANES_PX = 720, 240  # of the figure; of a lane of charts
LANE_PX, WIDE_LANE_PX = 24, 34  # of a family of events; where two stays share it
_LANE_ORDER = [PREFIX_LABEL, *LABELS.values()]
_INK = theme.SITE_COLOURS[4]
_TITLE = {"x": 0, "xanchor": "left", "font": {"size": 14}}
_SMALL = '<span style="font-size: 11px">'


@dataclass(frozen=True, eq=False)
class Other:
    """Another stay, or the same one read otherwise, drawn beside it in a second ink: below, mirrored."""

    name: str
    tokens: pl.DataFrame
    path: pl.DataFrame


def lanes(
    tokens: pl.DataFrame,
    largest: pl.DataFrame,
    path: pl.DataFrame,
    outcomes: Outcomes = OUTCOMES,
    *,
    hours: int = HOURS,
    outcome: str | None = None,
    band: pl.DataFrame | None = None,
    name: str = "This stay",
    other: Other | None = None,
) -> go.Figure:
    """Three aligned lanes over 0 … `hours`.

    `tokens` and `largest` come from `timeline`, `path` from `population.path`, `band` from
    `population.risk_band`. The static prefix stands at hour 0 in the first lane and is left out of the
    second, where it would dwarf every event. The risk of `outcome` stands out.
    """
    families = _families(tokens, other)
    events = max(LANES_PX, (LANE_PX if other is None else WIDE_LANE_PX) * len(families))
    height = HEIGHT + events - LANES_PX
    figure = make_subplots(
        rows=3,
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.07 * HEIGHT / height,
        row_heights=[events, 0.94 * LANES_PX, LANES_PX],
        subplot_titles=_titles(name, band, other),
    )
    shift = 0.0 if other is None else 0.22
    if other is not None:
        _events(figure, other.tokens, families, theme.PIN, -shift)
        _jumps(figure, other.tokens, theme.PIN, -1)
    _events(figure, tokens, families, _INK, shift)
    _jumps(figure, tokens, theme.NEUTRAL, 1)
    heights = [families.index(label) - shift for label in largest["label"]]
    marks = _numbered(largest.with_columns(y=pl.Series(heights, dtype=pl.Float64)), row=1)
    marks += _numbered(largest.with_columns(y=pl.col("jump"), label=pl.lit("")), row=2)
    figure.update_yaxes(
        tickvals=list(range(len(families))),
        ticktext=families,
        range=[max(1, len(families)) - 0.4, -0.6],
        row=1,
        col=1,
    )
    figure.update_yaxes(**_jump_axis(tokens, other), row=2, col=1)
    labels = risk_lane.draw(
        figure,
        path,
        outcomes,
        hours,
        row=3,
        outcome=outcome,
        band=band,
        other=None if other is None else other.path,
        other_name="" if other is None else other.name,
    )
    theme.style(
        figure,
        height=height,
        legend=False,
        margin={"l": 8, "r": 160, "t": 28, "b": 8},
        hovermode="closest",
    )
    figure.update_xaxes(range=[-0.4, hours + 0.4], tickvals=list(range(0, hours + 1, 3)))
    figure.update_xaxes(title="Hours since the start of the stay", row=3, col=1)
    titles = [title.to_plotly_json() | _TITLE for title in figure.layout.annotations]
    figure.layout.annotations = [*titles, *marks, *labels]  # at once: each one added copies all before it
    return theme.of_single_stays(figure)


def _titles(name: str, band: pl.DataFrame | None, other: Other | None) -> tuple[str, str, str]:
    titles = ["What was charted", "Jump at each token, ‖ΔR‖ in the full space", "Risk after each hour"]
    if other is not None:
        titles[0] += f" {_SMALL}· above: {name.lower()}, below: {other.name.lower()}</span>"
    if band is not None and len(band):
        groups = set(band["group"])
        who = "test stays with (coloured) and without the outcome" if "with" in groups else "test stays"
        titles[2] += f" {_SMALL}· shaded: 80 % of {who}</span>"
    return titles[0], titles[1], titles[2]


def _families(tokens: pl.DataFrame, other: Other | None) -> list[str]:
    """The families of events, in the order in which they stand from the top."""
    present = set(tokens["label"]) | (set(other.tokens["label"]) if other else set())
    return [label for label in _LANE_ORDER if label in present] + sorted(present - set(_LANE_ORDER))


def _events(figure: go.Figure, tokens: pl.DataFrame, families: list[str], ink: str, shift: float) -> None:
    """One tick an event in the lane of its family, `shift` above its middle."""
    events = tokens.group_by("event", maintain_order=True).agg(
        pl.col("hour").first(),
        pl.col("label").first(),
        pl.col("text").last(),
        pl.col("jump").sum(),
    )
    figure.add_scatter(
        x=events["hour"].to_numpy(),
        y=[families.index(label) - shift for label in events["label"]],
        mode="markers",
        marker={
            "symbol": "line-ns-open",
            "size": 11 if not shift else 9,
            "color": ink,
            "line": {"width": 1.5},
        },
        customdata=np.column_stack(
            [
                events["text"].to_list(),
                events["jump"].fill_null(np.nan).round(1).to_list(),
                events["label"].to_list(),
            ]
        )
        if len(events)
        else None,
        hovertemplate="<b>%{customdata[0]}</b><br>%{customdata[2]}, hour %{x:.1f}<br>jump "
        "%{customdata[1]}<extra></extra>",
        row=1,
        col=1,
    )


def _shown(tokens: pl.DataFrame) -> pl.DataFrame:
    return tokens.filter(~pl.col("prefix") & pl.col("jump").is_not_null())


def _jumps(figure: go.Figure, tokens: pl.DataFrame, ink: str, sign: int) -> None:
    """A stem a token, upwards or downwards: one trace with gaps, and small heads for the hover."""
    events = _shown(tokens)
    hour, jump = events["hour"].to_numpy(), events["jump"].to_numpy()
    gap = np.full(len(hour), np.nan)
    figure.add_scatter(
        x=np.column_stack([hour, hour, gap]).ravel(),
        y=sign * np.column_stack([np.zeros(len(hour)), jump, gap]).ravel(),
        mode="lines",
        line={"color": ink, "width": 1.2 if len(hour) < 300 else 0.6},
        hoverinfo="skip",
        row=2,
        col=1,
    )
    figure.add_scatter(
        x=hour,
        y=sign * jump,
        mode="markers",
        marker={"size": 4 if len(hour) < 300 else 2.5, "color": ink},
        customdata=np.column_stack(
            [
                events["text"].to_list(),
                events["information"].fill_null(np.nan).round(2).to_list(),
                jump.round(1).tolist(),
            ]
        )
        if len(events)
        else None,
        hovertemplate="<b>%{customdata[0]}</b><br>hour %{x:.1f}: jump %{customdata[2]}<br>information "
        "%{customdata[1]} nats<extra></extra>",
        row=2,
        col=1,
    )


def _jump_axis(tokens: pl.DataFrame, other: Other | None) -> dict[str, object]:
    """An axis from 0 up, or from 0 in both directions where another stay hangs below."""
    frames = [tokens] if other is None else [tokens, other.tokens]
    top = max(float(_shown(frame)["jump"].max() or 1.0) for frame in frames)  # type: ignore[arg-type]
    room = 1.25 * top  # for the numbers of the largest
    if other is None:
        return {"range": [0, room], "nticks": 5}
    ticks = mirrored_ticks(top)
    return {"range": [-1.05 * top, room], "tickvals": ticks, "ticktext": [f"{abs(x):g}" for x in ticks]}


def mirrored_ticks(top: float) -> list[float]:
    """Round values from −top to top, the same on both sides of 0.

    >>> mirrored_ticks(23.0)
    [-20.0, -10.0, 0.0, 10.0, 20.0]
    """
    power = 10.0 ** np.floor(np.log10(top / 2))
    step = max(k * power for k in (1, 2, 5) if k * power <= top / 2)
    return [float(step * k) for k in range(-int(top / step), int(top / step) + 1)]


def _numbered(largest: pl.DataFrame, *, row: int) -> list[dict[str, Any]]:
    """Annotations: the largest jumps by their numbers; those too close to tell apart share a mark."""
    marks = largest.group_by("label", about=(pl.col("hour") / 1.5).floor(), maintain_order=True).agg(
        pl.col("hour").mean(), pl.col("y").first(), pl.col("rank").cast(pl.String)
    )
    return [
        {
            "x": mark["hour"],
            "y": mark["y"],
            "text": f"<b>{' · '.join(mark['rank'])}</b>",
            "font": {"color": "#1B2733", "size": 11},
            "bgcolor": theme.ACCENT,
            "borderpad": 3,
            "showarrow": False,
            "yshift": 0 if row == 1 else 10,
            "xref": f"x{row}" if row > 1 else "x",
            "yref": f"y{row}" if row > 1 else "y",
        }
        for mark in marks.iter_rows(named=True)
    ]
