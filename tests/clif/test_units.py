from __future__ import annotations

import logging

import pytest

from ehrfm_core.clif.units import base_unit, base_units


@pytest.mark.parametrize(
    ("unit", "factor", "base"),
    [
        ("mcg/min", 1.0, "mcg/min"),
        ("mg/hour", 1000 / 60, "mcg/min"),
        ("mg/min", 1000.0, "mcg/min"),
        ("mcg/kg/min", 1.0, "mcg/kg/min"),
        ("mcg/kg/hour", 1 / 60, "mcg/kg/min"),
        ("units/hour", 1 / 60, "u/min"),
        ("ml/hour", 1 / 60, "ml/min"),
        ("mg", 1000.0, "mcg"),
    ],
)
def test_rates_are_per_minute_and_masses_in_micrograms(unit: str, factor: float, base: str) -> None:
    found = base_unit(unit)
    assert found is not None
    assert found[0] == pytest.approx(factor, rel=1e-12)
    assert found[1] == base


def test_units_of_one_dose_agree() -> None:
    units = base_units(["mg/hour", "mcg/min", "spoons"])
    assert units["spoons"] is None
    assert 6 * units["mg/hour"][0] == pytest.approx(100 * units["mcg/min"][0])  # type: ignore[index]


def test_no_unit_no_work() -> None:
    assert base_units([]) == {}


def test_the_conversion_says_nothing_and_leaves_the_log_as_it_was(caplog: pytest.LogCaptureFixture) -> None:
    base_units(["spoons", "mg"])
    assert not caplog.records
    assert logging.root.manager.disable == 0
