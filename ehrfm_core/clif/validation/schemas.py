"""What clifpy's schemas say of a table: its columns, categories, keys, ranges, units and orders in time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

import polars as pl
import yaml

from ehrfm_core.clif.columns import category, clifpy_file

Kind = Literal["id", "time", "number", "text"]
VERSIONS = ("2.1", "3.0")
IDS = ("hospitalization_id", "patient_id")
CATEGORY_ENDINGS = ("_category", "_group", "_type")
NUMERIC_TYPES = ("DOUBLE", "FLOAT", "INT")
# which column tells what a measured value is, and which its unit, where ranges depend on them
MEASURED = {
    ("labs", "lab_value_numeric"): ("lab_category", None),
    ("vitals", "vital_value"): ("vital_category", None),
    ("patient_assessments", "numerical_value"): ("assessment_category", None),
    ("medication_admin_continuous", "med_dose"): ("med_category", "med_dose_unit"),
    ("medication_admin_intermittent", "med_dose"): ("med_category", "med_dose_unit"),
    ("ecmo_mcs", "sweep"): ("device_category", None),
    ("ecmo_mcs", "flow"): ("device_category", None),
    ("ecmo_mcs", "fdO2"): ("device_category", None),
}


@dataclass(frozen=True)
class Column:
    """A column of a schema: its kind, the versions that require it, and its categories as written."""

    name: str
    kind: Kind
    required: frozenset[str]
    permitted: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Schema:
    """A table in clifpy's schemas of CLIF 2.1 and 3.0 together; no versions where clifpy does not know it."""

    table: str
    versions: tuple[str, ...]
    columns: Mapping[str, Column]

    def required(self, version: str | None) -> tuple[str, list[str]]:
        """A version and the columns that it requires.

        The oldest version that has the table stands in for an unknown one.
        """
        chosen = version if version in self.versions else next(iter(self.versions), "")
        return str(chosen), [column.name for column in self.columns.values() if chosen in column.required]


@cache
def load(relative: str) -> dict[str, Any]:
    """One of clifpy's YAML files; empty where this version of clifpy has none of that name."""
    path = clifpy_file(f"schemas/{relative}")
    if not path.is_file():
        return {}
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C parser is ten times faster
    value = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)
    return value if isinstance(value, dict) else {}


@cache
def schema(table: str) -> Schema:
    """The schema of a table, both versions in one."""
    found = {version: load(f"{version}/{table}_schema.yaml") for version in VERSIONS}
    versions = tuple(version for version in VERSIONS if found[version])
    columns: dict[str, Column] = {}
    for version in versions:
        for entry in found[version]["columns"]:
            name = entry["name"]
            before = columns.get(name, Column(name, _kind(entry), frozenset()))
            permitted = dict(before.permitted)
            if entry.get("permissible_values") and name.endswith(CATEGORY_ENDINGS):
                permitted[version] = frozenset(str(value) for value in entry["permissible_values"])
            required = before.required | ({version} if entry.get("required") else set())
            columns[name] = Column(name, before.kind, required, permitted)
    return Schema(table, versions, columns)


def _kind(entry: Mapping[str, Any]) -> Kind:
    if entry["name"] in IDS:
        return "id"
    if entry["data_type"] == "DATETIME":
        return "time"
    return "number" if entry["data_type"] in NUMERIC_TYPES else "text"


def spell(values: Iterable[str | None], table: str, column: str) -> list[str | None]:
    """Categories in CLIF 3.0's spelling, as `columns.category` writes them.

    >>> spell(["High Flow NC", " "], "respiratory_support", "device_category")
    ['hfnc', None]
    """
    frame = pl.DataFrame({"value": list(values)}, schema={"value": pl.String})
    return frame.select(category(pl.col("value"), table, column))["value"].to_list()


@cache
def known_categories(table: str, column: str) -> tuple[str, ...]:
    """Categories of a column in either version, in CLIF 3.0's spelling."""
    permitted = schema(table).columns[column].permitted
    spelled = spell({value for values in permitted.values() for value in values}, table, column)
    return tuple(sorted(value for value in spelled if value))


def unit_spelling(unit: str) -> str:
    """A unit for comparison: lower case, one way to write micro and hours.

    >>> unit_spelling(" µg/kg/hour")
    'mcg/kg/hr'
    """
    text = " ".join(unit.lower().split()).replace("\N{GREEK SMALL LETTER MU}", "\N{MICRO SIGN}")
    text = text.replace("\N{MICRO SIGN}g", "mcg")
    for long, short in (("/hour", "/hr"), ("/minute", "/min")):
        text = text.replace(long, short)
    return "/".join("hr" if part == "h" else part for part in text.split("/"))


def key_columns(table: str) -> list[str]:
    """Columns that together name a row of a table; empty where clifpy names none."""
    rules = load("validation_rules.yaml").get("composite_keys", {})
    return list(rules.get(table, {}).get("keys", []))


def orders(table: str) -> list[tuple[str, str, bool]]:
    """Pairs of times in a row, the earlier first, and whether they may not be equal."""
    rules = load("validation_rules.yaml").get("chronological_order", {}).get(table, [])
    return [(rule["earlier"], rule["later"], bool(rule.get("strict"))) for rule in rules]


def plain_ranges(table: str) -> dict[str, tuple[float, float]]:
    """Lowest and highest plausible value of columns whose range depends on nothing else."""
    columns = load("outlier_config.yaml").get("tables", {}).get(table) or {}
    return {
        name: (float(value["min"]), float(value["max"])) for name, value in columns.items() if "min" in value
    }


@cache
def ranges_by_category(table: str, column: str) -> pl.DataFrame:
    """Columns spelled (category), spelled_unit (null where the unit does not matter), lowest, highest."""
    entries = (load("outlier_config.yaml").get("tables", {}).get(table) or {}).get(column) or {}
    names = dict(zip(entries, spell(entries, table, MEASURED[table, column][0]), strict=True))
    rows = []
    for name, value in entries.items():
        for unit, bounds in [(None, value)] if "min" in value else list(value.items()):
            spelled_unit = None if unit is None else unit_spelling(unit)
            rows.append((names[name], spelled_unit, float(bounds["min"]), float(bounds["max"])))
    types = {"spelled": pl.String, "spelled_unit": pl.String, "lowest": pl.Float64, "highest": pl.Float64}
    return pl.DataFrame(rows, schema=types, orient="row").unique(
        ["spelled", "spelled_unit"], keep="first", maintain_order=True
    )


@cache
def lab_units() -> tuple[dict[str, str], dict[str, str]]:
    """Reference unit of each lab category, and the canonical unit of each accepted spelling."""
    units: dict[str, str] = {}
    canonical: dict[str, str] = {}
    for version in VERSIONS:
        labs = load(f"{version}/labs_schema.yaml")
        entries = labs.get("lab_reference_units", {})
        names = spell(entries, "labs", "lab_category")
        units |= {name: unit for name, unit in zip(names, entries.values(), strict=True) if name}
        for unit, spellings in labs.get("allowed_unit_variants", {}).items():
            canonical |= {unit_spelling(str(text)): unit for text in (unit, *spellings)}
    return units, canonical
