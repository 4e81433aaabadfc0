"""Records of one category out of a CLIF directory, each with its stay, hour and place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import polars as pl

from ehrfm_core.clif.columns import category
from ehrfm_core.clif.event_map import load_map
from ehrfm_core.clif.tables import ID, ClifDirectory, open_directory
from ehrfm_core.cohort import read_hospitalizations
from ehrfm_core.outcomes import WINDOW_HOURS

HOUR = 3_600_000_000  # µs
PLACES = ("icu", "ward")  # the other locations count with neither
TABLES = {  # times in the order of preference, category, value
    "vitals": (("recorded_dttm",), "vital_category", "vital_value"),
    "labs": (("lab_collect_dttm", "lab_result_dttm", "lab_order_dttm"), "lab_category", "lab_value_numeric"),
    "patient_assessments": (("recorded_dttm",), "assessment_category", "numerical_value"),
}


class Category(NamedTuple):
    """What is recorded: the table and the category in CLIF 3.0's spelling."""

    table: str
    name: str


@dataclass(frozen=True)
class Records:
    """What a hospital recorded: a CLIF directory opened for comparison.

    `stays`: adults with at least 24 h, numbered (stay, hospitalization_id, patient_id, admission in UTC).
    `moves`: where a stay is from which hour on (stay, hours since admission, place), sorted.
    `spellings`: by table, how many rows each category has (name, raw as the hospital writes it, n).
    """

    directory: ClifDirectory
    stays: pl.DataFrame
    moves: pl.DataFrame
    spellings: dict[str, pl.DataFrame]

    def commonest(self, table: str, most: int | None = None) -> list[Category]:
        """Categories of a table, the one with most rows first."""
        counts = self.spellings[table].group_by("name").agg(pl.col("n").sum())
        names = counts.sort("n", "name", descending=[True, False])["name"].head(most or counts.height)
        return [Category(table, name) for name in names]

    def read(self, wanted: Category) -> pl.DataFrame:
        """Records of one category in stays of the cohort, sorted by stay and time; no row where it has none.

        Columns: stay, hours since admission, value (null where it is no number), place (icu, ward, another
        location, or null before the first). A lab counts when it was drawn, or else resulted or ordered.
        """
        table, name = wanted
        _, code, value = TABLES[table]
        raw = self.spellings[table].filter(pl.col("name") == name)["raw"].to_list()
        if not raw:
            return pl.DataFrame(schema=COLUMNS)
        time = self._time(table)
        records = (
            self.directory.scan(table, times=(time,), numbers=(value,), others=(ID, code))
            .filter(pl.col(code).is_in(raw))
            .join(self._keys(), on=ID)
            .select(
                "stay",
                _hours(time),
                pl.when(pl.col(value).is_finite()).then(pl.col(value)).alias("value"),
            )
            .drop_nulls("hours")
            .collect(engine="streaming")
            .sort("stay", "hours")
        )
        placed = records.join_asof(self.moves, on="hours", by="stay", check_sortedness=False)
        return placed.select(*COLUMNS).cast(COLUMNS)  # type: ignore[arg-type]

    def charted_early(self, table: str) -> pl.Series:
        """Numbers of the stays that have any record of a table within 24 h of admission, to either side."""
        if table not in self.directory:
            return pl.Series("stay", [], dtype=pl.UInt32)
        time = self._time(table)
        return (
            self.directory.scan(table, times=(time,), others=(ID,))
            .join(self._keys(), on=ID)
            .select("stay", _hours(time))
            .filter(pl.col("hours").abs() <= WINDOW_HOURS)
            .select(pl.col("stay").unique())
            .collect(engine="streaming")["stay"]
        )

    def _keys(self) -> pl.LazyFrame:
        return self.stays.lazy().select(ID, "stay", "admission")

    def _time(self, table: str) -> str:
        times = TABLES[table][0]
        return next((time for time in times if self.directory.has(table, time)), times[0])


COLUMNS = {"stay": pl.UInt32, "hours": pl.Float64, "value": pl.Float64, "place": pl.String}


def open_records(folder: Path) -> Records:
    """Open a CLIF directory. Raises UserError where it is none or has no stay of an adult of 24 h or more."""
    event_map = load_map("paper")
    directory = open_directory(folder, event_map)
    stays, _, _ = read_hospitalizations(directory, event_map)
    stays = stays.select(ID, "patient_id", "admission").with_row_index("stay")
    spellings = {table: _spellings(directory, table) for table in TABLES}
    return Records(directory, stays, _moves(directory, stays), spellings)


def _spellings(directory: ClifDirectory, table: str) -> pl.DataFrame:
    code = TABLES[table][1]
    empty = pl.DataFrame(schema={"raw": pl.String, "n": pl.UInt32})
    counts = (
        directory.scan(table, others=(code,))
        .group_by(pl.col(code).alias("raw"))
        .agg(pl.len().alias("n"))
        .collect(engine="streaming")
        if table in directory
        else empty
    )
    return counts.with_columns(category(pl.col("raw"), table, code).alias("name")).drop_nulls("name")


def _moves(directory: ClifDirectory, stays: pl.DataFrame) -> pl.DataFrame:
    if "adt" not in directory:
        return pl.DataFrame(schema={key: COLUMNS[key] for key in ("stay", "hours", "place")})
    return (
        directory.scan("adt", times=("in_dttm",), others=(ID, "location_category"))
        .join(stays.lazy().select(ID, "stay", "admission"), on=ID)
        .select(
            "stay",
            _hours("in_dttm"),
            category(pl.col("location_category"), "adt", "location_category").alias("place"),
        )
        .drop_nulls()
        .collect(engine="streaming")
        .sort("stay", "hours", "place")
    )


def _hours(time: str) -> pl.Expr:
    """Hours since admission."""
    return ((pl.col(time) - pl.col("admission")).dt.total_microseconds() / HOUR).alias("hours")
