"""The numbers of a figure as a table: whatever is drawn can be taken away and checked.

The table is made from the figure's own traces, so that it holds what is on the screen and nothing else: bins
that are left empty for their few stays are empty here too.
"""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import numpy as np
import plotly.graph_objects as go
import polars as pl

from dashboard import stamp, theme
from ehrfm_core.study import Study

# what a spreadsheet takes for the begin of a formula; signs, signed numbers, intervals and shares are none
_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]")
_NUMBER = re.compile(r"[+-]([\d.,][\d.,e %()\[\]–−+-]*)?")


def has_numbers(figure: go.Figure, *, stays: bool) -> bool:
    """Whether anything can be taken away; with `stays` also what belongs to single stays."""
    return any(_is_told(trace, stays=stays) for trace in figure.data)


def table(figure: go.Figure, *, stays: bool = False) -> pl.DataFrame:
    """One row a point: series, x and y with the ends of their intervals, and what stands beside it.

    A heat map has a row a bin that is not empty, with its value as z. `row` and `column` hold the words of
    an axis whose positions are named; `more_1`, … what a point tells when one points at it. Traces of
    single stays (see `theme.STAY`) are left out without `stays`.
    """
    parts = [
        part
        for i, trace in enumerate(figure.data, start=1)
        if _is_told(trace, stays=stays) and len(part := _rows(figure, trace, i))
    ]
    frame = pl.concat(parts, how="diagonal_relaxed") if parts else pl.DataFrame({"series": []})
    return frame.select(column for column in frame if column.null_count() < len(column) or not len(column))


def csv(figure: go.Figure, study: Study, *, word: str | None, stays: bool = False) -> str:
    """The table as CSV, each row with the study, its version and, where it is synthetic, the word."""
    frame = table(figure, stays=stays).with_columns(
        study=pl.lit(study.name), version=pl.lit(study.digest).cast(pl.String)
    )
    if word:
        frame = frame.with_columns(pl.lit(word.lower()).alias(stamp.COLUMN))
    return harmless_table(frame).write_csv()


def harmless(text: str) -> str:
    """A cell that no spreadsheet takes for a formula.

    >>> harmless("=1+1"), harmless("mimic"), harmless("-0.5"), harmless("+.02 [-.01–+.05]")
    ("'=1+1", 'mimic', '-0.5', '+.02 [-.01–+.05]')
    """
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def harmless_table(frame: pl.DataFrame) -> pl.DataFrame:
    """The table with every cell of text harmless; numbers stay numbers.

    >>> harmless_table(pl.DataFrame({"id": ["@x", "7"], "jump": [-1.5, 2.0]})).rows()
    [("'@x", -1.5), ('7', 2.0)]
    """
    for column in frame.select(pl.col(pl.String)):
        odd = {value: told for value in column.unique() if value and (told := harmless(value)) != value}
        frame = frame.with_columns(column.replace(odd)) if odd else frame
    return frame


def _is_told(trace: Any, *, stays: bool) -> bool:
    return trace.x is not None and (stays or trace.meta != theme.STAY)


def _rows(figure: go.Figure, trace: Any, number: int) -> pl.DataFrame:
    """One trace as rows."""
    series = _words(trace.name or getattr(trace, "legendgroup", None) or f"series {number}")
    if trace.type == "heatmap":
        return _bins(trace, series)
    x, y = list(trace.x), list(trace.y)
    n = min(len(x), len(y))
    columns: dict[str, Any] = {
        "series": [f"{series}, band" if trace.fill == "toself" else series] * n
        if trace.type == "scatter"
        else [series] * n,
        "x": _column(x[:n]),
        "y": _column(y[:n]),
    }
    for side, values in (("x", x), ("y", y)):
        columns |= _ends(getattr(trace, f"error_{side}"), values[:n], side)
        words = _named(_axis(figure, trace, side), values[:n])
        if words:
            columns["column" if side == "x" else "row"] = words
        title = _words(_axis(figure, trace, side).title.text or "")
        columns[f"{side}_axis"] = [title or None] * n
    if trace.text is not None and not isinstance(trace.text, str) and len(trace.text) == n:
        columns["text"] = [_words(str(text)) or None for text in trace.text]
    columns |= _more(trace.customdata, n)
    return pl.DataFrame({name: _series(name, values) for name, values in columns.items()})


def _bins(trace: Any, series: str) -> pl.DataFrame:
    z = np.asarray(trace.z, dtype=np.float64)
    row, column = np.nonzero(np.isfinite(z))
    x, y = list(trace.x), list(trace.y)
    told = {
        "series": [series] * len(row),
        "x": _column([x[i] for i in column]),
        "y": _column([y[i] for i in row]),
        "z": z[row, column].tolist(),
    }
    if trace.customdata is not None and np.ndim(trace.customdata) == 2:
        told["more_1"] = np.asarray(trace.customdata)[row, column].tolist()
    return pl.DataFrame({name: _series(name, values) for name, values in told.items()})


def _ends(error: Any, values: list[Any], side: str) -> dict[str, list[float]]:
    """Lower and upper ends of the error bars of one axis."""
    if error.array is None:
        return {}
    above = np.asarray(error.array, dtype=np.float64)
    below = above if error.arrayminus is None else np.asarray(error.arrayminus, dtype=np.float64)
    middle = np.asarray(values, dtype=np.float64)
    return {f"{side}_low": (middle - below).tolist(), f"{side}_high": (middle + above).tolist()}


def _axis(figure: go.Figure, trace: Any, side: str) -> Any:
    number = (getattr(trace, f"{side}axis", None) or side)[1:]
    return figure.layout[f"{side}axis{number}"]


def _named(axis: Any, values: list[Any]) -> list[str] | None:
    """The words nearest to each position, where the axis has words for its positions."""
    words, at = axis.ticktext, axis.tickvals
    if words is None or at is None or not any(re.search(r"[^\W\d_]{2}", str(word)) for word in words):
        return None
    ticks = np.asarray(at, dtype=np.float64)
    places = np.asarray(values, dtype=np.float64)
    return [_words(str(words[int(np.abs(ticks - place).argmin())])) for place in places]


def _more(custom: Any, n: int) -> dict[str, list[Any]]:
    """What a point tells when one points at it, a column a part."""
    if custom is None or isinstance(custom, str) or len(custom) != n:
        return {}
    lists = [list(row) if isinstance(row, list | tuple | np.ndarray) else [row] for row in custom]
    width = max(map(len, lists), default=0)
    return {f"more_{k + 1}": [row[k] if k < len(row) else None for row in lists] for k in range(width)}


def _column(values: list[Any]) -> list[Any]:
    return [_words(value) if isinstance(value, str) else value for value in values]


def _series(name: str, values: list[Any]) -> pl.Series:
    """Numbers where all are numbers, else text."""
    plain = [value.item() if isinstance(value, np.generic) else value for value in values]
    if all(value is None or isinstance(value, int | float) for value in plain):
        return pl.Series(name, [None if value is None else float(value) for value in plain], dtype=pl.Float64)
    return pl.Series(name, [None if value is None else str(value) for value in plain], dtype=pl.String)


def _words(text: str) -> str:
    """Text without Plotly's markup."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", text))).strip()
