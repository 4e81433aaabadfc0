"""Doses in one base unit for each kind of unit, by the conversion of clifpy."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache


@cache
def base_unit(unit: str) -> tuple[float, str] | None:
    """Factor and base unit of a dose unit, or None where clifpy does not know it.

    Mass becomes mcg, volume ml, units u; a rate is per minute; a weight stays /kg (per pound becomes per
    kilogram). No patient's weight is needed.

    >>> base_unit("mg/hour")
    (16.666666666666668, 'mcg/min')
    >>> base_unit("spoons") is None
    True
    """
    return base_units([unit])[unit]


def base_units(units: list[str]) -> dict[str, tuple[float, str] | None]:
    """Factor and base unit of each unit at once; clifpy is imported here, which takes a second."""
    if not units:
        return {}
    import pandas as pd

    with _silence():
        from clifpy.utils.unit_converter import standardize_dose_to_base_units

        frame = pd.DataFrame({"med_dose_unit": units, "med_dose": 1.0})
        found, _ = standardize_dose_to_base_units(frame, show_intermediate=True)
        rows = found.to_df().to_dict("records")
    by_unit = {row["med_dose_unit"]: row for row in rows}
    return {
        unit: None
        if by_unit[unit]["_unit_class"] == "unrecognized"
        else (float(by_unit[unit]["_base_dose"]), str(by_unit[unit]["_base_unit"]))
        for unit in units
    }


@contextmanager
def _silence() -> Iterator[None]:
    """What clifpy logs while it works is nothing to the user."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
