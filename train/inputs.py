"""The files of a site that is read: their hashes, and which of them is damaged."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from ehrfm_core.clif.files import TableFiles, scan_part
from ehrfm_core.clif.tables import ClifDirectory
from ehrfm_core.sources.meds import MedsDirectory
from ehrfm_core.study.files import sha256

# a damaged file can break polars in its core, past its exceptions
BROKEN = (pl.exceptions.PolarsError, pl.exceptions.PanicException)


def _parts(directory: ClifDirectory | MedsDirectory) -> dict[str, tuple[Path, ...]]:
    if isinstance(directory, MedsDirectory):
        return {"data": directory.parts}
    return {name: table.parts for name, table in directory.tables.items()}


def hashes_of(
    directory: ClifDirectory | MedsDirectory, more: Mapping[str, TableFiles] | None = None
) -> dict[str, Any]:
    """Hash of each table that is read, and of `more`; of its parts where there are several."""
    hashes: dict[str, Any] = {f"table of {name}": sha256(table.path) for name, table in (more or {}).items()}
    for name, parts in _parts(directory).items():
        found = [sha256(part) for part in parts]
        hashes[name] = found[0] if len(found) == 1 else found
    if isinstance(directory, MedsDirectory):
        hashes["roles"] = {role: list(codes) for role, codes in directory.roles.items()}
    return hashes


def unreadable(directory: ClifDirectory | MedsDirectory, error: BaseException) -> str:
    """Which file it was that could not be read, and why, on one line."""
    reason = str(error).splitlines()[0][:120]
    for parts in _parts(directory).values():
        for part in parts:
            try:
                scan_part(part).collect()
            except (*BROKEN, OSError):
                return f"{part} cannot be read to its end ({reason}); export the table again."
    return f"{directory.folder}: a table cannot be read ({reason}); export the tables again."
