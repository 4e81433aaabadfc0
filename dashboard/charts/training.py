"""Curves of training, several runs in one picture: the loss, and how the training went."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import polars as pl
from plotly.subplots import make_subplots

from dashboard import theme
from dashboard.runs import Drawn

AXES = {"tokens": "Tokens seen", "step": "Steps", "seconds": "Training time"}
SCALES = {"whole": "Whole", "close": "Close-up", "log": "Log", "loglog": "Log–log"}
COURSE = {
    "learning_rate": "Learning rate",
    "tokens_per_second": "Tokens a second",
    "grad_norm": "Gradient norm before clipping",
}
_CLOSE = 1.3  # times the worst run's best tuning loss: the top of the close-up
_APART = 20.0  # times: speeds further apart than this need a logarithmic axis
_MANY = 4  # runs; of more, the training losses would lie over the tuning losses
_TICKS = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)  # times a power of ten, on a logarithmic axis
_UNITS = ((10_800.0, 3_600.0, "hours"), (300.0, 60.0, "minutes"), (0.0, 1.0, "seconds"))


def loss(lines: Sequence[Drawn], axis: str, scale: str, *, guesses: Mapping[str, float]) -> go.Figure:
    """Loss of every run over a column of `CURVE`: thin in training, thick with markers on the tuning split.

    `scale` is one of `SCALES`; `guesses` maps the name of a simpler guess to its nats, drawn across.
    """
    figure = go.Figure()
    unit, _ = _unit(lines, axis)
    for column in ("loss", "tuning_loss"):  # every thin line lies below every thick one
        for rank, line in enumerate(lines):
            _trace(figure, line, axis, column, unit, faint=len(lines) > _MANY, legendrank=rank)
    for line in lines:
        _best(figure, line, axis, unit)
    _key(figure)
    theme.style(figure, height=520, hovermode="closest")
    _x_axis(figure, lines, axis, scale)
    figure.update_yaxes(title="Loss, nats a token")
    top = math.inf
    if scale in ("log", "loglog"):
        ticks = [round(step * 10.0**power, 9) for power in range(-3, 4) for step in _TICKS]
        figure.update_yaxes(type="log", tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks])
    elif scale == "close" and (close := _close(lines)):
        figure.update_yaxes(range=close)
        top = close[1]
    for label, nats in guesses.items():
        if 0 < nats < top:
            _guess(figure, label, nats, log=scale in ("log", "loglog"))
    return figure


def course(lines: Sequence[Drawn], axis: str, scale: str, *, columns: Sequence[str]) -> go.Figure:
    """How the training went: a small picture for each of the columns, of those in `COURSE`."""
    titles = [COURSE[column] for column in columns]
    figure = make_subplots(rows=1, cols=len(columns), subplot_titles=titles, horizontal_spacing=0.07)
    unit, _ = _unit(lines, axis)
    for place, column in enumerate(columns, start=1):
        for line in lines:
            _trace(figure, line, axis, column, unit, row=1, col=place)
    theme.style(figure, height=280, legend=False, margin={"l": 8, "r": 8, "t": 30, "b": 8})
    _x_axis(figure, lines, axis, scale)
    figure.update_yaxes(rangemode="tozero", exponentformat="B", nticks=5)
    figure.update_annotations(font={"size": 13})
    speeds = [line.run.tokens_per_second for line in lines if line.run.tokens_per_second]
    if "tokens_per_second" in columns and speeds and max(speeds) > _APART * min(speeds):
        place = columns.index("tokens_per_second")
        figure.update_yaxes(type="log", dtick=1, row=1, col=place + 1)
        figure.layout.annotations[place].text += ", logarithmic"
    return figure


def known(line: Drawn, axis: str, *columns: str) -> bool:
    """Whether a run's curve knows any of the columns together with the axis."""
    return any(len(_points(line, axis, column)) for column in columns)


def _points(line: Drawn, axis: str, column: str) -> pl.DataFrame:
    return line.run.curve.drop_nulls([axis, column])


def _end(lines: Sequence[Drawn], axis: str) -> float:
    return max((float(line.run.curve[axis].max() or 0) for line in lines), default=0.0) or 1.0  # type: ignore[arg-type]


def _unit(lines: Sequence[Drawn], axis: str) -> tuple[float, str]:
    """What values of the axis are divided by, and its title."""
    if axis != "seconds":
        return 1.0, AXES[axis]
    end = _end(lines, axis)
    unit, name = next((unit, name) for least, unit, name in _UNITS if end >= least)
    return unit, f"{AXES[axis]}, {name}"


