from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ehrfm_core.synthesis.plausibility.readings import COLUMNS, Category, open_records
from ehrfm_core.synthesis.plausibility.values import early_rows, gap_rows, values_rows
from tests.synthesis.plausibility.make_records import make_records

SPO2 = Category("vitals", "spo2")


def records(rows: list[tuple[int, float, float | None, str | None]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=COLUMNS, orient="row").sort("stay", "hours")


def at(rows: list[dict[str, Any]], place: str) -> dict[str, Any]:
    (row,) = (row for row in rows if row["place"] == place)
    return row


def test_known_quantiles_and_distance() -> None:
    real = records([(0, i, float(i), "icu") for i in range(101)] + [(1, 0.0, None, "ward")])
    synthetic = records([(0, i, float(i + 50), "icu") for i in range(101)] + [(1, 0.0, 500.0, "ward")])
    rows = values_rows(SPO2, real, synthetic)
    assert [row["place"] for row in rows] == ["all", "icu", "ward"]
    icu = at(rows, "icu")
    assert [icu[f"real_{q}"] for q in ("n", "p5", "p25", "p50", "p75", "p95")] == [101, 5, 25, 50, 75, 95]
    assert [icu[f"synthetic_{q}"] for q in ("p5", "p50", "p95")] == [55, 100, 145]
    assert icu["ks"] == pytest.approx(50 / 101)  # at 49, half of the one and nothing of the other
    ward = at(rows, "ward")
    assert (ward["real_n"], ward["real_p50"], ward["synthetic_n"], ward["ks"]) == (0, None, 1, None)


def test_no_overlap_is_distance_one_and_the_same_is_none() -> None:
    low, high = (records([(0, i, value + i, "icu") for i in range(5)]) for value in (0.0, 100.0))
    assert at(values_rows(SPO2, low, high), "all")["ks"] == 1.0
    assert at(values_rows(SPO2, low, low), "all")["ks"] == 0.0


def test_known_gaps() -> None:
    real = records(
        [(0, hour, 1.0, "icu") for hour in (0.0, 1.0, 3.0, 3.0, 7.0)]  # 1, 2 and 4 hours
        + [(0, hour, 1.0, "ward") for hour in (10.0, 18.0)]  # 8; the 3 hours of the move do not count
        + [(1, 20.0, 1.0, "ward"), (1, 50.0, None, "ward")]  # 30: a record without a number is one as well
        + [(2, 0.0, 1.0, None), (2, 90.0, 1.0, None), (3, 0.0, 1.0, "ed"), (3, 99.0, 1.0, "ed")]
    )
    rows = gap_rows(SPO2, real, records([]))
    icu, ward = at(rows, "icu"), at(rows, "ward")
    assert [icu[f"real_{q}"] for q in ("n", "p25", "p50", "p75")] == [3, 1.5, 2.0, 3.0]
    assert [ward[f"real_{q}"] for q in ("n", "p25", "p50", "p75")] == [2, 13.5, 19.0, 24.5]
    assert (icu["synthetic_n"], icu["synthetic_p50"]) == (0, None)


def test_share_of_stays_charted_early(tmp_path: Path) -> None:
    stays = ["a-0", "b-0", "c-0", "d-0"]
    moves = [("a-0", 0.0, "icu"), ("b-0", 24.5, "icu"), ("c-0", 0.0, "ward")]
    vitals = [("a-0", 1.0, "sbp", 1.0), ("b-0", 2.0, "sbp", 1.0), ("c-0", 30.0, "sbp", 1.0)]
    one = open_records(make_records(tmp_path / "one", stays, vitals=vitals, moves=moves))
    other = open_records(make_records(tmp_path / "other", stays, labs=[("a-0", 1.0, "inr", 1.0)]))
    rows = {(row["table"], row["group"]): row for row in early_rows(one, other)}
    assert rows["vitals", "all"]["real_share"] == 0.5
    assert rows["vitals", "all"]["real_low"] == pytest.approx(0.150, abs=0.001)  # Wilson's, of 2 in 4
    assert rows["vitals", "all"]["synthetic_share"] == 0.0
    assert rows["vitals", "icu_24h"]["real_n"] == 1
    assert rows["vitals", "icu_24h"]["real_share"] == 1.0
    assert rows["vitals", "not_icu_24h"]["real_share"] == pytest.approx(1 / 3)
    assert rows["labs", "all"]["synthetic_share"] == 0.25
    assert rows["labs", "icu_24h"]["synthetic_share"] is None
