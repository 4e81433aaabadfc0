"""How tables that no patient stands behind are told from others."""

from __future__ import annotations

from pathlib import Path

MARK = "synthetic.json"


def is_synthetic(folder: Path) -> bool:
    """Whether a folder of CLIF tables was written by `write.synthesize`.

    >>> is_synthetic(Path("nowhere"))
    False
    """
    return (folder / MARK).is_file()
