"""Token ids of a split as memory-mapped arrays, so that training on a billion tokens costs no memory."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from ehrfm_core.ragged import Ragged
from ehrfm_core.study.layout import site_file
from ehrfm_core.study.reader import Study

ROWS_AT_A_TIME = 4096


def write_token_arrays(study: Study, site: str, splits: tuple[str, ...], folder: Path) -> None:
    """Write the timelines of each split, in the order of the site's table, to `folder`/SPLIT.

    Each holds tokens.npy (uint16, or uint32 for a large vocabulary) and offsets.npy (int64, one more than
    there are timelines). A few thousand timelines are held at a time.
    """
    shutil.rmtree(folder, ignore_errors=True)
    stays = study.site_table(site, "stays").select("hospitalization_id", "split")
    highest = max(study.tokenizer()["vocabulary"].values())
    dtype = np.uint16 if highest <= np.iinfo(np.uint16).max else np.uint32
    lengths: dict[str, list[np.ndarray]] = {split: [] for split in splits}
    folder.mkdir(parents=True)
    files = {split: (folder / f"{split}.raw").open("wb") for split in splits}
    try:
        with pq.ParquetFile(study.folder / site_file(site, "timelines")) as table:
            columns = ["hospitalization_id", "tokens"]
            for batch in table.iter_batches(batch_size=ROWS_AT_A_TIME, columns=columns):
                frame = pl.DataFrame(batch).join(
                    stays, on="hospitalization_id", how="left", maintain_order="left"
                )
                for split in splits:
                    tokens = frame.filter(pl.col("split") == split)["tokens"]
                    lengths[split].append(tokens.list.len().fill_null(0).to_numpy().astype(np.int64))
                    flat = tokens.explode(empty_as_null=False, keep_nulls=False)
                    files[split].write(flat.to_numpy().astype(dtype).tobytes())
    finally:
        for file in files.values():
            file.close()
    for split in splits:
        (folder / split).mkdir()
        found = np.concatenate(lengths[split] or [np.zeros(0, dtype=np.int64)])
        np.save(folder / split / "offsets.npy", np.concatenate([[0], np.cumsum(found)]).astype(np.int64))
        _to_npy(folder / f"{split}.raw", folder / split / "tokens.npy", int(found.sum()), dtype)


def read_token_arrays(folder: Path, split: str) -> Ragged:
    """The timelines of a split, their tokens mapped from the disk and not read.

    Needs numpy alone.
    """
    tokens = np.load(folder / split / "tokens.npy", mmap_mode="r")
    return Ragged(tokens, np.load(folder / split / "offsets.npy"))


def _to_npy(raw: Path, path: Path, count: int, dtype: type) -> None:
    """Put numpy's header before raw values, without holding them."""
    with path.open("wb") as out:
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False}
        np.lib.format.write_array_header_1_0(out, header | {"shape": (count,)})
        with raw.open("rb") as source:
            shutil.copyfileobj(source, out, 1 << 24)
    raw.unlink()
