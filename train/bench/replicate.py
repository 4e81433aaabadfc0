"""A large CLIF directory out of a small one: copies with ids of their own and noise on vitals and labs."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from ehrfm_core.clif.files import TableFiles, find_tables, scan_part

IDS = ("patient_id", "hospitalization_id", "hospitalization_joined_id")
NOISY = {"vitals": "vital_value", "labs": "lab_value_numeric"}
NOISE = 0.05  # standard deviation of the factor
PANDAS_INDEX = "__index_level_0__"  # left behind by pandas; no CLIF column


def replicate(source: Path, folder: Path, copies: int, *, seed: int = 0) -> dict[str, int]:
    """Write `copies` copies of every table of `source` as `folder/clif_NAME.parquet`; return rows a table.

    Copy k of id `x` is `x_k`, in every table alike, so joins hold within a copy and never across. What is in
    memory is one table and one copy of it. The same seed gives the same files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tables = find_tables(source)
    return {name: _table(table, folder, copies, seed) for name, table in tables.items()}


def _table(table: TableFiles, folder: Path, copies: int, seed: int) -> int:
    parts = [scan_part(part) for part in table.parts]
    original = pl.concat(parts, how="diagonal_relaxed").collect().drop(PANDAS_INDEX, strict=False)
    writer: pq.ParquetWriter | None = None
    path = folder / f"clif_{table.name}.parquet"
    try:
        for copy in range(copies):
            rows = _copy(original, table.name, copy, seed).to_arrow()
            if writer is None:
                writer = pq.ParquetWriter(path, rows.schema, compression="zstd")
            writer.write_table(rows)
    finally:
        if writer is not None:
            writer.close()
    return original.height * copies


def _copy(table: pl.DataFrame, name: str, copy: int, seed: int) -> pl.DataFrame:
    ids = [pl.col(column).cast(pl.String) + f"_{copy}" for column in IDS if column in table.columns]
    value = NOISY.get(name)
    if value is None or value not in table.columns:
        return table.with_columns(ids)
    # a stream of its own for each table and copy: neither depends on how many others are written
    rng = np.random.default_rng([seed, zlib.crc32(name.encode()), copy])
    noise = pl.Series(rng.normal(1.0, NOISE, table.height))
    return table.with_columns(*ids, pl.col(value).cast(pl.Float64, strict=False) * noise)
