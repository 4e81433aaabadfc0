"""The lane of risks: one stay's, another's beside it, and what is usual among the test stays."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
import polars as pl

from dashboard import theme
from ehrfm_core.outcomes import Outcomes

_LABEL_GAP = 0.13  # of the lane's height, between two labels at its end


def draw(
    figure: go.Figure,
    path: pl.DataFrame,
    outcomes: Outcomes,
    hours: int,
    *,
    row: int,
    outcome: str | None,
    band: pl.DataFrame | None,
    other: pl.DataFrame | None,
    other_name: str,
) -> list[dict[str, Any]]:
    """Draw into row `row` of a figure: a line an outcome the stay counts for.

    Returns the annotations that name the lines at their ends. `outcome` stands out; of `other` (another
    path) it is all there is. `band` as `population.risk_band`.
    """
    colours = theme.outcome_lines(outcomes)
    ends: dict[str, tuple[float, str, str]] = {}  # height, colour, text
    top = 0.1
    if band is not None and outcome is not None and len(band):
        _band(figure, band, colours[outcome][0], row)
        top = max(top, float(band["high"].max()))  # type: ignore[arg-type]
    # what stands out is drawn last, over the others
    for name in sorted(outcomes, key=lambda name: name == outcome):
        known = path.select("hour", risk=pl.col(f"risk_{name}")).drop_nulls()
        if known.is_empty():
            continue
        colour, dash = colours[name]
        width = 2.2 if outcome is None else 3.2 if name == outcome else 1.2
        _line(figure, known, outcomes[name].label, {"color": colour, "dash": dash, "width": width}, row)
        end = float(known["risk"][-1])
        ends[name] = (end, colour, f"<b>{outcomes[name].label}</b> {100 * end:.0f} %")
        top = max(top, float(known["risk"].max()))  # type: ignore[arg-type]
    if other is not None and outcome is not None:
        known = other.select("hour", risk=pl.col(f"risk_{outcome}")).drop_nulls()
        if len(known):
            label = f"{other_name}: {outcomes[outcome].label}"
            _line(figure, known, label, {"color": theme.PIN, "dash": colours[outcome][1], "width": 2.4}, row)
            end = float(known["risk"][-1])
            ends[" other"] = (end, theme.PIN, f"<b>{label}</b> {100 * end:.0f} %")
            top = max(top, float(known["risk"].max()))  # type: ignore[arg-type]
    top *= 1.08
    heights = spread({name: end[0] for name, end in ends.items()}, gap=_LABEL_GAP * top, top=0.97 * top)
    figure.update_yaxes(range=[0, top], tickformat=".0%", nticks=5, row=row, col=1)
    return [
        {
            "x": hours + 0.4,
            "y": y,
            "text": ends[name][2],
            "xref": f"x{row}",
            "yref": f"y{row}",
            "xanchor": "left",
            "showarrow": False,
            "font": {"color": ends[name][1], "size": 12},
        }
        for name, y in heights.items()
    ]


def _line(figure: go.Figure, known: pl.DataFrame, label: str, line: dict[str, object], row: int) -> None:
    figure.add_scatter(
        x=known["hour"].to_numpy(),
        y=known["risk"].to_numpy(),
        mode="lines",
        line=line,
        hovertemplate=f"{label}: %{{y:.1%}} at hour %{{x}}<extra></extra>",
        row=row,
        col=1,
    )


def _band(figure: go.Figure, band: pl.DataFrame, colour: str, row: int) -> None:
    """The middle 80 % of each group and its median; the outcome's colour is for those who had it."""
    for (group,), part in band.group_by("group", maintain_order=True):
        ink = colour if group == "with" else theme.NEUTRAL
        hour = part["hour"].to_list()
        figure.add_scatter(
            x=hour + hour[::-1],
            y=part["high"].to_list() + part["low"].to_list()[::-1],
            mode="lines",
            line={"width": 0},
            fill="toself",
            fillcolor=theme.alpha(ink, 0.2),
            hoverinfo="skip",
            name=f"10–90 %, {group}",
            row=row,
            col=1,
        )
        figure.add_scatter(
            x=hour,
            y=part["middle"].to_numpy(),
            mode="lines",
            line={"color": theme.alpha(ink, 0.9), "width": 1, "dash": "1px,3px"},
            hovertemplate=f"median {_WORDS[str(group)]}: %{{y:.1%}} at hour %{{x}}<extra></extra>",
            name=f"median, {group}",
            row=row,
            col=1,
        )


_WORDS = {
    "all": "of the test stays",
    "with": "of test stays with the outcome",
    "without": "of test stays without it",
}


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
