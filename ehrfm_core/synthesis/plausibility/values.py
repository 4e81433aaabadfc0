"""One category's values and charting intervals in two hospitals: quantiles, distance, gaps."""

from __future__ import annotations

from typing import Any

import polars as pl
from scipy.stats import ks_2samp

from ehrfm_core.synthesis.plausibility.paper import share_with_interval
from ehrfm_core.synthesis.plausibility.readings import PLACES, Category, Records

QUANTILES = {"p5": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95}
QUARTILES = {"p25": 0.25, "p50": 0.5, "p75": 0.75}
EVERYWHERE = "all"
EARLY_TABLES = ("vitals", "labs")
Row = dict[str, Any]


def values_rows(category: Category, real: pl.DataFrame, synthetic: pl.DataFrame) -> list[Row]:
    """Values of one category in both hospitals, everywhere, in the ICU and on the ward.

    `real` and `synthetic` are records as `Records.read` gives them. A row: table, category, place, then n
    and p5 … p95 (linear interpolation) of each, as real_n and so on, and ks, the Kolmogorov–Smirnov
    distance sup |F − G| of the two empirical distributions. Null where there are no values.
    """
    rows = []
    for place in (EVERYWHERE, *PLACES):
        two = {"real": _at(real, place)["value"], "synthetic": _at(synthetic, place)["value"]}
        row: Row = {"table": category.table, "category": category.name, "place": place}
        for name, values in two.items():
            row |= _quantiles(name, values.drop_nulls(), QUANTILES)
        known = [values.drop_nulls().to_numpy() for values in two.values()]
        # the distance alone is wanted; the exact p-value would take long
        row["ks"] = float(ks_2samp(*known, method="asymp").statistic) if all(map(len, known)) else None
        rows.append(row)
    return rows


def gap_rows(category: Category, real: pl.DataFrame, synthetic: pl.DataFrame) -> list[Row]:
    """Hours between consecutive records of one category in one stay, in the ICU and on the ward.

    A gap counts where both of its records lie in the place; records of one time are one. A row: table,
    category, place, and for each hospital real_n (gaps), real_p25, real_p50, real_p75 in hours.
    """
    gaps = {"real": _gaps(real), "synthetic": _gaps(synthetic)}
    rows = []
    for place in PLACES:
        row: Row = {"table": category.table, "category": category.name, "place": place}
        for name, frame in gaps.items():
            row |= _quantiles(name, _at(frame, place)["gap"], QUARTILES)
        rows.append(row)
    return rows


def early_rows(real: Records, synthetic: Records) -> list[Row]:
    """Share of stays with any vital, and any lab, within 24 h of admission, in both hospitals.

    A row: table, group (all stays, those in the ICU by 24 h, the others), and for each hospital real_n
    (stays), real_share, real_low, real_high (Wilson, 95 %).
    """
    found = {
        name: [_early(hospital, table) for table in EARLY_TABLES]
        for name, hospital in (("real", real), ("synthetic", synthetic))
    }
    rows = []
    for place, table in enumerate(EARLY_TABLES):
        for group in (EVERYWHERE, "icu_24h", "not_icu_24h"):
            row: Row = {"table": table, "group": group}
            for name, frames in found.items():
                there = frames[place]
                if group != EVERYWHERE:
                    there = there.filter(pl.col("icu") == (group == "icu_24h"))
                numbers = share_with_interval(int(there["charted"].sum()), there.height)
                row |= dict(
                    zip((f"{name}_{key}" for key in ("n", "share", "low", "high")), numbers, strict=True)
                )
            rows.append(row)
    return rows


def _early(hospital: Records, table: str) -> pl.DataFrame:
    """Of every stay, whether it has a record of the table and whether it is in the ICU by 24 h."""
    icu = hospital.moves.filter((pl.col("place") == "icu") & (pl.col("hours") <= 24))["stay"].unique()
    charted = hospital.charted_early(table)
    return hospital.stays.select(
        pl.col("stay").is_in(charted.implode()).alias("charted"),
        pl.col("stay").is_in(icu.implode()).alias("icu"),
    )


def _at(records: pl.DataFrame, place: str) -> pl.DataFrame:
    return records if place == EVERYWHERE else records.filter(pl.col("place") == place)


def _gaps(records: pl.DataFrame) -> pl.DataFrame:
    """Gaps (hours) that begin and end in one place of one stay, from records sorted by stay and time."""
    same = (pl.col("stay") == pl.col("stay").shift()) & (pl.col("place") == pl.col("place").shift())
    return (
        records.unique(["stay", "hours"], keep="first", maintain_order=True)
        .select("place", pl.when(same).then(pl.col("hours").diff()).alias("gap"))
        .drop_nulls()
    )


def _quantiles(name: str, values: pl.Series, wanted: dict[str, float]) -> Row:
    found = {key: values.quantile(q, interpolation="linear") for key, q in wanted.items()}
    return {f"{name}_n": len(values)} | {f"{name}_{key}": value for key, value in found.items()}
