"""The hashes of the files of a site that is read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ehrfm_core.clif.files import TableFiles
from ehrfm_core.clif.tables import ClifDirectory
from ehrfm_core.sources.meds import MedsDirectory
from ehrfm_core.study.files import sha256


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
