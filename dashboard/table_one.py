"""Table 1: who is in the data, site by site."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

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

    Numbers are median (quartiles), flags and groups are count (share of the stays where it is known). SMD:
    difference of means over the pooled standard deviation (Austin, Stat Med 2009).
    """
    rows = [
        _row("Stays", {site: f"{len(frame):,}" for site, frame in frames.items()}),
        _row("Patients", {site: f"{frame['patient_id'].n_unique():,}" for site, frame in frames.items()}),
    ]
    for column, (label, digits) in _NUMBERS.items():
        series = {site: frame[column].cast(pl.Float64).drop_nulls() for site, frame in frames.items()}
        rows.append(_row(label, {s: _median(v, digits) for s, v in series.items()}, _smd(series)))
    for column, title in _GROUPS.items():
        known = pl.concat([frame[column].cast(pl.String) for frame in frames.values()]).drop_nulls()
        levels = known.value_counts(sort=True)[column].head(_MAX_LEVELS).to_list()
        for level in levels:
            series = {
                s: (f[column].cast(pl.String).drop_nulls() == level).cast(pl.Float64)
                for s, f in frames.items()
            }
            rows.append(
                _row(f"{title}: {_tidy(level)}", {s: _count(v) for s, v in series.items()}, _smd(series))
            )
        missing = {s: f"{f[column].null_count():,}" for s, f in frames.items()}
        if any(value != "0" for value in missing.values()):
            rows.append(_row(f"{title}: not recorded", missing))
    own = {name: outcome for name, outcome in outcomes.items() if name not in OUTCOMES}
    flags = _FLAGS | {early(name): f"{outcome.label}: in the window" for name, outcome in own.items()}
    flags |= {name: f"{outcome.label}: ever" for name, outcome in own.items()}
    for column, label in flags.items():
        series = {site: frame[column].drop_nulls().cast(pl.Float64) for site, frame in frames.items()}
        rows.append(_row(label, {s: _count(v) for s, v in series.items()}, _smd(series)))
    table = pl.DataFrame(rows, infer_schema_length=None)
    return table if len(frames) == 2 else table.drop("SMD")


def _row(label: str, cells: dict[str, str], smd: float | None = None) -> dict[str, object]:
    return {"Characteristic": label, **cells, "SMD": "" if smd is None else f"{smd:.2f}"}


def _median(values: pl.Series, digits: int) -> str:
    if values.is_empty():
        return "—"
    low, middle, high = (values.quantile(q, "linear") for q in (0.25, 0.5, 0.75))
    return f"{middle:,.{digits}f} ({low:,.{digits}f}–{high:,.{digits}f})"


def _count(flags: pl.Series) -> str:
    if flags.is_empty():
        return "—"
    return f"{int(flags.sum()):,} ({100 * float(flags.mean()):.1f} %)"  # type: ignore[arg-type]


def _smd(series: dict[str, pl.Series]) -> float | None:
    """Standardised mean difference of the first two sites; None where it cannot be told."""
    values = [v.to_numpy() for v in series.values()][:2]
    if len(values) < 2 or any(len(v) < 2 for v in values):
        return None
    pooled = np.sqrt((values[0].var(ddof=1) + values[1].var(ddof=1)) / 2)
    return float(abs(values[0].mean() - values[1].mean()) / pooled) if pooled > 0 else None


def _tidy(level: str) -> str:
    return level.replace("_", " ").strip().capitalize() if level.islower() else level.strip()
