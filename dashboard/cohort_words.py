"""A cohort's rule in words."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from dashboard import ui
from ehrfm_core.cell_words import UNTOLD, stays
from ehrfm_core.cohorts import Cohort, Region
from ehrfm_core.outcomes import Outcomes, early
from ehrfm_core.small_cells import small, unsafe

COLUMNS = {
    "site": "Site",
    "split": "Split",
    "sex": "Sex",
    "race": "Race",
    "ethnicity": "Ethnicity",
    "age": "Age",
    "los_hours": "Hours of stay",
    "n_tokens": "Tokens",
    "outlier": "Flagged as outlier",
    "icu_24h": "ICU within the window",
    "imv_24h": "Ventilated within the window",
}


def describe(cohort: Cohort, outcomes: Outcomes) -> list[str]:
    """One phrase a part of the rule, as Markdown; a rule without parts is everyone.

    >>> describe(Cohort.of(levels={"sex": ["Female", None]}, ranges={"age": (65, None)}), {})
    ['Sex: Female or not recorded', 'Age: 65 or more']
    """
    labels = COLUMNS | {
        text: label
        for name, outcome in outcomes.items()
        for text, label in (
            (name, outcome.label),
            (f"counts_{name}", f"Counts for {ui.inline(outcome.label)}"),
            (early(name), f"{outcome.label}: within the window"),
        )
        if text not in COLUMNS
    }
    parts = [_region(region) for region in cohort.regions]
    for column, values in cohort.levels:
        text = " or ".join("not recorded" if value is None else ui.plain(value) for value in values)
        parts.append(f"{_label(column, labels)}: {text}")
    for column, (low, high) in cohort.ranges:
        parts.append(f"{_label(column, labels)}: {_bounds(low, high)}")
    for column, value in cohort.flags:
        parts.append(f"{_label(column, labels)}: {'yes' if value else 'no'}")
    return parts or ["Everyone"]


def _label(column: str, labels: dict[str, str]) -> str:
    return ui.plain(labels.get(column, column))


def _region(region: Region) -> str:
    where = "a region" if len(region.shapes) == 1 else f"one of {len(region.shapes)} regions"
    when = "at any hour" if region.hour == "any" else "at the end of the window"
    return f"In {where} of the {region.kind.upper()} map {when}"


def _bounds(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f"{low:g} to {high:g}"
    if low is not None:
        return f"{low:g} or more"
    return "known" if high is None else f"{high:g} or less"


@dataclass(frozen=True)
class Counts:
    """Stays of a cohort, those that count for an outcome, those with it; and the same of everyone.

    What the cohort leaves of everyone is a small cell as well as what it holds.
    """

    n: int
    counted: int
    events: int
    everyone: tuple[int, int, int]

    @property
    def told(self) -> bool:
        """Whether the share of events may be told."""
        n, counted, events = self.everyone
        return not (
            small(self.counted)
            or unsafe(self.events, self.counted)
            or unsafe(self.counted, self.n)
            or unsafe(self.n, n)
            or unsafe(self.counted, counted)
            or unsafe(self.events, events)
            or unsafe(counted - self.counted, n - self.n)
            or small((counted - events) - (self.counted - self.events))
        )

    def rate(self) -> str:
        """Share of events.

        >>> Counts(200, 200, 30, (1000, 1000, 90)).rate(), Counts(200, 200, 30, (1000, 1000, 33)).rate()
        ('15.0 %', 'not told')
        """
        if not self.counted:
            return "—"
        return f"{100 * self.events / self.counted:.1f} %" if self.told else UNTOLD

    def size(self) -> str:
        """Number of stays.

        >>> Counts(9, 9, 3, (1000, 1000, 90)).size(), Counts(997, 997, 90, (1000, 1000, 90)).size()
        ('fewer than 11 stays', 'all but fewer than 11 stays')
        """
        return stays(self.n, self.everyone[0])


def counts(cohort: pl.DataFrame, everyone: pl.DataFrame, outcome: str) -> Counts:
    """What there is to tell of a cohort's stays and an outcome."""
    found = []
    for frame in (cohort, everyone):
        counted = frame.filter(pl.col(f"counts_{outcome}"))[outcome]
        found.append((len(frame), len(counted), int(counted.sum() or 0)))
    return Counts(*found[0], found[1])
