from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from ehrfm_core.errors import UserError
from ehrfm_core.synthesis.plausibility.compare import Comparison, compare, synthetic_sites
from tests.make_clif import make_tables, write_tables
from tests.synthesis.plausibility.make_records import make_records


@pytest.fixture(scope="module")
def itself(demo: Path) -> Comparison:
    return compare(demo, demo, n_replicates=100)


def test_the_demo_beside_itself(itself: Comparison) -> None:
    assert itself.values["category"].n_unique() == 9 + 15
    assert itself.values.filter(table="labs")["category"][0] == "potassium"
    assert itself.values["ks"].drop_nulls().unique().to_list() == [0.0]
    assert itself.signs["agree"].all()
    clear = itself.signs["real_clear"].sum()
    assert clear >= 15
    assert f"{clear} of these have the same sign in the synthetic data, {clear} of them" in itself.verdict
    assert itself.notes == []


def test_what_is_known_of_the_demo(itself: Comparison) -> None:
    signs = {(row["first"], row["second"]): row for row in itself.signs.to_dicts()}
    for pair in (("creatinine", "bun"), ("ast", "alt"), ("sodium", "chloride"), ("sbp", "dbp")):
        assert signs[pair]["real_low"] > 0
    for pair in (("lactate", "bicarbonate"), ("pco2_arterial", "ph_arterial")):
        assert signs[pair]["real_high"] < 0
    gaps = {(row["category"], row["place"]): row for row in itself.gaps.to_dicts()}
    assert gaps["heart_rate", "icu"]["real_p50"] == 1.0  # vitals of an ICU are charted every hour
    assert 20 < gaps["potassium", "ward"]["real_p50"] < 26  # labs of a ward once a day
    early = itself.early.filter(table="vitals", group="not_icu_24h")
    assert early["real_share"].item() < 0.05  # its wards chart no vitals


def test_another_hospital_is_told_apart(demo: Path, tmp_path: Path) -> None:
    made = write_tables(make_tables(patients=30), tmp_path)
    steps: list[tuple[int, int]] = []
    found = compare(made, demo, n_replicates=100, progress=lambda *step: steps.append(step))
    whole = found.values.filter(place="all").filter(pl.col("ks").is_not_null())
    assert set(whole["category"]) == {"heart_rate", "sbp", "spo2", "potassium", "sodium"}
    assert whole.filter(category="sodium")["ks"].item() > 0.9
    assert any("no respiratory_rate" in note or ", respiratory_rate" in note for note in found.notes)
    assert "Not known in the synthetic data: lactate–map" in found.verdict
    assert steps == [(i + 1, steps[-1][1]) for i in range(len(steps))]
    assert steps[-1][0] == steps[-1][1]


def test_tables_that_are_missing_are_told(tmp_path: Path) -> None:
    bare = make_records(tmp_path / "bare", ["a-0"])
    empty = make_records(tmp_path / "empty", ["a-0"], vitals=[], labs=[], moves=[])
    found = compare(bare, empty)
    assert found.values.is_empty()
    assert found.gaps.is_empty()
    assert found.signs["real_rho"].null_count() == found.signs.height
    assert found.verdict.startswith("Of 30 pairs 0 have a clear sign")
    assert "The synthetic hospital has no table clif_labs." in found.notes
    assert "The synthetic hospital has no table clif_adt: ICU and ward are not told apart." in found.notes
    assert any(note.startswith("The real hospital has no") and "lactate" in note for note in found.notes)


def test_disagreements_are_named() -> None:
    rows = [
        ("a", "b", True, True, True),
        ("c", "d", True, False, True),
        ("e", "f", True, True, False),
        ("g", "h", True, None, None),
        ("i", "j", False, True, False),
        ("k", "l", None, None, None),
    ]
    columns = ["first", "second", "real_clear", "synthetic_clear", "agree"]
    nothing = pl.DataFrame()
    verdict = Comparison(nothing, nothing, nothing, pl.DataFrame(rows, columns, orient="row"), []).verdict
    assert verdict == (
        "Of 6 pairs 4 have a clear sign in the real data (the interval excludes 0); 2 of these have the same "
        "sign in the synthetic data, 1 of them clearly. Same sign, but not clearly: c–d. Other sign: e–f. "
        "Not known in the synthetic data: g–h."
    )


def test_a_folder_that_is_no_synthesis(tmp_path: Path) -> None:
    (tmp_path / "mimic").mkdir()
    with pytest.raises(UserError, match="holds no folder ucmc: give the folder that `python -m train synth"):
        synthetic_sites(tmp_path)
    (tmp_path / "ucmc").mkdir()
    assert list(synthetic_sites(tmp_path)) == ["mimic", "ucmc"]
