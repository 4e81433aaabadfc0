from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from ehrfm_core.errors import UserError
from ehrfm_core.ragged import Ragged
from train.__main__ import main
from train.bench import clocked_extract, cotorra_extract


def test_it_measures_our_own_pass(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["bench", "embedding", "--size", "tiny", "--tokens", "2000", "--repeats", "1", "--json"]
    assert main(command) == 0
    found = json.loads(capsys.readouterr().out)
    for runs in found["runs"].values():
        assert runs[0]["tokens_per_second"] > 0
        assert 0 < runs[0]["mfu"] < 1.5
    assert "tokens of" in found["about"]


def test_a_cotorra_that_is_not_there_is_named() -> None:
    with pytest.raises(UserError, match="is not the program of cotorra"):
        cotorra_extract.measure(
            "no-such-cotorra",
            Ragged.from_lengths(np.arange(4), np.array([4])),
            Ragged.from_lengths(np.arange(4.0), np.array([4])),
            {"TL_START": 0},
            Path("model"),
            folder=Path("nowhere"),
            everything=False,
        )


def test_windows_are_written_as_cocoa_s_winnower_does(tmp_path: Path) -> None:
    windows = Ragged.from_lengths(np.array([3, 5, 6, 3]), np.array([3, 1]))
    minutes = Ragged(np.array([0, 0.5, 90, 0]), windows.offsets)
    cotorra_extract.write_windows(tmp_path / "w.parquet", windows, minutes)
    frame = pl.read_parquet(tmp_path / "w.parquet")
    assert frame["tokens_past"].to_list() == [[3, 5, 6], [3]]
    assert frame["s_elapsed_past"].to_list() == [[0, 30, 5400], [0]]


def test_the_clock_runs_around_the_extraction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    class Extractor:
        def extract(self, *, everything: bool) -> None:
            seen.append(everything)

    def app(command: list[str], *, standalone_mode: bool) -> None:
        Extractor().extract(everything="--all-times" in command)

    for name, content in (("cotorra", {}), ("cotorra.cli", {"app": app})):
        monkeypatch.setitem(sys.modules, name, types.SimpleNamespace(**content))  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "cotorra.extractor", types.SimpleNamespace(Extractor=Extractor))  # type: ignore[arg-type]
    monkeypatch.setattr(clocked_extract, "version", lambda _: "1.2")
    clocked_extract.main([str(tmp_path), "extract", "--all-times"])
    assert seen == [True]
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["version"] == "1.2"
    assert report["seconds"] >= 0
