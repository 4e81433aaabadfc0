"""The section of the Patient page on the hours after the window, where the study has read whole stays."""

from __future__ import annotations

import polars as pl

from dashboard import data, population, ui
from dashboard.charts.whole_stay import whole_stay
from ehrfm_core.outcomes import Outcome
from ehrfm_core.study import Study


def section(study: Study, outcome: Outcome, site: str, stay: str) -> None:
    """Draw the section; nothing where there are no such hours."""
    later = data.later(study, site, stay)
    if later is None or later.is_empty():
        return
    ui.section("After the window", "How did it go on, hour by hour, to the end of the stay?")
    hours = joined(population.path(study, site, stay), later, outcome)
    window = int(population.path(study, site, stay)["hour"].max() or 0)  # type: ignore[arg-type]
    known = hours["risk"].null_count() < len(hours)
    ui.chart(
        whole_stay(hours, outcome, window=window),
        key="whole-stay",
        alt=f"Step of every hour and risk over the whole of stay {stay}",
        caption=f"{ui.count(len(hours) - 1, 'hour')}; the window that was evaluated ends at hour {window}. "
        "Step: distance between the states an hour apart, in the full space; missing where the model no "
        "longer sees the hour before. "
        + (
            f"Risk: the probe for {ui.inline(outcome.label)}, which learned from states at hour {window}: "
            "later values are outside of what it was tested on, and the event itself may lie before them. "
            if known
            else f"The stay does not count for {ui.inline(outcome.label)}: no risk. "
        )
        + "One patient: no interval.",
    )


def joined(path: pl.DataFrame, later: pl.DataFrame, outcome: Outcome) -> pl.DataFrame:
    """Hour, step and risk of the window and of what comes after it, by hour."""
    columns = ("hour", "step", pl.col(f"risk_{outcome.name}").alias("risk"))
    both = pl.concat([path.select(columns), later.select(columns)], how="vertical_relaxed")
    return both.unique("hour", keep="first").sort("hour")
