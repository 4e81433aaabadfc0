"""Timelines of a study as a MEDS dataset (Medical Event Data Standard 0.4)."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from ehrfm_core import __version__
from ehrfm_core.clif.tables import ID
from ehrfm_core.errors import UserError
from ehrfm_core.study import Study
from ehrfm_core.study.files import replacing, write_json
from ehrfm_core.tokens.decode import token_table

SPLITS = {"train": "train", "tuning": "tuning", "test": "held_out"}  # MEDS has names of its own
EPOCH = datetime(2000, 1, 1)  # noqa: DTZ001 - MEDS times have no zone


def export_meds(study: Study, target: Path) -> int:
    """Write the timelines of every site as MEDS into a new or empty folder; return the number of rows.

    `data/SITE.parquet` (subject_id, time, code, numeric_value), `metadata/codes.parquet`,
    `metadata/subject_splits.parquet`, `metadata/dataset.json`, and `metadata/stays.parquet`, which tells
    the stay of each subject. Every stay is a subject of its own, numbered over all sites. A study holds no
    dates: times count from 2000-01-01, the start of the stay; static tokens have no time. Codes are tokens.
    The dataset's name begins with SYNTHETIC where the study is. Raises UserError where the folder holds
    something already.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"{target} is not an empty folder; give a new one for the MEDS dataset.")
    vocabulary = study.tokenizer()["vocabulary"]
    tokens = token_table(vocabulary)
    n_static = 1 + len(study.tokenizer()["events"]["prefix"])
    subjects, rows, first = [], 0, 1
    for site in study.sites:
        stays = (
            study.site_table(site, "stays").select(ID, "split").sort(ID).with_row_index("subject_id", first)
        )
        stays = stays.with_columns(pl.col("subject_id").cast(pl.Int64), pl.lit(site).alias("site"))
        first += stays.height
        subjects.append(stays)
        flat = (
            study.site_table(site, "timelines")
            .join(stays.select(ID, "subject_id"), on=ID)
            .sort("subject_id")
            .with_columns(pl.int_ranges(pl.col("tokens").list.len()).alias("position"))
            .explode("tokens", "minutes", "position")
        )
        seconds = (pl.col("minutes") * 60).round().cast(pl.Int64)
        time = pl.lit(EPOCH) + pl.duration(seconds=seconds)
        data = flat.join(
            tokens, left_on="tokens", right_on="token_id", how="left", maintain_order="left"
        ).select(
            "subject_id",
            pl.when(pl.col("position") >= n_static).then(time).cast(pl.Datetime("us")).alias("time"),
            pl.col("token").alias("code"),
            pl.lit(None, dtype=pl.Float32).alias("numeric_value"),
        )
        rows += data.height
        _write(target / "data" / f"{site}.parquet", data)
    described = tokens.filter(~pl.col("token").is_in(["PAD"])).select(
        pl.col("token").alias("code"),
        pl.concat_str(pl.col("family"), pl.lit(" "), pl.col("name")).alias("description"),
        pl.lit(None, dtype=pl.List(pl.String)).alias("parent_codes"),
    )
    _write(target / "metadata" / "codes.parquet", described)
    people = pl.concat(subjects)
    splits = people.select("subject_id", pl.col("split").replace(SPLITS))
    _write(target / "metadata" / "subject_splits.parquet", splits)
    _write(target / "metadata" / "stays.parquet", people.select("subject_id", "site", ID))
    write_json(
        target / "metadata" / "dataset.json",
        {
            "dataset_name": ("SYNTHETIC " if study.manifest.synthetic else "") + study.folder.name,
            "etl_name": "ehrfm",
            "etl_version": __version__,
            "meds_version": "0.4.0",
        },
    )
    return rows


def _write(path: Path, frame: pl.DataFrame) -> None:
    with replacing(path) as temporary:
        # MEDS wants plain strings and lists, not the large ones of polars
        table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
        fields = [field.with_type(_small(field.type)) for field in table.schema]
        pq.write_table(table.cast(pa.schema(fields)), temporary, compression="zstd")


def _small(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_large_string(kind):
        return pa.string()
    return pa.list_(pa.string()) if pa.types.is_large_list(kind) else kind
