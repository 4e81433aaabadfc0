"""Categories as integers: each distinct text is cleaned, compared and numbered once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl

from ehrfm_core.clif.columns import category
from ehrfm_core.clif.event_map import Filter

NOT_MET = -(2**62)


class Lookup:
    """Turns the physical numbers of a categorical column into integers, each category resolved once.

    `resolve` gets the texts of categories not met before and gives an integer for each; `empty` is that of
    null.
    """

    def __init__(self, resolve: Callable[[list[str]], list[int]], *, empty: int) -> None:
        self._resolve, self._empty = resolve, empty
        self._known = np.empty(0, dtype=np.int64)

    def __call__(self, column: pl.Series) -> np.ndarray:
        """Integers of a categorical column (n)."""
        physical = column.to_physical()
        if physical.null_count():
            result = np.full(len(column), self._empty, dtype=np.int64)
            filled = physical.is_not_null().to_numpy()
            result[filled] = self(column.drop_nulls())
            return result
        numbers = physical.to_numpy()
        if not len(numbers):
            return np.empty(0, dtype=np.int64)
        if int(numbers.max()) >= len(self._known):
            more = np.full(int(numbers.max()) + 1 - len(self._known), NOT_MET)
            self._known = np.concatenate([self._known, more])
        result = self._known[numbers]
        if result.min() == NOT_MET:
            fresh = np.unique(numbers[result == NOT_MET])
            rows = [int(np.argmax(numbers == number)) for number in fresh]
            self._known[fresh] = self._resolve(column.gather(rows).cast(pl.String).to_list())
            result = self._known[numbers]
        return result


def cleaned(texts: list[str], table: str, column: str) -> list[str | None]:
    """Texts of a column in CLIF 3.0's spelling; None for an empty one."""
    frame = pl.DataFrame({"text": texts}, schema={"text": pl.String})
    return frame.select(category(pl.col("text"), table, column)).to_series().to_list()


def passing(test: Filter, table: str) -> Callable[[list[str]], list[int]]:
    """A function that tells for texts of a column whether they pass a categorical filter."""
    named = test.operand if isinstance(test.operand, list) else [str(test.operand)]
    operand = set(cleaned(named, table, test.column))

    def resolve(texts: list[str]) -> list[int]:
        spelled = cleaned(texts, table, test.column)
        if test.kind == "present":
            return [int((text is not None) == test.operand) for text in spelled]
        if test.kind == "none_of":
            return [int(text not in operand) for text in spelled]
        return [int(text in operand) for text in spelled]

    return resolve


def passes_empty(test: Filter) -> bool:
    """Whether a row without a value passes a filter."""
    return test.kind == "none_of" or (test.kind == "present" and not test.operand)
