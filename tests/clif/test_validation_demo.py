"""A broken copy of the open demo for each kind of finding: the message names file, column, count, way out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from ehrfm_core.clif.event_map import load_map
from ehrfm_core.clif.validation.check import check_directory
from ehrfm_core.clif.validation.report import Finding
from train.__main__ import main

Break = Callable[[pl.DataFrame], pl.DataFrame]
ADMISSION = "admission_dttm"


def first(n: int, column: str, value: object) -> Break:
    """Put a value into the first rows of a column."""
    own = pl.int_range(pl.len()) < n
    return lambda table: table.with_columns(pl.when(own).then(value).otherwise(column).alias(column))


def broken(demo: Path, folder: Path, table: str, change: Break) -> Path:
    """A copy of the demo in which one table is changed."""
    folder.mkdir()
    for path in demo.iterdir():
        (folder / path.name).symlink_to(path)
    path = folder / f"clif_{table}.parquet"
    frame = change(pl.read_parquet(path))
    path.unlink()
    frame.write_parquet(path)
    return folder


def since(hours: int) -> pl.Expr:
    return pl.col(ADMISSION) + pl.duration(hours=hours)


@pytest.mark.parametrize(
    ("table", "change", "level", "words"),
    [
        ("vitals", lambda t: t.drop("vital_value"), "error", ["vital_value"]),
        ("labs", lambda t: t.drop("lab_order_category"), "warning", ["lab_order_category"]),
        (
            "vitals",
            lambda t: t.with_columns(pl.col("vital_value").cast(pl.Utf8) + "?"),
            "error",
            ["vital_value"],
        ),
        (
            "vitals",
            lambda t: t.with_columns(pl.col("recorded_dttm").dt.replace_time_zone(None)),
            "error",
            ["recorded_dttm", "zone"],
        ),
        ("adt", first(7, "location_category", pl.lit("moon")), "warning", ["location_category", "7", "moon"]),
        ("hospitalization", first(2, "discharge_dttm", since(-5)), "warning", ["discharge_dttm", "2"]),
        ("hospitalization", first(9, "discharge_dttm", since(-5)), "error", ["discharge_dttm", "9"]),
        (
            "labs",
            first(11, "lab_result_dttm", pl.col("lab_result_dttm") + pl.duration(days=4000)),
            "warning",
            ["lab_result_dttm", "11"],
        ),
        ("position", lambda t: pl.concat([t, t.head(13)]), "warning", ["13"]),
        ("adt", first(17, "hospitalization_id", pl.lit("nobody")), "warning", ["hospitalization_id", "17"]),
        (
            "labs",
            lambda t: t.with_columns(pl.col("hospitalization_id") + "x"),
            "error",
            ["hospitalization_id"],
        ),
        ("vitals", first(19, "vital_value", pl.lit(9999.0)), "warning", ["vital_value"]),
        (
            "hospitalization",
            lambda t: pl.concat([t, t.head(3).with_columns(age_at_admission=pl.lit(1, pl.Int64))]),
            "error",
            ["hospitalization_id", "3"],
        ),
        ("vitals", lambda t: t.clear(), "warning", []),
    ],
)
def test_a_broken_copy_of_the_demo(
    demo: Path, tmp_path: Path, table: str, change: Break, level: str, words: list[str]
) -> None:
    whole = set(check_directory(demo, load_map("paper")).findings)
    folder = broken(demo, tmp_path / "broken", table, change)
    new = [f for f in check_directory(folder, load_map("paper")).findings if f not in whole]

    def tells(finding: Finding) -> bool:
        text = finding.message
        named = f"clif_{table}.parquet" in text and finding.table == table
        return finding.level == level and named and all(word in text for word in words)

    found = [finding for finding in new if tells(finding)]
    assert found, [(f.level, f.message) for f in new]
    assert ";" in found[0].message or ":" in found[0].message  # what is wrong, and the way out
    assert main(["validate", str(folder), "--json"]) == (1 if level == "error" else 0)


def test_doses_in_units_that_cannot_be_converted(demo: Path) -> None:
    found = {
        finding.table: finding
        for finding in check_directory(demo, load_map("all")).findings
        if finding.check == "unknown_dose_unit"
    }
    assert found["medication_admin_continuous"].message.startswith(
        "clif_medication_admin_continuous.parquet: "
    )
    intermittent = found["medication_admin_intermittent"]
    assert (intermittent.level, intermittent.column, intermittent.count) == ("warning", "med_dose_unit", 1607)
    assert "'dose' (1,607)" in intermittent.message
    paper = check_directory(demo, load_map("paper")).findings
    assert not [finding for finding in paper if finding.check == "unknown_dose_unit"]
