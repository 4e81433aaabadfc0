"""Write files so that nobody ever reads half of one; fingerprint them."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
from polars.io.plugins import register_io_source

from ehrfm_core import strict_json
from ehrfm_core.errors import UserError, brief
from ehrfm_core.study.layout import Schema

ROWS_AT_A_TIME = 4096  # of a table written piece by piece
MOST_HASHES = 100_000  # kept in memory
STILL_WARM_NS = 2_000_000_000  # a file that is written again so soon may keep its time
_HASHES: dict[tuple[str, int, int, int], str] = {}
LARGEST_JSON = 200_000_000  # bytes


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block succeeds.

    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "a.txt"
    >>> with replacing(target) as temporary:
    ...     _ = temporary.write_text("whole")
    >>> target.read_text()
    'whole'

    Raises OSError with the number and the file's name where the disk refuses, whichever library met it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.partial")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if refused := _refused_by_disk(error):
            raise OSError(*refused, str(path)) from None
        raise


def _refused_by_disk(error: BaseException) -> tuple[int, str] | None:
    """Number and words of an error of writing, which polars and safetensors tell in their own."""
    if isinstance(error, OSError) and error.errno and error.filename is None:
        return error.errno, os.strerror(error.errno)
    if isinstance(error, (OSError, UserError)):
        return None
    if told := re.search(r"\(os error (\d+)\)", str(error)):
        return int(told[1]), os.strerror(int(told[1]))
    if "thrift: transport error" in str(
        error
    ):  # of the last bytes of a parquet file, polars does not say why
        return errno.EIO, "The file cannot be written to its end, the disk may be full"
    return None


def write_json(path: Path, value: Any, *, lasting: bool = False) -> None:
    """Write JSON a person can read: indented, keys in the order given.

    With `lasting` it outlives a loss of power once this has returned.
    """
    with replacing(path) as temporary:
        text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")
        if lasting:
            flush(temporary)
    if lasting:
        flush(path.parent)


def read_json(path: Path) -> Any:
    """Read JSON; a missing or broken file (see `strict_json`) is a UserError that names it."""
    try:
        if (size := path.stat().st_size) > LARGEST_JSON:
            raise ValueError(f"{size:,} bytes, {LARGEST_JSON:,} at most")
        return strict_json.parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run `python -m train study` again to make it.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); mend this and run again.") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not readable JSON ({brief(error)}); delete it and run again.") from None


def write_table(path: Path, frame: pl.DataFrame, schema: Schema, *, few_values: Sequence[str] = ()) -> None:
    """Write a parquet file after casting `frame` to `schema` (further columns are kept as they are).

    `few_values` names list columns whose numbers repeat: they are written as numbers of a dictionary, half
    the bytes, which polars itself does not do within lists.
    """
    missing = [column for column in schema if column not in frame.columns]
    assert not missing, f"{path.name}: columns {missing} were not computed"
    frame = frame.with_columns(pl.col(column).cast(dtype) for column, dtype in schema.items())
    with replacing(path) as temporary:
        if not few_values:
            frame.write_parquet(temporary, compression="zstd")
            return
        from pyarrow import parquet  # the dashboard only reads

        lists = [name for name, dtype in schema.items() if dtype == pl.List(pl.Float32)]
        parquet.write_table(
            frame.to_arrow(),
            temporary,
            compression="zstd",
            use_dictionary=[f"{name}.list.element" for name in few_values],
            column_encoding={
                f"{name}.list.element": "BYTE_STREAM_SPLIT" for name in lists if name not in few_values
            },
        )


def write_parts(path: Path, frames: Iterable[pl.DataFrame], schema: Schema) -> None:
    """Write frames one after another into one parquet file; a few thousand rows are held at a time."""

    def source(columns: list[str] | None, *_: Any) -> Iterator[pl.DataFrame]:
        for frame in frames:
            yield frame if columns is None else frame.select(columns)

    with replacing(path) as temporary:
        lazy = register_io_source(source, schema=pl.Schema(schema), validate_schema=True)
        lazy.sink_parquet(temporary, compression="zstd", row_group_size=ROWS_AT_A_TIME, maintain_order=True)


def flush(path: Path) -> None:
    """Have the disk hold what was written to a file, or the names in a folder, before anything after it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # a disk that cannot be told to
            raise
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def known_sha256(path: Path) -> str:
    """As `sha256`, but a file that has not changed since it was last hashed is not read again."""
    stat = path.stat()
    seen = (str(path), stat.st_ino, stat.st_size, stat.st_mtime_ns)
    if seen not in _HASHES:
        found = sha256(path)
        if time.time_ns() - stat.st_mtime_ns < STILL_WARM_NS:
            return found
        if len(_HASHES) >= MOST_HASHES:
            _HASHES.clear()
        _HASHES[seen] = found
    return _HASHES[seen]


def fingerprint(value: Any) -> str:
    """Hex digest of a JSON value, independent of the order of keys.

    >>> fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
