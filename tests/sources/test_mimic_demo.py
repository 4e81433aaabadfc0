from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from ehrfm_core.errors import UserError
from ehrfm_core.sources.mimic_demo import import_mimic_demo, open_stays


def test_the_275_open_stays_of_100_patients(demo: Path) -> None:
    stays = pl.read_parquet(demo / "clif_hospitalization.parquet")
    assert len(open_stays()) == 275
    assert sorted(stays["hospitalization_id"]) == open_stays()
    assert stays["patient_id"].n_unique() == 100
    assert (stays["discharge_category"] == "Expired").sum() == 15


def test_equal_to_the_open_release(demo: Path, shared_data: Path) -> None:
    reference = sorted((shared_data / "mimic-iv-demo-clif").glob("clif_*.parquet"))
    assert len(reference) == 14
    for path in reference:
        assert_frame_equal(pl.read_parquet(path), pl.read_parquet(demo / path.name))


def test_importing_twice_changes_nothing(demo: Path) -> None:
    before = {path.name: path.read_bytes() for path in demo.iterdir()}
    import_mimic_demo(demo)
    assert {path.name: path.read_bytes() for path in demo.iterdir()} == before


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.docx").write_text("mine")
    with pytest.raises(UserError, match=r"holds thesis.docx"):
        import_mimic_demo(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.docx"]


def test_tables_of_ones_own_are_left_alone(tmp_path: Path) -> None:
    own = tmp_path / "clif_labs.parquet"
    pl.DataFrame({"hospitalization_id": ["mine"]}).write_parquet(own)
    before = own.read_bytes()
    with pytest.raises(UserError, match=r"holds clif_labs.parquet, which is not from this import"):
        import_mimic_demo(tmp_path)
    assert own.read_bytes() == before


def test_a_file_as_target(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(UserError, match="is a file"):
        import_mimic_demo(tmp_path / "out")
