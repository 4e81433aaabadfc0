"""Stage 3 interrupted and taken up again; what it keeps, and how much of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from ehrfm_core.dynamics import shards
from ehrfm_core.evaluation.probes import Probe
from ehrfm_core.outcomes import OUTCOMES
from ehrfm_core.study import open_study
from ehrfm_core.study.layout import PROBES
from ehrfm_core.study.verify import verify
from tests.reseal import reseal
from train import embed as stage
from train import later
from train.__main__ import main

DEMO = Path(__file__).parents[2] / "data_samples" / "studies" / "mimic-iv-demo"
ID = "hospitalization_id"
MOST_BYTES = 4_000  # a stay, besides the representation and the hourly states


@pytest.fixture(autouse=True, scope="module")
def small_shards() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        small = partial(shards.read_out_in_shards, shard_tokens=20_000)
        patch.setattr(stage, "read_out_in_shards", small)
        patch.setattr(later, "SHARD_TOKENS", 60_000)
        yield


@pytest.fixture(scope="module")
def whole(small_shards: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = unread(tmp_path_factory.mktemp("whole") / "study")
    assert main(["embed", str(folder), "--device", "cpu", "--whole-stay"]) == 0
    return folder


def unread(folder: Path) -> Path:
    """The bundled study as it was before its states were read."""
    shutil.copytree(DEMO, folder)
    content = json.loads((folder / "study.json").read_text())
    for name in ("embed", "evaluate"):
        for path in content["stages"].pop(name)["files"]:
            (folder / path).unlink()
    (folder / "study.json").write_text(json.dumps(content))
    reseal(folder)
    return folder


def test_an_interrupted_pass_goes_on_to_the_same_files(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the windows, then in what comes after them: nothing that was read is read again."""
    folder = unread(tmp_path / "study")
    command = ["embed", str(folder), "--device", "cpu", "--whole-stay"]
    reads = {"windows": Reads(shards.read_out, stop_after=2), "later": Reads(later.read_later, stop_after=2)}
    monkeypatch.setattr(shards, "read_out", reads["windows"])
    monkeypatch.setattr(later, "read_later", reads["later"])
    assert main(command) != 0
    assert "embed" not in open_study(folder).manifest.stages
    assert len(list((folder / stage.SHARDS / "mimic").glob("*.safetensors"))) == 2

    reads["windows"].stop_after = None
    assert main(command) != 0
    n_tokens = open_study(folder).site_table("mimic", "stays")["n_tokens"].sum()
    assert reads["windows"].n >= n_tokens // 20_000
    assert len(list((folder / stage.SHARDS / "mimic-later").glob("*.parquet"))) == 2
    assert not (folder / "sites/mimic/later.parquet").exists()

    n_before, reads["later"].stop_after = reads["windows"].n, None
    assert main(command) == 0
    assert reads["windows"].n == n_before
    assert reads["later"].n > 3
    assert not (folder / stage.SHARDS).exists()
    one, other = (open_study(x).manifest.stages["embed"].files for x in (whole, folder))
    assert one == other
    assert "sites/mimic/later.parquet" in one


class Reads:
    """Counts the passes that were finished; after `stop_after` of them somebody presses Ctrl-C."""

    def __init__(self, read: Any, stop_after: int | None) -> None:
        self.read, self.stop_after, self.n = read, stop_after, 0

    def __call__(self, *given: Any, **options: Any) -> Any:
        if self.n == self.stop_after:
            raise KeyboardInterrupt
        result = self.read(*given, **options)
        self.n += 1
        return result


def test_a_stay_takes_no_more_than_four_kilobytes(whole: Path) -> None:
    study = open_study(whole)
    n = study.site_table("mimic", "stays").height
    kept = ("jumps", "dynamics", "anomaly")
    size = sum((whole / f"sites/mimic/{name}.parquet").stat().st_size for name in kept)
    assert size / n < MOST_BYTES


def test_the_risk_after_the_last_token_is_the_probe_s_on_the_representation(whole: Path) -> None:
    study = open_study(whole)
    probes = {k: Probe.from_json(v) for k, v in json.loads((whole / PROBES).read_text()).items()}
    frame = (
        study.site_table("mimic", "jumps")
        .join(study.site_table("mimic", "states"), on=ID)
        .join(study.site_table("mimic", "stays"), on=ID)
    )
    for name, outcome in OUTCOMES.items():
        counted = frame.filter(outcome.counts())
        assert counted[f"risk_{name}"].null_count() == 0
        assert frame.filter(~outcome.counts())[f"risk_{name}"].null_count() == frame.height - counted.height
        assert (counted[f"risk_{name}"].list.len() == counted["n_tokens"]).all()
        last = counted[f"risk_{name}"].list.last().to_numpy()
        expected = probes[name].probability(counted["state"].to_numpy())
        odds = np.log(last / (1 - last)) - np.log(expected / (1 - expected))
        assert np.abs(odds).max() < 1 / 32  # kept in steps of 1/32, from half precision


def test_hours_and_jumps_belong_together(whole: Path) -> None:
    study = open_study(whole)
    hourly = study.site_table("mimic", "hourly")
    states = hourly["state"].to_numpy().reshape(-1, 25, hourly["state"].dtype.shape[0])  # type: ignore[attr-defined]
    steps = np.linalg.norm(np.diff(states.astype(np.float64), axis=1), axis=2)
    stored = hourly["step"].to_numpy().reshape(-1, 25)[:, 1:]
    assert np.allclose(stored, steps, atol=0.02)  # the states are kept in half precision
    sums = (
        hourly.group_by(ID).agg(pl.col("travelled").sum()).join(study.site_table("mimic", "dynamics"), on=ID)
    )
    assert np.allclose(sums["travelled"], sums["event_path_length"], rtol=1e-4)


def test_the_hours_after_the_window_go_on_from_it(whole: Path) -> None:
    study = open_study(whole)
    table, stays = study.site_table("mimic", "later"), study.site_table("mimic", "stays")
    assert table["hour"].min() == 25
    assert table.select(ID, "hour").is_duplicated().sum() == 0
    assert table.height > stays.height
    hours = table.group_by(ID).agg(pl.col("hour").max()).join(stays, on=ID)
    assert (hours["hour"] <= hours["los_hours"] + 25).all()  # charting goes on a little after discharge
    first = table.filter(pl.col("hour") == 25, pl.col("n_events") == 0)
    # without an event the state is that of the hour before, but for half precision and its pack
    ends = study.site_table("mimic", "hourly").filter(pl.col("hour") == 24).join(first, on=ID)
    assert len(ends) > 3
    assert ends["step_right"].max() < 0.05
    assert np.allclose(ends["pca_x"], ends["pca_x_right"], atol=0.2)
    for name, outcome in OUTCOMES.items():
        counted = table.join(stays, on=ID).filter(outcome.counts())
        assert counted[f"risk_{name}"].null_count() == 0
    assert not [finding for finding in verify(study) if "later" in finding]
