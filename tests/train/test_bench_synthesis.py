"""`python -m train bench synthesis` measures a real process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from train.__main__ import main


@pytest.mark.slow
def test_it_measures_time_memory_and_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "synthesis", "--stays", "3", "--folder", str(tmp_path), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["stays_a_hospital"] == 3
    assert row["seconds"] > 1
    assert 0.05 < row["peak_memory_gb"] < 5
    assert not any(tmp_path.iterdir()), "what was written is removed"


def test_a_folder_that_is_not_there_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "synthesis", "--stays", "3", "--folder", str(tmp_path / "nowhere")]) == 1
    assert "nowhere" in capsys.readouterr().err
