"""Variables of a collection as CLIF categories: units, factors and what cannot be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

ORDERS = {  # lab_order_category of each lab
    "blood_gas": "pco2_arterial ph_arterial po2_arterial so2_arterial lactate",
    "bmp": "bicarbonate bun calcium_total chloride creatinine glucose_serum potassium sodium",
    "cbc": "hemoglobin platelet_count wbc",
    "coags": "ptt",
    "lft": "albumin alkaline_phosphatase alt ast bilirubin_conjugated bilirubin_total",
    "misc": "magnesium phosphate troponin_i troponin_t",
}
ORDER_OF = {lab: order for order, labs in ORDERS.items() for lab in labs.split()}

# Table, unit and bounds of each category, in CLIF's units. A value outside the bounds cannot be a patient's
# and is left out. They are wider than CLIF's outlier thresholds where these cut off what assays report
# (troponin, PTT at its ceiling, creatinine), narrower where zero is a failed reading.
BOUNDS: dict[str, tuple[str, str, float, float]] = {
    "heart_rate": ("vitals", "", 1, 300),
    "sbp": ("vitals", "mmHg", 1, 300),
    "dbp": ("vitals", "mmHg", 1, 200),
    "map": ("vitals", "mmHg", 1, 250),
    "respiratory_rate": ("vitals", "", 1, 60),
    "spo2": ("vitals", "%", 50, 100),
    "temp_c": ("vitals", "°C", 25, 44),
    "height_cm": ("vitals", "cm", 120, 230),
    "weight_kg": ("vitals", "kg", 30, 400),
    "albumin": ("labs", "g/dL", 0.1, 15),
    "alkaline_phosphatase": ("labs", "U/L", 1, 5_000),
    "alt": ("labs", "U/L", 1, 20_000),
    "ast": ("labs", "U/L", 1, 20_000),
    "bicarbonate": ("labs", "mmol/L", 1, 60),
    "bilirubin_conjugated": ("labs", "mg/dL", 0, 50),
    "bilirubin_total": ("labs", "mg/dL", 0, 80),
    "bun": ("labs", "mg/dL", 1, 300),
    "calcium_total": ("labs", "mg/dL", 3, 20),
    "chloride": ("labs", "mmol/L", 50, 150),
    "creatinine": ("labs", "mg/dL", 0.1, 50),
    "glucose_serum": ("labs", "mg/dL", 5, 2_000),
    "hemoglobin": ("labs", "g/dL", 2, 25),
    "lactate": ("labs", "mmol/L", 0.1, 40),
    "magnesium": ("labs", "mg/dL", 0.1, 10),
    "pco2_arterial": ("labs", "mmHg", 5, 250),
    "ph_arterial": ("labs", "(no units)", 6.5, 8),
    "phosphate": ("labs", "mg/dL", 0.1, 25),
    "platelet_count": ("labs", "10^3/uL", 1, 3_000),
    "po2_arterial": ("labs", "mmHg", 10, 700),
    "potassium": ("labs", "mmol/L", 0.5, 15),
    "ptt": ("labs", "sec", 1, 300),
    "so2_arterial": ("labs", "%", 10, 100),
    "sodium": ("labs", "mmol/L", 90, 210),
    "troponin_i": ("labs", "ng/L", 0, 500_000),
    "troponin_t": ("labs", "ng/L", 0, 500_000),
    "wbc": ("labs", "10^3/uL", 0.1, 500),
    "gcs_total": ("patient_assessments", "", 3, 15),
    "fio2_set": ("respiratory_support", "", 0.21, 1),
    "imv": ("respiratory_support", "", 1, 1),
}


CATEGORIES, SITES = pl.Enum(sorted(BOUNDS)), pl.Enum(["arterial line", "cuff"])


@dataclass(frozen=True)
class Variable:
    """A variable of the collection: the CLIF category it becomes and the factor to CLIF's unit.

    `where` is the site of a measurement, which CLIF keeps beside it.
    """

    category: str
    factor: float = 1.0
    where: str | None = None

    @property
    def table(self) -> str:
        """CLIF table without its prefix."""
        return BOUNDS[self.category][0]


@dataclass
class Counts:
    """Values of each variable: kept, missing (−1 or NaN) and impossible; those of no CLIF category."""

    kept: dict[str, int] = field(default_factory=dict)
    missing: dict[str, int] = field(default_factory=dict)
    impossible: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)

    def add(self, kind: str, name: str, n: int) -> None:
        """Add `n` values of a variable to one of the four counts; nothing where `n` is 0."""
        if n:
            counts: dict[str, int] = getattr(self, kind)
            counts[name] = counts.get(name, 0) + n


def convert(name: str, variable: Variable, values: pl.DataFrame, counts: Counts) -> pl.DataFrame:
    """Measured values of one variable in CLIF's unit: record, minute, category, value, name, where.

    `values` has record, minute (since admission) and value (Float64, not null); values out of bounds are left
    out and counted.
    """
    _, _, low, high = BOUNDS[variable.category]
    # factors of 1,000 leave binary remnants: nine digits are more than any assay has
    scaled = values.with_columns((pl.col("value") * variable.factor).round_sig_figs(9))
    kept = scaled.filter(pl.col("value").is_between(low, high))
    counts.add("impossible", name, scaled.height - kept.height)
    counts.add("kept", name, kept.height)
    return kept.select(
        "record",
        "minute",
        pl.lit(variable.category, dtype=CATEGORIES).alias("category"),
        "value",
        pl.lit(name).cast(pl.Categorical).alias("name"),
        pl.lit(variable.where, dtype=SITES).alias("where"),
    )


def n_empty(records: pl.DataFrame, charted: Mapping[str, pl.DataFrame]) -> int:
    """How many records have nothing in any table."""
    seen = [frame.select("record") for frame in charted.values()]
    return records.join(pl.concat(seen), on="record", how="anti").height if seen else records.height


def by_table(
    frames: Mapping[str, pl.DataFrame], variables: Mapping[str, Variable]
) -> dict[str, pl.DataFrame]:
    """Converted values (by variable) put together by CLIF table."""
    tables: dict[str, list[pl.DataFrame]] = {}
    for name, frame in frames.items():
        tables.setdefault(variables[name].table, []).append(frame)
    return {table: pl.concat(parts) for table, parts in tables.items()}
