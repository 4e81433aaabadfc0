"""Token ids of a split as memory-mapped arrays, so that training on a billion tokens costs no memory."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from ehrfm_core.ragged import Ragged
from ehrfm_core.study.files import replacing
from ehrfm_core.study.layout import site_file
from ehrfm_core.study.reader import Study
from ehrfm_core.tokens.history import ID, Chains
from ehrfm_core.tokens.tokenizer import Tokenizer

ROWS_AT_A_TIME = 4096


def write_token_arrays(study: Study, site: str, splits: tuple[str, ...], folder: Path) -> None:
    """Write the timelines of each split, in the order of the site's table, to `folder`/SPLIT.

    Each holds tokens.npy (uint16, or uint32 for a large vocabulary) and offsets.npy (int64, one more than
    there are timelines). A few thousand timelines are held at a time. In a study with `history`, stays of a
    patient that follow each other are one timeline.
    """
    shutil.rmtree(folder, ignore_errors=True)
    stays = study.site_table(site, "stays").select(ID, "split")
    tokenizer = Tokenizer.from_json(study.tokenizer())
    highest = max(tokenizer.vocabulary.values())
    dtype = np.uint16 if highest <= np.iinfo(np.uint16).max else np.uint32
    lengths: dict[str, list[np.ndarray]] = {split: [] for split in splits}
    ids: dict[str, list[pl.Series]] = {split: [pl.Series(ID, [], dtype=pl.String)] for split in splits}
    folder.mkdir(parents=True)
    files = {split: (folder / f"{split}.raw").open("wb") for split in splits}
    try:
        with pq.ParquetFile(study.file(site_file(site, "timelines"))) as table:
            for batch in table.iter_batches(batch_size=ROWS_AT_A_TIME, columns=[ID, "tokens"]):
                frame = pl.DataFrame(batch).join(stays, on=ID, how="left", maintain_order="left")
                for split in splits:
                    own = frame.filter(pl.col("split") == split)
                    ids[split].append(own[ID])
                    tokens = own["tokens"]
                    lengths[split].append(tokens.list.len().fill_null(0).to_numpy().astype(np.int64))
                    flat = tokens.explode(empty_as_null=False, keep_nulls=False)
                    files[split].write(flat.to_numpy().astype(dtype).tobytes())
    finally:
        for file in files.values():
            file.close()
    for split in splits:
        (folder / split).mkdir()
        found = np.concatenate(lengths[split] or [np.zeros(0, dtype=np.int64)])
        raw = folder / f"{split}.raw"
        if tokenizer.settings.history and len(found):
            earlier = pl.DataFrame(pl.concat(ids[split])).join(
                study.site_table(site, "earlier"), on=ID, how="left", maintain_order="left"
            )
            found = _in_chains(raw, found, Chains.of(earlier, tokenizer.vocabulary), dtype)
        np.save(folder / split / "offsets.npy", np.concatenate([[0], np.cumsum(found)]).astype(np.int64))
        _to_npy(raw, folder / split / "tokens.npy", int(found.sum()), dtype)


def read_token_arrays(folder: Path, split: str) -> Ragged:
    """The timelines of a split, their tokens mapped from the disk and not read.

    Needs numpy alone.
    """
    tokens = np.load(folder / split / "tokens.npy", mmap_mode="r")
    return Ragged(tokens, np.load(folder / split / "offsets.npy"))


def _in_chains(raw: Path, lengths: np.ndarray, chains: Chains, dtype: type) -> np.ndarray:
    """Write the timelines of `raw` anew, chain by chain; the length of each chain."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    whole = Ragged(np.memmap(raw, dtype=dtype, mode="r") if offsets[-1] else np.zeros(0, dtype), offsets)
    found = []
    with replacing(raw) as temporary, temporary.open("wb") as out:
        for begin in range(0, len(chains.order), ROWS_AT_A_TIME):
            joined = chains.joined(whole, slice(begin, begin + ROWS_AT_A_TIME))
            found.append(joined.lengths)
            out.write(joined.values.astype(dtype).tobytes())
    return np.add.reduceat(np.concatenate(found), np.flatnonzero(chains.begins))


def _to_npy(raw: Path, path: Path, count: int, dtype: type) -> None:
    """Put numpy's header before raw values, without holding them."""
    with path.open("wb") as out:
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False}
        np.lib.format.write_array_header_1_0(out, header | {"shape": (count,)})
        with raw.open("rb") as source:
            shutil.copyfileobj(source, out, 1 << 24)
    raw.unlink()
