"""What two cohorts' comparison looks like as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl
import streamlit as st

from dashboard import cohort_words
from ehrfm_core.cell_words import UNTOLD, stays
from ehrfm_core.outcomes import Outcomes
from ehrfm_core.small_cells import MIN_CELL
from ehrfm_core.tokens.vocabulary import FAMILY_LABELS


def columns(title: str) -> dict[str, Any]:
    """How the columns of `readable` are shown."""
    text = st.column_config.TextColumn
    return {
        title: text(title, width=210),
        "SMD": text("SMD", help="Standardised mean difference with its 95 % interval"),
        "q": text("q", width=70, help="Benjamini and Hochberg, over the rows of this table"),
    }


def readable(frame: pl.DataFrame, names: tuple[str, str], title: str) -> pl.DataFrame:
    """A comparison as text: what, each cohort, difference, standardised difference, q."""
    rows = [
        {
            title: row["label"],
            names[0]: _cell(row, "a"),
            names[1]: _cell(row, "b"),
            "Difference": _difference(row),
            "SMD": "—" if row["effect"] is None else _interval(row["effect"], row["low"], row["high"], 2),
            "q": q(row["q_value"]),
        }
        for row in frame.iter_rows(named=True)
    ]
    return pl.DataFrame(rows)


def _cell(row: Mapping[str, Any], side: str) -> str:
    rate, n, events = (row[f"{name}_{side}"] for name in ("rate", "n", "events"))
    if row[f"hidden_{side}"]:
        return UNTOLD
    if n == 0 or rate is None:
        return "—"
    if events is None:
        return f"{rate:,.2f}" if abs(rate) < 10 else f"{rate:,.0f}"
    return f"{events:,} of {n:,} ({100 * rate:.1f} %)"


def _difference(row: Mapping[str, Any]) -> str:
    value, low, high = row["difference"], row["diff_low"], row["diff_high"]
    if value is None:
        return "—"
    if low is None:
        return _signed(value, 2 if abs(value) < 10 else 0)
    return _interval(100 * value, 100 * low, 100 * high, 1)


def _interval(value: float, low: float, high: float, digits: int) -> str:
    return f"{_signed(value, digits)} [{_signed(low, digits)}, {_signed(high, digits)}]"


def _signed(value: float, digits: int) -> str:
    return f"{value:+,.{digits}f}".replace("-", "−")


def q(value: float | None) -> str:
    """A q value as text.

    >>> q(0.0321), q(1e-9), q(None)
    ('0.032', '< 0.001', '—')
    """
    if value is None:
        return "—"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def named(frame: pl.DataFrame) -> pl.DataFrame:
    """Categories with names for a reader, family included."""
    family = pl.col("family").replace_strict(FAMILY_LABELS, default=pl.col("family"))
    return frame.with_columns(
        label=pl.format("{} · {}", pl.col("name").str.replace_all("_", " "), family.str.to_lowercase())
    )


def categories(frame: pl.DataFrame, names: tuple[str, str]) -> pl.DataFrame:
    """Every category: shares in both cohorts, standardised difference and q, as numbers to sort by."""
    family = pl.col("family").replace_strict(FAMILY_LABELS, default=pl.col("family"))
    return frame.select(
        pl.col("name").str.replace_all("_", " ").alias("Category"),
        family.alias("Family"),
        (100 * pl.col("rate_a")).alias(names[0]),
        (100 * pl.col("rate_b")).alias(names[1]),
        pl.col("effect").alias("SMD"),
        pl.col("q_value").alias("q"),
    )


def category_columns(names: tuple[str, str]) -> dict[str, Any]:
    """How the columns of `categories` are shown."""
    number = st.column_config.NumberColumn
    hidden = "Share of stays that have it; empty: 1 to 10 stays with or without it, in either of the two"
    return {
        names[0]: number(f"{names[0]}, %", format="%.1f", help=hidden),
        names[1]: number(f"{names[1]}, %", format="%.1f", help=hidden),
        "SMD": number("SMD", format="%.2f", help="Standardised mean difference"),
        "q": number("q", format="%.2g", help="Benjamini and Hochberg, over the categories"),
    }


def summary(frames: Mapping[str, pl.DataFrame], outcomes: Outcomes) -> pl.DataFrame:
    """One row a number, one column a group of stays; the first is everyone."""
    everyone = next(iter(frames.values()))
    sizes = {name: stays(len(frame), len(everyone)).removesuffix(" stays") for name, frame in frames.items()}
    rows: list[dict[str, str]] = [{"": "Stays"} | sizes]
    for column, label in {"age": "Age, median", "n_tokens": "Tokens in the window, median"}.items():
        cells = {name: _median(frame[column]) for name, frame in frames.items()}
        rows.append({"": label} | cells)
    for outcome, label in {name: o.label for name, o in outcomes.items()}.items():
        rows.append(
            {"": label}
            | {name: cohort_words.counts(frame, everyone, outcome).rate() for name, frame in frames.items()}
        )
    return pl.DataFrame(rows)


def _median(values: pl.Series) -> str:
    known = values.drop_nulls()
    if len(known) < MIN_CELL:
        return "—"
    return f"{float(known.median()):,.0f}"  # type: ignore[arg-type]
