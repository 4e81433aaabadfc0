from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ehrfm_core.study import open_study
from tests.make_study import make_study
from train.recipes.deterioration import compare, main

ID = "hospitalization_id"


def with_truth(tmp_path: Path) -> tuple[Path, Path]:
    """A made-up study, and a truth in which severity rises when the study's largest step comes."""
    folder = make_study(tmp_path / "study", sites={"mimic": 300})
    paths = open_study(folder).site_table("mimic", "paths").sort(ID, "hour")
    truth = paths.select(ID, "hour", severity=pl.col("step").fill_null(0.0).cum_sum().over(ID))
    place = tmp_path / "hospitals" / "truth" / "mimic" / "hours.parquet"
    place.parent.mkdir(parents=True)
    truth.write_parquet(place)
    return folder, tmp_path / "hospitals"


def test_a_step_that_follows_the_truth_is_told_from_charting(tmp_path: Path) -> None:
    folder, hospitals = with_truth(tmp_path)
    lines = compare(open_study(folder), "mimic", hospitals)
    share: dict[tuple[str, str], float] = {}
    for line in lines:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        share[cells[1], cells[2]] = float(cells[3].split()[0])
    assert share["largest step between hours", "0 h"] > 0.95
    assert share["most charted (baseline)", "0 h"] < 0.3
    assert np.isfinite(list(share.values())).all()


def test_a_folder_without_truth_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_study(tmp_path / "study", sites={"mimic": 40})
    assert main([str(folder), str(tmp_path)]) == 1
    assert "hours.parquet is missing" in capsys.readouterr().err
