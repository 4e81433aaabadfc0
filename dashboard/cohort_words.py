"""A cohort's rule in words."""

from __future__ import annotations

from dashboard import ui
from ehrfm_core.cohorts import Cohort, Region
from ehrfm_core.outcomes import Outcomes, early

MIN_CELL = 11
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


def rate(n: int, events: int) -> str:
    """Share of events, where neither is too small to tell.

    >>> rate(200, 30), rate(200, 4), rate(9, 4)
    ('15.0 %', 'fewer than 11 events', 'fewer than 11 stays')
    """
    if n < MIN_CELL:
        return f"fewer than {MIN_CELL} stays"
    return f"fewer than {MIN_CELL} events" if 0 < events < MIN_CELL else f"{100 * events / n:.1f} %"


def size(n: int) -> str:
    """Number of stays, where it is not too small to tell.

    >>> size(0), size(4), size(1234)
    ('no stay', 'fewer than 11 stays', '1,234 stays')
    """
    if n == 0:
        return "no stay"
    return f"fewer than {MIN_CELL} stays" if n < MIN_CELL else f"{n:,} stays"
