"""Where the tables of a CLIF directory lie: parquet or csv(.gz), one file or a folder of parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import polars as pl

from ehrfm_core.clif.columns import clifpy_file
from ehrfm_core.errors import UserError, brief
from ehrfm_core.parquet_size import check_size

SUFFIXES = (".parquet", ".csv.gz", ".csv")
PREFIX = "clif_"


@dataclass(frozen=True)
class TableFiles:
    """A table on disk: its name (`labs`), the path to name to the user, and its files in order of name."""

    name: str
    path: Path
    parts: tuple[Path, ...]


def find_tables(folder: Path, problems: list[str] | None = None) -> dict[str, TableFiles]:
    """The tables of a CLIF directory by name; the case of file names does not matter.

    A table `labs` is `clif_labs.parquet`, `clif_labs.csv`, `clif_labs.csv.gz`, or a folder of such parts,
    `clif_labs` or `clif_labs.parquet`. Raises UserError where the folder is missing, a table lies there
    twice, or a folder of parts is empty or mixed; with a list of `problems` such a table is left out and what
    is wrong with it is added to the list.
    """
    if not folder.is_dir():
        raise UserError(
            f"{folder} does not exist or is not a folder; give the folder of a site's CLIF tables."
        )
    found: dict[str, TableFiles] = {}
    for path in sorted(folder.iterdir()):
        suffix = _suffix(path)
        if not path.name.lower().startswith(PREFIX) or (suffix is None and not path.is_dir()):
            continue
        name = path.name.lower().removeprefix(PREFIX).removesuffix(suffix or "")
        try:
            if name in found:
                raise UserError(
                    f"{folder} holds the table {name} twice, as {found[name].path.name} and as {path.name}; "
                    "leave one of them."
                )
            parts = _parts(path) if path.is_dir() else (path,)
            if parts:
                found[name] = TableFiles(name, path, parts)
            elif name in clif_tables():  # clif_figures is a folder of somebody's figures
                raise UserError(f"{path} is a folder without a parquet or csv file; export the table again.")
        except UserError as error:
            if problems is None:
                raise
            problems.append(str(error))
    return found


@cache
def clif_tables() -> frozenset[str]:
    """Names of the tables of CLIF 2.1 and 3.0, those that clifpy has a schema of."""
    folders = (clifpy_file(f"schemas/{version}") for version in ("2.1", "3.0"))
    end = "_schema.yaml"
    return frozenset(path.name.removesuffix(end) for folder in folders for path in folder.glob(f"*{end}"))


def _suffix(path: Path) -> str | None:
    return next((suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)), None)


def _parts(folder: Path) -> tuple[Path, ...]:
    hidden = ("_", ".")  # _SUCCESS and the like, written by other tools
    parts = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and _suffix(path) and not path.name.startswith(hidden)
    )
    if len({_suffix(part) == ".parquet" for part in parts}) > 1:
        raise UserError(f"{folder} mixes parquet and csv parts; keep the parts of one kind.")
    return tuple(parts)


def scan_part(part: Path) -> pl.LazyFrame:
    """One file as it is. Csv columns are all text, so that ids keep their leading zeros.

    Raises UserError where the file cannot be read.
    """
    try:
        if _suffix(part) == ".parquet":
            check_size(part)
            frame = pl.scan_parquet(part, hive_partitioning=False, glob=False)
        else:
            frame = pl.scan_csv(part, infer_schema=False, encoding="utf8-lossy", glob=False)
        frame.collect_schema()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        kind = "parquet" if _suffix(part) == ".parquet" else "csv"
        raise UserError(
            f"{part} is not readable as {kind} ({brief(error, 100)}); export the table again."
        ) from None
    return frame


@contextmanager
def readable(path: Path, parts: Sequence[Path] = ()) -> Iterator[None]:
    """Turn what polars raises over the rows of a table into a UserError that names the table.

    A header can be in order and a row not; a damaged file can break polars in its own core, past its
    exceptions. Where several files are read, it is that of `parts` which cannot be read by itself.
    """
    broken = (pl.exceptions.PolarsError, pl.exceptions.PanicException)
    try:
        yield
    except broken as error:
        for part in parts:
            try:
                scan_part(part).collect()
            except (*broken, UserError):
                path = part
                break
        raise UserError(
            f"{path} cannot be read to its end ({brief(error)}); export the table again."
        ) from None


def schema_of(table: TableFiles) -> dict[str, pl.DataType]:
    """Columns of a table with the type that the first part which has one gives them."""
    columns: dict[str, pl.DataType] = {}
    for part in table.parts:
        for column, dtype in scan_part(part).collect_schema().items():
            if columns.get(column, pl.Null()) == pl.Null:  # an empty part, as pandas writes it, has no types
                columns[column] = dtype
    return columns
