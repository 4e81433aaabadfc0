"""Words for rows, made where they cannot stop the server."""

from __future__ import annotations

import doctest
from pathlib import Path

import dashboard
import ehrfm_core
from dashboard import each_row


def test_the_example_holds() -> None:
    assert doctest.testmod(each_row).failed == 0


def test_no_python_runs_in_the_threads_of_polars() -> None:
    """It stopped the server with 25 visitors: see `each_row`."""
    screen = list(Path(dashboard.__file__).parent.rglob("*.py"))
    core = [path for path in Path(ehrfm_core.__file__).parent.rglob("*.py") if "clif" not in path.parts]
    callers = [
        path.name
        for path in (*screen, *core)
        if any(f".{name}(" in path.read_text() for name in ("map_elements", "map_batches", "map_groups"))
    ]
    assert callers == []
