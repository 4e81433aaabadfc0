"""CLIF directories whose every record is known."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import polars as pl

from tests.make_clif import BEGIN, ID, Tables, write_tables

Record = tuple[str, float, str, float | None]
"""Stay, hours since its admission, category, value."""


def make_records(
    folder: Path,
    stays: list[str],
    *,
    vitals: Sequence[Record] | None = None,
    labs: Sequence[Record] | None = None,
    moves: Sequence[tuple[str, float, str]] | None = None,
    hours: dict[str, float] | None = None,
) -> Path:
    """A directory with the given stays, named patient-number, of 200 h (or `hours`), admitted at one time.

    Labs are drawn at their hour and result two hours later. A table that is None is not there.
    """
    length = [BEGIN + timedelta(hours=(hours or {}).get(stay, 200.0)) for stay in stays]
    patients = sorted({stay.split("-")[0] for stay in stays})
    tables: Tables = {
        "patient": pl.DataFrame(
            {
                "patient_id": patients,
                "race_category": "White",
                "ethnicity_category": "Non-Hispanic",
                "sex_category": "Female",
            }
        ),
        "hospitalization": pl.DataFrame(
            {
                "patient_id": [stay.split("-")[0] for stay in stays],
                ID: stays,
                "admission_dttm": BEGIN,
                "discharge_dttm": length,
                "age_at_admission": 50,
                "admission_type_category": "ed",
                "discharge_category": "Home",
            }
        ),
    }
    if vitals is not None:
        tables["vitals"] = _timed(vitals, "recorded_dttm", "vital_category", "vital_value")
    if labs is not None:
        table = _timed(labs, "lab_collect_dttm", "lab_category", "lab_value_numeric")
        later = (pl.col("lab_collect_dttm") + pl.duration(hours=2)).alias("lab_result_dttm")
        tables["labs"] = table.with_columns(later)
    if moves is not None:
        table = _timed([(*move, None) for move in moves], "in_dttm", "location_category", "nothing")
        tables["adt"] = table.drop("nothing")
    return write_tables(tables, folder)


def _timed(records: Sequence[Record], time: str, code: str, value: str) -> pl.DataFrame:
    schema = {ID: pl.String, time: pl.Float64, code: pl.String, value: pl.Float64}
    frame = pl.DataFrame(records, schema=schema, orient="row")
    micros = (pl.col(time) * 3.6e9).round().cast(pl.Int64).cast(pl.Duration("us"))
    return frame.with_columns((pl.lit(BEGIN) + micros).alias(time))
