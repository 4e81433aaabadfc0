"""The word SYNTHETIC on everything that shows a synthetic study or leaves the screen with it.

What is taken out of the dashboard (a picture of a chart, the CSV of a table) loses the page around it, so the
word is put into the figure, into the name of its file and into every row of the table. Pages need not think
of it: they draw through `ui.chart` and `ui.table`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import plotly.graph_objects as go
import polars as pl

from ehrfm_core.study import Study

WORD = "SYNTHETIC"
COLUMN = WORD  # the head of the table's last column: an empty table says it as well
SHORT = "made by this project's generator, no real patient"
SENTENCE = (
    "**These patients are synthetic.** This project's generator made them, there is no real patient among "
    "them. They show how the methods work and say nothing about medicine; as the truth behind them is known, "
    "the methods can be checked against it."
)
_STRIP_PX = 16  # added to a figure's right margin: nothing else is drawn there


def word(synthetic: Sequence[bool]) -> str | None:
    """What to write on a thing that shows several studies, of which these are synthetic; None: nothing.

    >>> word([True, True]), word([True, False]), word([False])
    ('SYNTHETIC', 'PARTLY SYNTHETIC', None)
    """
    if not any(synthetic):
        return None
    return WORD if all(synthetic) else f"PARTLY {WORD}"


def label(study: Study) -> str:
    """A study's name in the list of studies, and so in links to it."""
    return f"{study.name} · synthetic" if study.manifest.synthetic else study.name


def on_figure(figure: go.Figure, text: str = WORD) -> go.Figure:
    """Write the word along the figure's right edge, beside everything that is there; returns the figure.

    An annotation is part of the figure, so the modebar's picture carries it.
    """
    right = figure.layout.margin.r or 0
    figure.update_layout(margin_r=right + _STRIP_PX)
    return figure.add_annotation(
        text=f"<b>{text}</b>",
        textangle=-90,
        font={"size": 10},  # no colour: the page's ink, in light and dark
        xref="paper",
        yref="paper",
        x=1,
        y=1,  # at the top: below, the last tick's label may reach beyond the axis
        xanchor="left",
        yanchor="top",
        xshift=right,
        borderpad=0,
        showarrow=False,
    )


def on_table(frame: pl.DataFrame, rows: Sequence[bool] | None = None) -> pl.DataFrame:
    """The table with a last column that says it in every row, or in those that are of a synthetic study."""
    if rows is None:
        return frame.with_columns(pl.lit(WORD.lower()).alias(COLUMN))
    marks = [WORD.lower() if mark else "real" for mark in rows]
    return frame.with_columns(pl.Series(COLUMN, marks, dtype=pl.String))


def file_name(study: Study, key: str, text: str | None) -> str:
    """Name of a picture of the chart `key`, without its ending; `text` is what `word` gave."""
    name = re.sub(r"[^\w. -]+", "_", f"{study.name}_{key}")
    return f"{text.replace(' ', '-')}_{name}" if text else name
