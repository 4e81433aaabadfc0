"""The outcomes of a study and who counts for each: the paper's four, and any that its user has defined.

Source of the paper's definitions: arXiv 2504.10422, section "Outcomes".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the hours of the window are wanted where polars is not installed
    import polars as pl

WINDOW_HOURS = 24.0
LONG_STAY_HOURS = 7 * 24.0


@dataclass(frozen=True)
class Outcome:
    """One binary outcome of a stay.

    `name` is its column in `stays.parquet`; `excluded_by`, where set, names the column that is true
    for stays whose event already lies in the window, so that they count nowhere for this outcome.
    """

    name: str
    label: str
    definition: str
    excluded_by: str | None = None

    def counts(self) -> pl.Expr:
        """Expression: true for stays that count (label known, event not already in the window).

        >>> import polars as pl
        >>> stays = pl.DataFrame({"icu": [True, True, None], "icu_24h": [True, False, None]})
        >>> stays.select(OUTCOMES["icu"].counts()).to_series().to_list()
        [False, True, False]
        """
        import polars as pl

        known = pl.col(self.name).is_not_null()
        if self.excluded_by is None:
            return known.alias("counts")
        return (known & ~pl.col(self.excluded_by).fill_null(value=True)).alias("counts")


Outcomes = Mapping[str, Outcome]  # by name, in the order in which they are shown

OUTCOMES: dict[str, Outcome] = {
    outcome.name: outcome
    for outcome in (
        Outcome("death", "In-hospital death", "Discharged expired from this stay."),
        Outcome("long_los", "Long stay", "More than 7 days from admission to discharge."),
        Outcome(
            "icu",
            "ICU after 24 h",
            "First ICU admission after 24 h, among stays with none in the first 24 h.",
            excluded_by="icu_24h",
        ),
        Outcome(
            "imv",
            "Ventilation after 24 h",
            "First invasive ventilation after 24 h, among stays with none in the first 24 h.",
            excluded_by="imv_24h",
        ),
    )
}


def early(name: str) -> str:
    """The column that tells whether an event lies in the window already, whatever the window's length."""
    return f"{name}_24h"


def with_own(definitions: Iterable[Mapping[str, Any]]) -> dict[str, Outcome]:
    """The paper's outcomes, then the user's: mappings with name, label and definition.

    >>> list(with_own([{"name": "crrt", "label": "CRRT", "definition": "…"}]))
    ['death', 'long_los', 'icu', 'imv', 'crrt']
    """
    own = (Outcome(d["name"], d["label"], d["definition"], excluded_by=early(d["name"])) for d in definitions)
    return OUTCOMES | {outcome.name: outcome for outcome in own}
