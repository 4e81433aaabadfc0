"""The form of CLIF tables: ids, UTC times, text by number, rows in order. Clocks in both show UTC − 5 h."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property

import numpy as np
import polars as pl

from ehrfm_core.synthesis.charting.chart import Chart
from ehrfm_core.synthesis.hospital import EPOCH

LOCAL = timedelta(hours=5)
TIME = pl.Datetime("us", "UTC")
ID, PATIENT = "hospitalization_id", "patient_id"


def texts(codes: np.ndarray, names: Sequence[str | None]) -> pl.Series:
    """Text by number; −1 is null.

    >>> texts(np.array([1, -1]), ["a", "b"]).to_list()
    ['b', None]
    """
    found = pl.Series(list(names), dtype=pl.String)
    codes = np.asarray(codes, dtype=np.int64)
    if len(codes) and codes.min() >= 0:
        return found.gather(codes)
    known = pl.Series(codes >= 0)
    return found.gather(np.maximum(codes, 0)).zip_with(known, pl.Series([None], dtype=pl.String))


@dataclass(frozen=True, eq=False)
class Tables:
    """CLIF tables of a chart; `stay_numbers` (stays) and `patient_numbers` (patients) become its ids."""

    chart: Chart
    stay_numbers: np.ndarray
    patient_numbers: np.ndarray

    @cached_property
    def stay_ids(self) -> pl.Series:
        """hospitalization_id of each stay."""
        return pl.Series(self.stay_numbers).cast(pl.String)

    @cached_property
    def patient_ids(self) -> pl.Series:
        """patient_id of each patient."""
        return pl.Series(self.patient_numbers).cast(pl.String)

    @cached_property
    def admitted(self) -> np.ndarray:
        """Admission of each stay in minutes since EPOCH, local time."""
        return np.round(self.chart.stays.admission * 60.0).astype(np.int64)

    def time(self, stay: np.ndarray, minute: np.ndarray) -> pl.Series:
        """UTC time of minutes since the admission of a stay."""
        micros = (self.admitted[stay] + minute) * 60_000_000
        return (pl.Series(micros).cast(pl.Duration("us")) + (EPOCH + LOCAL)).cast(TIME)

    def frame(
        self,
        stay: np.ndarray,
        minute: np.ndarray,
        columns: dict[str, pl.Series | np.ndarray],
        *,
        kind: np.ndarray | None = None,
        time: str = "recorded_dttm",
        key: str = ID,
    ) -> pl.DataFrame:
        """Rows of a table in order of stay and time, one a stay, minute and `kind`; NaN becomes null."""
        kind = np.zeros(len(stay), dtype=np.int64) if kind is None else kind
        order = np.lexsort((kind, minute, stay))
        same = np.ones(max(len(order) - 1, 0), dtype=bool)
        for values in (stay, minute, kind):
            same &= values[order[1:]] == values[order[:-1]]
        order = order[np.r_[True, ~same]] if len(order) else order
        owner = stay if key == ID else self.chart.stays.patient[stay]
        ids = (self.stay_ids if key == ID else self.patient_ids).gather(owner)
        frame = pl.DataFrame({key: ids, time: self.time(stay, minute), **columns})
        numbers = [name for name, dtype in frame.schema.items() if dtype.is_float()]
        return frame[order].with_columns(pl.col(numbers).fill_nan(None))
