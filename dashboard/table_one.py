"""Table 1: who is in the data, site by site."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from ehrfm_core import cell_words, small_cells
from ehrfm_core.outcomes import OUTCOMES, Outcomes, early

_NUMBERS = {
    "age": ("Age, years", 0),
    "los_hours": ("Length of stay, hours", 0),
    "n_tokens": ("Tokens in the first 24 h", 0),
}
_FLAGS = {
    "death": "In-hospital death",
    "long_los": "Stay longer than 7 days",
    "icu_24h": "ICU within 24 h",
    "icu": "ICU ever",
    "imv_24h": "Invasive ventilation within 24 h",
    "imv": "Invasive ventilation ever",
}
_GROUPS = {"sex": "Sex", "race": "Race", "ethnicity": "Ethnicity"}
_MAX_LEVELS = 5


def table_one(frames: Mapping[str, pl.DataFrame], outcomes: Outcomes = OUTCOMES) -> pl.DataFrame:
    """One row a characteristic, one column a site; with two sites the standardised mean difference.

    Numbers are median (quartiles), flags and groups are count (share of the stays where it is known; of all
    stays where those not known are a small cell). SMD: difference of means over the pooled standard deviation
    (Austin, Stat Med 2009), where both counts are told. Small cells, those of all splits but the test split
    too, and what they would follow from are "not told".
    """
    rows = [
        _row("Stays", {site: cell_words.number(len(frame)) for site, frame in frames.items()}),
        _row(
            "Patients",
            {site: cell_words.number(frame["patient_id"].n_unique()) for site, frame in frames.items()},
        ),
    ]
    for column, (label, digits) in _NUMBERS.items():
        series = {site: frame[column].cast(pl.Float64).drop_nulls() for site, frame in frames.items()}
        rows.append(_row(label, {s: _median(v, digits) for s, v in series.items()}, _smd(series)))
    for column, title in _GROUPS.items():
        known = pl.concat([frame[column].cast(pl.String) for frame in frames.values()]).drop_nulls()
        levels = known.value_counts(sort=True)[column].to_list()
        found = {site: _Levels.of(frame, column, levels) for site, frame in frames.items()}
        for i, level in enumerate(levels[:_MAX_LEVELS]):
            rows.append(_level(f"{title}: {_tidy(level)}", found, i))
        if any(one.counts[-1] for one in found.values()):
            missing = {s: one.number(len(levels)) for s, one in found.items()}
            rows.append(_row(f"{title}: not recorded", missing))
    own = {name: outcome for name, outcome in outcomes.items() if name not in OUTCOMES}
    flags = _FLAGS | {early(name): f"{outcome.label}: in the window" for name, outcome in own.items()}
    flags |= {name: f"{outcome.label}: ever" for name, outcome in own.items()}
    for column, label in flags.items():
        found = {site: _Levels.of(frame, column, [True, False]) for site, frame in frames.items()}
        rows.append(_level(label, found, 0))
    table = pl.DataFrame(rows, infer_schema_length=None)
    return table if len(frames) == 2 else table.drop("SMD")


def _row(label: str, cells: dict[str, str], smd: float | None = None) -> dict[str, object]:
    return {"Characteristic": label, **cells, "SMD": "" if smd is None else f"{smd:.2f}"}


def _median(values: pl.Series, digits: int) -> str:
    if values.is_empty():
        return "—"
    if small_cells.small(len(values)):
        return cell_words.UNTOLD  # the median of few is the value of one
    low, middle, high = (values.quantile(q, "linear") for q in (0.25, 0.5, 0.75))
    return f"{middle:,.{digits}f} ({low:,.{digits}f}–{high:,.{digits}f})"


@dataclass(frozen=True, eq=False)
class _Levels:
    """Stays of a site by level of a characteristic, those not known last, and which are hidden."""

    counts: np.ndarray
    hidden: np.ndarray

    @classmethod
    def of(cls, frame: pl.DataFrame, column: str, levels: Sequence[object]) -> _Levels:
        """Count the `levels`."""
        return cls(*small_cells.levels(frame, column, levels))

    @property
    def known(self) -> int:
        """Of how many stays the shares are."""
        return int(self.counts.sum() - (0 if self.hidden[-1] else self.counts[-1]))

    def number(self, i: int) -> str:
        """The count of a level."""
        return cell_words.UNTOLD if self.hidden[i] else f"{self.counts[i]:,}"

    def cell(self, i: int) -> str:
        """Count and share of a level."""
        if not self.counts[:-1].any():
            return "—"
        told = self.number(i)
        return told if self.hidden[i] else f"{told} ({100 * self.counts[i] / self.known:.1f} %)"


def _level(label: str, found: Mapping[str, _Levels], i: int) -> dict[str, object]:
    shown = [one for one in found.values() if not one.hidden[i]]
    series = {
        site: pl.Series(np.repeat([1.0, 0.0], [one.counts[i], one.known - one.counts[i]]))
        for site, one in found.items()
    }
    smd = _smd(series) if len(shown) == len(found) else None
    return _row(label, {site: one.cell(i) for site, one in found.items()}, smd)


def _smd(series: dict[str, pl.Series]) -> float | None:
    """Standardised mean difference of the first two sites; None where it cannot be told."""
    values = [v.to_numpy() for v in series.values()][:2]
    if len(values) < 2 or any(len(v) < 2 for v in values):
        return None
    pooled = np.sqrt((values[0].var(ddof=1) + values[1].var(ddof=1)) / 2)
    return float(abs(values[0].mean() - values[1].mean()) / pooled) if pooled > 0 else None


def _tidy(level: str) -> str:
    return level.replace("_", " ").strip().capitalize() if level.islower() else level.strip()
