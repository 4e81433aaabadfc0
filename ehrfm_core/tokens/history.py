"""Several stays of one patient in a row: what came before a stay, as the model reads it.

A stay's earlier stay is the last of the patient's that had ended when it began, so that nothing is read that
was not known then. Stays that overlap are no history of each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from ehrfm_core.ragged import Ragged
from ehrfm_core.tokens.vocabulary import SPACING_FAMILY, SPACINGS

ID = "hospitalization_id"


def earlier_stays(stays: pl.DataFrame) -> pl.DataFrame:
    """For every stay the patient's stay before it, in the order of the rows given.

    `stays` has hospitalization_id, patient_id, start and end (times). Returns hospitalization_id, `place` (of
    the stay among the patient's, from 0, by start), `earlier_id` (null where no stay had ended before) and
    `gap_hours` (from its end to this start).

    >>> from datetime import datetime
    >>> day = lambda n: datetime(2020, 1, n)
    >>> stays = pl.DataFrame({"hospitalization_id": ["b", "a"], "patient_id": ["p", "p"],
    ...                       "start": [day(9), day(1)], "end": [day(12), day(8)]})
    >>> earlier_stays(stays).rows()
    [('b', 1, 'a', 24.0), ('a', 0, None, None)]
    """
    own = stays.select(ID, "patient_id", "start").sort("start", ID)
    ended = stays.select("patient_id", pl.col(ID).alias("earlier_id"), "end").sort("end", "earlier_id")
    found = own.join_asof(
        ended, left_on="start", right_on="end", by="patient_id", strategy="backward", check_sortedness=False
    ).with_columns(
        pl.int_range(pl.len(), dtype=pl.Int32).over("patient_id", order_by=["start", ID]).alias("place"),
        ((pl.col("start") - pl.col("end")).dt.total_microseconds() / 3.6e9).alias("gap_hours"),
        # a stay that ends as it begins had not ended before
        pl.when(pl.col("earlier_id") != pl.col(ID)).then("earlier_id").alias("earlier_id"),
    )
    found = found.with_columns(pl.when(pl.col("earlier_id").is_not_null()).then("gap_hours"))
    return stays.select(ID).join(
        found.select(ID, "place", "earlier_id", "gap_hours"), on=ID, how="left", maintain_order="left"
    )


@dataclass(frozen=True, eq=False)
class Chains:
    """The n stays of a site put one after another, each after its earlier stay.

    `order` (n): their rows, chain by chain; `begins` (n, in that order): where a chain begins, since there is
    no earlier stay or another one already goes on from it (of two that overlap); `before` (n, by row): the
    row of the earlier stay, or −1; `gap` (n, by row): the id of the token for the time between, or −1.
    """

    order: np.ndarray
    begins: np.ndarray
    before: np.ndarray
    gap: np.ndarray

    @classmethod
    def of(cls, earlier: pl.DataFrame, vocabulary: dict[str, int]) -> Chains:
        """From the table of `earlier_stays`; gaps where the vocabulary has tokens for them."""
        ids = earlier.select(ID, pl.int_range(pl.len(), dtype=pl.Int64).alias("row"))
        before = earlier.join(
            ids.rename({ID: "earlier_id"}), on="earlier_id", how="left", maintain_order="left"
        )["row"].fill_null(-1)
        place, rows = earlier["place"].to_numpy(), before.to_numpy()
        by_place = np.lexsort([place, rows])
        first = np.zeros(
            len(rows), dtype=bool
        )  # of those that share an earlier stay, the first goes on from it
        first[by_place[np.flatnonzero(np.diff(rows[by_place], prepend=-2))]] = True
        head = np.where(first & (rows >= 0), rows, np.arange(len(rows)))
        begins = head == np.arange(len(rows))
        while np.any(head != head[head]):
            head = head[head]
        order = np.lexsort([place, head])
        return cls(order, begins[order], rows, _gap_tokens(earlier["gap_hours"], vocabulary))

    def joined(self, timelines: Ragged, part: slice = slice(None)) -> Ragged:
        """The timelines (by row) in `order`, or a part of it, each after the token for the gap before it."""
        order = self.order[part]
        gap = np.where(self.begins[part], -1, self.gap[order])
        return _one_each(gap, timelines.values.dtype).joined(timelines.take(order))

    def places(self, joined: Ragged, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where each stay's own tokens (n, by row, of `lengths`) and its chain begin in `joined`."""
        first = np.flatnonzero(self.begins)
        chain_begin = joined.offsets[first[np.cumsum(self.begins) - 1]] if len(first) else first
        own, chain = (np.empty(len(self.order), dtype=np.int64) for _ in range(2))
        own[self.order] = joined.offsets[1:] - lengths[self.order]
        chain[self.order] = chain_begin
        return own, chain

    def contexts(self, timelines: Ragged, room: int) -> Ragged:
        """The last tokens before each stay (n lists, by row), at most `room` of them.

        They end with the end of the earlier stay and the token for the gap since; in front of it stand the
        stays of its chain as far as there is room. Empty for a stay without an earlier one.
        """
        joined = self.joined(timelines)
        own, chain = self.places(joined, timelines.lengths)
        has = self.before >= 0
        before = np.where(has, self.before, 0) if len(has) else self.before
        gap = np.where(has, self.gap, -1)
        end = (own + timelines.lengths)[before]
        begin = np.maximum(chain[before], end - (room - (gap >= 0)))
        return joined.cut(np.where(has, begin, end), end).joined(_one_each(gap, timelines.values.dtype))


def _one_each(tokens: np.ndarray, dtype: np.dtype) -> Ragged:
    """A list of one token each; empty where it is −1."""
    there = tokens >= 0
    return Ragged.from_lengths(tokens[there].astype(dtype), there.astype(np.int64))


def _gap_tokens(hours: pl.Series, vocabulary: dict[str, int]) -> np.ndarray:
    """The spacing token of each gap; −1 where there is none, it is short or the study has no such tokens."""
    ids = np.array([vocabulary.get(f"{SPACING_FAMILY}/{name}", -1) for name in SPACINGS] + [-1])
    seconds = hours.fill_null(-1.0).to_numpy() * 3600
    return ids[np.searchsorted(list(SPACINGS.values()), seconds, side="right") - 1]
