"""Colours, fonts and Plotly settings, in one place.

Ink that belongs to the page (text, grid, background) is left to Streamlit's theme, which follows the
browser between light and dark; colours that carry meaning are fixed here and readable on both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

# Okabe–Ito, ordered so that no two neighbours are confused by any common colour blindness
SITE_COLOURS = ("#0072B2", "#D55E00", "#CC79A7", "#E69F00", "#56B4E9", "#009E73")
OUTCOME_COLOURS = {"death": "#CC79A7", "long_los": "#E69F00", "icu": "#56B4E9", "imv": "#009E73"}
OUTCOME_DASHES = {"death": "solid", "long_los": "dash", "icu": "dot", "imv": "dashdot"}
MODEL_SYMBOLS = ("circle", "diamond", "square", "triangle-up", "cross", "x", "star", "triangle-down")
MORE_OUTCOME_COLOURS = ("#D55E00", "#0072B2", "#7B8794", "#8C6D31")  # of a user's own, in their order
COHORT_COLOURS = {"a": "#009E73", "b": "#CC79A7"}
ACCENT = "#E69F00"
PIN = "#9A63D8"  # a second stay beside the focused one: no site, no outcome
NEUTRAL = "#7B8794"
START = "#5B8DB8"  # of a path: a ring that is seen in light and dark
GRID = "rgba(128, 140, 155, 0.18)"
RULE = "rgba(128, 140, 155, 0.55)"
SEQUENTIAL = "Cividis"
STAY = "stay"  # the `meta` of a trace that shows single stays: it is not handed out as numbers

# showSendToCloud: Plotly's own default offers to upload the chart
CONFIG: dict[str, Any] = {
    "displaylogo": False,
    "showSendToCloud": False,
    "displayModeBar": "hover",
    "scrollZoom": False,
    "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"],
    "toImageButtonOptions": {"format": "svg", "scale": 2},
}

# of a figure on which regions are drawn: its buttons stay in sight
DRAWING = CONFIG | {"displayModeBar": True, "modeBarButtonsToRemove": ["autoScale2d"]}


def site_colours(sites: Sequence[str]) -> dict[str, str]:
    """One colour a site, the same on every page: the source first.

    >>> site_colours(["mimic", "ucmc"])
    {'mimic': '#0072B2', 'ucmc': '#D55E00'}
    """
    return {site: SITE_COLOURS[i % len(SITE_COLOURS)] for i, site in enumerate(sites)}


def outcome_lines(outcomes: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Colour and dash of each outcome, the same on every page; those of a user's own follow the paper's.

    >>> outcome_lines(["death", "crrt"])["crrt"]
    ('#D55E00', 'longdash')
    """
    own = [name for name in outcomes if name not in OUTCOME_COLOURS]
    more = {
        name: (
            MORE_OUTCOME_COLOURS[i % len(MORE_OUTCOME_COLOURS)],
            "longdash" if i % 2 == 0 else "longdashdot",
        )
        for i, name in enumerate(own)
    }
    return {name: (colour, OUTCOME_DASHES[name]) for name, colour in OUTCOME_COLOURS.items()} | more


def alpha(colour: str, opacity: float) -> str:
    """A hex colour with an opacity.

    >>> alpha("#0072B2", 0.5)
    'rgba(0, 114, 178, 0.5)'
    """
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {opacity})"


def fade(colour: str) -> list[list[Any]]:
    """A colour scale from nothing to `colour`: empty bins show the page, light or dark."""
    return [[0.0, alpha(colour, 0.0)], [0.01, alpha(colour, 0.12)], [1.0, alpha(colour, 0.95)]]


def log_ticks(low: float, high: float) -> list[float]:
    """Round values (1, 2, 5 times a power of ten) between two positive bounds, for a logarithmic axis.

    >>> log_ticks(0.4, 6)
    [0.5, 1.0, 2.0, 5.0]
    """
    values = [round(step * 10.0**power, 9) for power in range(-3, 7) for step in (1, 2, 5)]
    return [value for value in values if low <= value <= high]


def interval(value: Any, low: Any, high: Any, *, thickness: float = 1.5) -> dict[str, Any]:
    """Error bars from estimates and bounds (of one length), for `error_x` and `error_y`.

    Where a bound is missing (null, not a number) there is no bar on that side.

    >>> bars = interval([0.5, 0.5], [0.25, None], [1.0, None])
    >>> bars["array"].tolist(), bars["arrayminus"].tolist()
    ([0.5, 0.0], [0.25, 0.0])
    """
    value, low, high = (np.array(x, dtype=np.float64) for x in (value, low, high))
    above, below = (np.maximum(np.nan_to_num(side), 0.0) for side in (high - value, value - low))
    return {"array": above, "arrayminus": below, "thickness": thickness, "width": 0}


def of_single_stays(figure: go.Figure) -> go.Figure:
    """Say of all traces of a figure that they show single stays; returns it."""
    return figure.update_traces(meta=STAY)


def style(figure: go.Figure, *, height: int, legend: bool = True, **layout: Any) -> go.Figure:
    """Give a figure the house's margins, grid and legend; returns it."""
    figure.update_layout(
        height=height,
        # right: half of a last tick's label, which Plotly leaves out where it does not fit
        margin={"l": 8, "r": 22, "t": 36 if legend else 12, "b": 8},
        dragmode="zoom",
        hoverlabel={"namelength": -1},
        showlegend=legend,
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "title": None},
    )
    figure.update_xaxes(gridcolor=GRID, zeroline=False, automargin=True, title_standoff=8)
    figure.update_yaxes(gridcolor=GRID, zeroline=False, automargin=True, title_standoff=8)
    figure.update_layout(**layout)
    return figure
