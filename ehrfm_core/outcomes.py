"""The paper's four outcomes, who counts for each, and how they are read from CLIF tables.

Source of the definitions: arXiv 2504.10422, section "Outcomes".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

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