def _x_axis(figure: go.Figure, lines: Sequence[Drawn], axis: str, scale: str) -> None:
    unit, title = _unit(lines, axis)
    figure.update_xaxes(title=title, exponentformat="B")
    if scale == "loglog":
        figure.update_xaxes(type="log", dtick=1)
    else:
        figure.update_xaxes(range=[0, 1.012 * _end(lines, axis) / unit])


def _close(lines: Sequence[Drawn]) -> tuple[float, float] | None:
    """Lowest and highest loss of the close-up; None where no run has a tuning loss."""
    best = [line.run.best_tuning_loss for line in lines if line.run.best_tuning_loss]
    lows = [line.run.curve[column].min() for line in lines for column in ("loss", "tuning_loss")]
    lowest = min([float(low) for low in lows if low is not None], default=0.0)  # type: ignore[arg-type]
    return (0.98 * lowest, _CLOSE * max(best)) if best else None


def _trace(
    figure: go.Figure, line: Drawn, axis: str, column: str, unit: float, *, faint: bool = False, **more: Any
) -> None:
    points = _points(line, axis, column)
    if points.is_empty():
        return
    names = {"loss": "training loss", "tuning_loss": "tuning loss", **COURSE}
    widths = {"loss": 1.1, "tuning_loss": 2.4}
    only = column == "loss" and not known(line, axis, "tuning_loss")
    seen = ", %{customdata[1]:.4s} tokens" if points["tokens"].null_count() == 0 else ""
    figure.add_scatter(
        x=points[axis].to_numpy() / unit,
        y=points[column].to_numpy(),
        mode="lines+markers" if column == "tuning_loss" or len(points) == 1 else "lines",
        line={
            "color": theme.alpha(line.colour, 0.28 if faint else 0.5) if column == "loss" else line.colour,
            "width": widths.get(column, 1.6 if len(points) < 300 else 0.9),
            "dash": line.dash,
        },
        marker={"symbol": line.symbol, "size": 7 if len(points) <= 40 else 4},
        name=line.label,
        legendgroup=line.label,
        showlegend=column == "tuning_loss" or only,
        customdata=points.select("step", pl.col("tokens").fill_null(float("nan"))).to_numpy(),
        hovertemplate=f"<b>{line.label}</b><br>{names[column].lower()} %{{y:.4g}}<br>"
        f"step %{{customdata[0]:,.0f}}{seen}<extra></extra>",
        **more,
    )


def _best(figure: go.Figure, line: Drawn, axis: str, unit: float) -> None:
    """A star at the step with the lowest tuning loss."""
    points = _points(line, axis, "tuning_loss")
    best = points.filter(pl.col("step") == pl.lit(line.run.best_step, pl.Int64))
    if best.is_empty():
        return
    figure.add_scatter(
        x=best[axis].to_numpy() / unit,
        y=best["tuning_loss"].to_numpy(),
        mode="markers",
        marker={
            "symbol": "star",
            "size": 17,
            "color": line.colour,
            "line": {"color": "#FFFFFF", "width": 1.2},
        },
        name=line.label,
        legendgroup=line.label,
        showlegend=False,
        customdata=[line.run.best_step],
        hovertemplate=f"<b>{line.label}</b><br>best step %{{customdata:,}}: tuning loss %{{y:.4g}}"
        "<extra></extra>",
    )


def _guess(figure: go.Figure, label: str, nats: float, *, log: bool) -> None:
    figure.add_hline(y=nats, line={"color": theme.NEUTRAL, "dash": "dot", "width": 1.4})
    figure.add_annotation(
        text=f"{label} {nats:.2f}",
        x=1,
        xref="x domain",
        xanchor="right",
        y=math.log10(nats) if log else nats,
        yanchor="bottom",
        showarrow=False,
        font={"size": 12},
    )


def _key(figure: go.Figure) -> None:
    """What thin, thick and star mean, in the legend."""
    for name, mode, width, size, symbol in (
        ("tuning split", "lines+markers", 2.4, 7, "circle"),
        ("training", "lines", 1.1, 7, "circle"),
        ("best step", "markers", 1.0, 13, "star"),
    ):
        figure.add_scatter(
            x=[None],
            y=[None],
            mode=mode,
            line={"color": theme.NEUTRAL, "width": width},
            marker={"color": theme.NEUTRAL, "size": size, "symbol": symbol},
            name=f"<i>{name}</i>",
            legendrank=2000,
        )
