"""The examples in the dashboard's docstrings (its pages draw on import, so pytest does not collect them)."""

from __future__ import annotations

import doctest
import importlib

import pytest

MODULES = (
    "arms",
    "charts.paths",
    "charts.patient",
    "cohort_tables",
    "cohort_words",
    "navigation",
    "population",
    "quality",
    "run_cards",
    "runs",
    "runs_compared",
    "stamp",
    "theme",
    "ui",
)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_hold(name: str) -> None:
    result = doctest.testmod(importlib.import_module(f"dashboard.{name}"))
    assert result.attempted
    assert not result.failed
