"""A few stays of a CLIF directory, to look at and to try things on."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl

from ehrfm_core.clif.files import find_tables, scan_part
from ehrfm_core.errors import UserError
from ehrfm_core.study.files import replacing
from ehrfm_core.synthesis.mark import MARK
from ehrfm_core.synthesis.tables import ID, PATIENT


def excerpt(source: Path, target: Path, *, stays: int) -> dict[str, int]:
    """Write the first `stays` stays (by patient and id) of `source` into `target`; return rows by table.

    Every table keeps the rows of these stays, or, where it knows patients alone, of their patients. What
    marks a synthetic hospital is copied. Raises UserError where `target` holds anything.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"{target} is not empty; give a new folder for the excerpt.")
    tables = find_tables(source)
    everyone = pl.concat([scan_part(part) for part in tables["hospitalization"].parts])
    kept = everyone.select(PATIENT, ID).sort(PATIENT, ID).head(stays).collect()
    rows = {}
    for name, files in tables.items():
        frame = pl.concat([scan_part(part) for part in files.parts])
        key = ID if ID in frame.collect_schema() else PATIENT
        part = frame.join(
            kept.select(key).unique().lazy(), on=key, how="semi", maintain_order="left"
        ).collect()
        with replacing(target / f"clif_{name}.parquet") as temporary:
            part.write_parquet(temporary, compression="zstd")
        rows[name] = part.height
    if (source / MARK).is_file():
        shutil.copyfile(source / MARK, target / MARK)
    return rows
