"""How predicted risks lie among stays with the event and without it, one panel a run.

The axis is that of the logit. With a median risk of 2 % a linear axis puts nine stays in ten into its
first inch, and 0.2 % and 2 %, a tenfold difference, into one bar; a logarithmic one would do the same to
risks near 100 %, which a model that is too sure of itself gives in another hospital.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
import polars as pl
from plotly.subplots import make_subplots

from dashboard import theme
from dashboard.charts.probabilities import Curve
from dashboard.measures import MIN_CELL
from ehrfm_core import cell_words, small_cells

EDGES = np.arange(-9.0, 7.01, 0.5)  # of the bins, logits; what lies beyond stands in the outermost
_TICKS = (0.0001, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)
_MORE_TICKS = (
    0.0001,
    0.0005,
    0.002,
    0.005,
    0.01,
    0.02,
    0.05,
    0.1,
    0.2,
    0.35,
    0.5,
    0.65,
    0.8,
    0.9,
    0.95,
    0.98,
)
_WIDE = 8.0  # logits: a wider axis has fewer ticks
_PANEL_PX = 150
SIDES = {True: "with the event", False: "without the event"}


@dataclass(frozen=True, eq=False)
class Side:
    """Stays of one class: b bars between `edges` (b × 2, logits) with `counts` (b), and their quartiles."""

    edges: np.ndarray
    counts: np.ndarray
    quartiles: np.ndarray  # 25, 50 and 75 %, logits

    @property
    def heights(self) -> np.ndarray:
        """Share of the stays in each bar, by logit: the areas of all bars are 1."""
        return self.counts / self.counts.sum() / np.ptp(self.edges, axis=1)


def side(risks: np.ndarray) -> Side | None:
    """Bars of `risks` (n, probabilities), none of 1 to 10 stays; None where all of them are so few.

    A bin of fewer than 11 stays is joined with those to its right until 11 are reached, what is left over
    with the last bar. An empty bin beside a bar stays empty: it tells of nobody.
    """
    if len(risks) < MIN_CELL:
        return None
    within = np.clip(risks.astype(float), *_risk(EDGES[[0, -1]]))
    logits = np.clip(np.log(within / (1 - within)), EDGES[0], EDGES[-1])
    bars: list[list[float]] = []  # start, end, count
    closed = True
    for count, start, end in zip(np.histogram(logits, EDGES)[0], EDGES, EDGES[1:], strict=False):
        if closed and count:
            bars.append([start, end, 0])
        if count:
            bars[-1][1:] = [end, bars[-1][2] + count]
            closed = bars[-1][2] >= MIN_CELL
    if not closed:
        _, end, count = bars.pop()
        bars[-1][1:] = [end, bars[-1][2] + count]
    found = np.array(bars)
    return Side(found[:, :2], found[:, 2].astype(int), np.quantile(logits, (0.25, 0.5, 0.75)))


def split(rows: pl.DataFrame) -> dict[bool, Side | None]:
    """Both classes of one run; `rows` as `predictions.parquet`."""
    known = rows.drop_nulls(["label", "probability"])
    return {event: side(known.filter(pl.col("label") == event)["probability"].to_numpy()) for event in SIDES}


def distribution(runs: Sequence[Curve]) -> go.Figure:
    """A panel a run, stays with the event above its line and those without below; each side's area is 1.

    `runs` have label, colour, dash (not used) and rows of `predictions.parquet`. The axis of risks is
    common to all panels; heights are a panel's own, as one narrow peak would flatten all others.
    """
    n = max(1, len(runs))
    figure = make_subplots(rows=n, shared_xaxes=True, vertical_spacing=0.26 / n)
    found = [split(rows) for _, _, _, rows in runs]
    low, high = _ends([part for both in found for part in both.values() if part])
    for row, ((label, colour, _, rows), both) in enumerate(zip(runs, found, strict=True), start=1):
        top = 1.45 * max([0.1, *(float(part.heights.max()) for part in both.values() if part)])
        events = int(rows["label"].sum() or 0)
        if small_cells.unsafe(events, rows.height):  # the bars of one side would count it, and so the other
            both = dict.fromkeys(both)
        for (event, part), size in zip(both.items(), (events, rows.height - events), strict=True):
            sign = 1 if event else -1
            if part:
                _bars(figure, part, event, colour, row, label)
                beyond = part.quartiles[2] > low + 0.7 * (high - low)  # no room for words on the right
                _quartiles(figure, part, event, colour, row, sign * 0.86 * top, left=bool(beyond))
            else:
                few = (
                    cell_words.FEW + " stays"
                    if small_cells.small(size)
                    else cell_words.UNTOLD
                    if size
                    else "no stay"
                )
                _text(figure, row, (low + high) / 2, sign * top / 2, f"{few} {SIDES[event]}")
        figure.add_hline(y=0, line={"color": theme.RULE, "width": 1}, row=row, col=1)
        _title(figure, row, f"<b>{label}</b> · {cell_words.sized(rows.height, events)}")
        figure.update_yaxes(
            range=[-top, top], tickvals=[-top / 2, top / 2], ticktext=["without", "with"], row=row, col=1
        )
    theme.style(figure, height=90 + _PANEL_PX * n, legend=False, hovermode="closest")
    figure.update_layout(margin_t=30, barmode="overlay")  # grouped, both sides would make room for each other
    ticks = [p for p in (_TICKS if high - low > _WIDE else _MORE_TICKS) if low <= _logit(p) <= high]
    figure.update_xaxes(
        range=[low - 0.15, high + 0.15],
        tickvals=[_logit(p) for p in ticks],
        ticktext=[f"{100 * p:g}%" for p in ticks],
    )
    figure.update_xaxes(title="Predicted risk", row=n, col=1)
    figure.update_yaxes(showgrid=False, fixedrange=True)
    return figure


def _bars(figure: go.Figure, part: Side, event: bool, colour: str, row: int, label: str) -> None:
    starts, ends = part.edges.T
    total = int(part.counts.sum())
    figure.add_bar(
        x=(starts + ends) / 2,
        y=part.heights * (1 if event else -1),
        width=ends - starts,
        marker={
            "color": theme.alpha(colour, 0.75 if event else 0.3),
            "line": {"color": colour, "width": 1},
        },
        customdata=[
            [_span(a, b), f"{count:,} of {total:,}", count / total]
            for a, b, count in zip(starts, ends, part.counts, strict=True)
        ],
        hovertemplate=f"<b>{label}</b><br>risk %{{customdata[0]}}: %{{customdata[1]}} stays {SIDES[event]} "
        "(%{customdata[2]:.0%})<extra></extra>",
        row=row,
        col=1,
    )


def _quartiles(
    figure: go.Figure, part: Side, event: bool, colour: str, row: int, height: float, *, left: bool
) -> None:
    first, middle, third = part.quartiles
    words = f"median {percent(middle)}"
    figure.add_scatter(
        x=[first, middle, third],
        y=[height] * 3,
        mode="lines+markers+text",
        line={"color": colour, "width": 3},
        marker={"symbol": "diamond", "size": [0, 9, 0], "color": colour, "opacity": 1, "line": {"width": 0}},
        cliponaxis=False,
        text=[f"{words} ", "", ""] if left else ["", "", f" {words}"],
        textposition="middle left" if left else "middle right",
        textfont={"size": 11, "color": theme.NEUTRAL},
        hovertemplate=f"{SIDES[event]}: {words}, middle half {_span(first, third)}<extra></extra>",
        row=row,
        col=1,
    )


def _title(figure: go.Figure, row: int, text: str) -> None:
    figure.add_annotation(
        text=text,
        x=0,
        y=1,
        xref="x domain" if row == 1 else f"x{row} domain",
        yref="y domain" if row == 1 else f"y{row} domain",
        xanchor="left",
        yanchor="bottom",
        showarrow=False,
        font={"size": 12},
    )


def _text(figure: go.Figure, row: int, x: float, y: float, text: str) -> None:
    figure.add_annotation(
        text=text,
        x=x,
        y=y,
        showarrow=False,
        font={"size": 12, "color": theme.NEUTRAL},
        row=row,
        col=1,
    )


def _ends(drawn: Sequence[Side]) -> tuple[float, float]:
    """Ends of the common axis: those of the outermost bars."""
    edges = [float(x) for part in drawn for x in (part.edges.min(), part.edges.max())]
    return (min(edges), max(edges)) if edges else (-7.0, 0.0)


def percent(logit: float) -> str:
    """The risk of a logit, to two figures.

    >>> percent(0.0), percent(-5.0), percent(-9.0)
    ('50%', '0.67%', '0.012%')
    """
    value = 100 * float(_risk(np.array(logit)))
    return f"{value:.2g}%" if value < 99 else f"{value:.3g}%"


def _span(low: float, high: float) -> str:
    """A range of risks; the outermost bins hold all that lies beyond."""
    if low <= EDGES[0] < high:
        return f"below {percent(high)}"
    return f"above {percent(low)}" if high >= EDGES[-1] > low else f"{percent(low)}–{percent(high)}"


def _risk(logit: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logit))


def _logit(risk: float) -> float:
    return float(np.log(risk / (1 - risk)))
