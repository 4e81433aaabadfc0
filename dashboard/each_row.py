"""A Python function on each row of a table, in this thread.

`map_elements` runs it in polars' own threads. There it waits for the interpreter, which another visitor's
thread may hold while it waits for polars' threads: the server would stand still for good.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl


def each_row(frame: pl.DataFrame, told: Callable[..., str | None], *columns: str) -> pl.Series:
    """`told` of the values of `columns`, row by row, as a column of text.

    >>> each_row(pl.DataFrame({"n": [1, 2]}), lambda n: n * "a", "n").to_list()
    ['a', 'aa']
    """
    rows: list[tuple[Any, ...]] = frame.select(columns).rows()
    known = {row: told(*row) for row in dict.fromkeys(rows)}
    return pl.Series([known[row] for row in rows], dtype=pl.String)
