"""The recovery ladder: a panel an outcome, a rung an arm, gains and losses in the same ink."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dashboard import theme
from dashboard.gaps import Estimate
from ehrfm_core import cell_words

RUNG_PX = 62
_HEAD_PX, _ENTRY_PX, _BETWEEN_PX, _FOOT_PX = 98, 29, 116, 52
_INK = theme.NEUTRAL


@dataclass(frozen=True)
class Line:
    """One model's way through a panel: an estimate a rung, None where there is none.

    `published` lines are hollow and have no interval; `legend` is their common name.
    """

    name: str
    symbol: str
    rungs: Sequence[Estimate | None]
    published: bool = False
    legend: str = ""

    @property
    def entry(self) -> str:
        """What stands in the legend: lines of one such name share their entry."""
        return self.legend or self.name


@dataclass(frozen=True)
class Panel:
    """An outcome: its lines, and what is said under its name."""

    title: str
    said: str
    lines: Sequence[Line] = field(default_factory=tuple)


def ladder(panels: Sequence[Panel], rungs: Sequence[str], colours: Sequence[str]) -> go.Figure:
    """Small multiples of ROC-AUC; `rungs` names them from the top down, `colours` has a colour for each."""
    columns = _columns(len(panels))
    rows = -(-len(panels) // columns)
    area = rows * RUNG_PX * len(rungs) + (rows - 1) * _BETWEEN_PX
    figure = make_subplots(
        rows=rows,
        cols=columns,
        shared_yaxes=True,
        horizontal_spacing=0.025,
        vertical_spacing=_BETWEEN_PX / area if rows > 1 else 0,
    )
    shown: set[str] = set()
    for place, panel in enumerate(panels):
        row, column = place // columns + 1, place % columns + 1
        own = [line.symbol for line in panel.lines if not line.published]
        for line in panel.lines:
            dodge = 0.0 if len(own) < 2 else 0.4 * (0.5 - own.index(line.symbol) / (len(own) - 1))
            figure.add_trace(_trace(line, colours, rungs, dodge, new=line.entry not in shown), row, column)
            shown.add(line.entry)
        axis = f"{place + 1 if place else ''}"
        figure.add_annotation(
            text=f"<b>{panel.title}</b><br>{panel.said}",
            xref=f"x{axis} domain",
            yref=f"y{axis} domain",
            x=0,
            y=1,
            yshift=6,
            xanchor="left",
            yanchor="bottom",
            align="left",
            showarrow=False,
            font={"size": 13},
        )
    # one entry a line: beside each other they wrap on a narrow screen, into the first panel's words
    head = _HEAD_PX + _ENTRY_PX * max(0, len(shown) - 1)
    theme.style(figure, height=head + area + _FOOT_PX, hovermode="closest")
    legend = {"orientation": "v", "y": 1, "yref": "container", "yanchor": "top"}
    figure.update_layout(legend=legend, margin={"t": head})
    figure.update_xaxes(
        range=[_lowest(panels), 1.06], tickvals=[0.25, 0.5, 0.75, 1.0], showgrid=True, tickformat=".2f"
    )
    for column in range(1, columns + 1):
        figure.update_xaxes(title="ROC-AUC", row=rows, col=column)
    figure.add_vline(x=0.5, line={"color": theme.RULE, "dash": "dot", "width": 1.3})
    figure.update_yaxes(
        tickvals=[-i for i in range(len(rungs))], ticktext=list(rungs), range=[0.5 - len(rungs), 0.5]
    )
    return figure


def _trace(
    line: Line, colours: Sequence[str], rungs: Sequence[str], dodge: float, *, new: bool
) -> go.Scatter:
    known = [(i, rung) for i, rung in enumerate(line.rungs) if rung is not None]
    values = [rung.value for _, rung in known]
    error = theme.interval(values, [r.low for _, r in known], [r.high for _, r in known])
    marker = {"size": 10, "symbol": line.symbol, "color": [colours[i] for i, _ in known]}
    if line.published:
        marker = {"size": 12, "symbol": f"{line.symbol}-open", "color": _INK, "line": {"width": 1.6}}
    return go.Scatter(
        x=values,
        y=[dodge - i for i, _ in known],
        error_x=None if line.published else error | {"color": _INK},
        mode="lines+markers",
        line={
            "color": theme.alpha(_INK, 0.45 if line.published else 0.7),
            "width": 1.4,
            "dash": "dot" if line.published else "solid",
        },
        marker=marker,
        name=line.entry,
        legendgroup=line.entry,
        showlegend=new,
        customdata=[[_plain(rungs[i]), _interval(rung, published=line.published)] for i, rung in known],
        hovertemplate=f"<b>{line.name}</b><br>%{{customdata[0]}}<br>AUC %{{x:.3f}} %{{customdata[1]}}"
        "<extra></extra>",
    )


def _interval(rung: Estimate, *, published: bool) -> str:
    if published:
        return "(no interval was published)"
    span = "(no interval)" if rung.low is None else f"[{rung.low:.3f}–{rung.high:.3f}]"
    return f"{span}<br>{cell_words.sized(rung.n, rung.n_events)}"


def _plain(rung: str) -> str:
    return rung.replace("<br>", " ")


def _columns(n: int) -> int:
    """Panels beside each other: at most four, and no row of one.

    >>> [_columns(n) for n in (1, 4, 5, 6, 7, 9)]
    [1, 4, 3, 3, 4, 3]
    """
    return n if n <= 4 else 3 if n in (5, 6, 9) else 4


def _lowest(panels: Sequence[Panel]) -> float:
    bounds = [
        rung.value if rung.low is None else rung.low
        for panel in panels
        for line in panel.lines
        for rung in line.rungs
        if rung is not None
    ]
    return max(0.0, min([0.45, *(bound - 0.03 for bound in bounds)]))
