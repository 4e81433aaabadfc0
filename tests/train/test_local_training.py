"""Pretraining at the target as part of stage 4, by the command line, on two small sites."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from ehrfm_core.clif.tables import ID
from ehrfm_core.evaluation.adaptation import coarse
from ehrfm_core.evaluation.probes import Probe
from ehrfm_core.study import open_study
from ehrfm_core.study.files import read_json
from ehrfm_core.study.layout import PROBES
from ehrfm_core.study.verify import verify
from tests.make_clif import make_tables, write_tables
from train import local_training as part
from train.__main__ import main

OPTIONS = ["--bootstrap", "100", "--device", "cpu", "--repeats", "2", "--finetune", "none"]
LOCAL = ["--local-training", "both", "--local-tokens", "20000"]
METHODS = ["pretrain", "scratch"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("local")
    sites = []
    for seed, name in enumerate(("here", "there")):
        clif = write_tables(make_tables(patients=60, seed=seed), place / name)
        sites += ["--site", f"{name}={clif}"]
    study = place / "study"
    assert main(["study", str(study), *sites, "--steps", "8", *OPTIONS, *LOCAL]) == 0
    return study


def test_both_ways_stand_beside_the_others(folder: Path) -> None:
    study = open_study(folder)
    assert verify(study) == []
    rows = study.result("predictions").filter(pl.col("adapt_method").is_in(METHODS))
    assert set(rows.select("model", "arm", "train_site", "test_site").rows()) == {
        ("probe", "adapted", "here", "there")
    }
    assert set(rows["adapt_method"]) >= {"pretrain"}
    assert rows.filter(adapt_method="pretrain", adapt_fraction=1.0).height > 0
    assert rows.filter(pl.col("adapt_fraction") > part.SMALL)["repeat"].unique().to_list() == [0]
    stays = study.site_table("there", "stays").filter(split="test")
    for (_, _, _, name), run in rows.group_by("adapt_method", "adapt_fraction", "repeat", "outcome"):
        expected = stays.filter(study.outcomes[str(name)].counts()).sort(ID)
        assert run.sort(ID)[ID].equals(expected[ID])
        assert run.sort(ID)["label"].equals(expected[str(name)].alias("label"))


def test_where_nothing_is_clearly_better_the_source_model_stands(folder: Path) -> None:
    """With some stays for tuning a gain is rarely sure: most predictions are those of zero-shot."""
    predictions = open_study(folder).result("predictions").filter(model="probe")
    unchanged = predictions.filter(arm="zero_shot")
    same = 0
    runs = predictions.filter(adapt_method="pretrain").group_by("adapt_fraction", "repeat", "outcome")
    for (fraction, _, outcome), run in runs:
        one = run.sort(ID)["probability"].to_numpy()
        other = unchanged.filter(outcome=outcome).sort(ID)["probability"].to_numpy()
        same += np.allclose(one, coarse(other) if float(fraction) < 1 else other, atol=1e-6)  # type: ignore[arg-type]
    assert same > 0


def test_what_was_finished_is_not_run_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = pl.read_parquet(folder / "results/predictions.parquet")
    (folder / "results/predictions.parquet").unlink()
    train, calls = part.train_locally, []

    def counting(*given: Any, **options: Any) -> Any:
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(1)
        return train(*given, **options)

    monkeypatch.setattr(part, "train_locally", counting)
    assert main(["evaluate", str(folder)]) != 0
    monkeypatch.setattr(part, "train_locally", lambda *given, **o: (calls.append(1), train(*given, **o))[1])
    assert main(["evaluate", str(folder)]) == 0  # as before: nothing is said of local training
    runs = before.filter(pl.col("adapt_method").is_in(METHODS))
    n_runs = runs.select("adapt_method", "adapt_fraction", "repeat").n_unique()
    assert len(calls) <= n_runs + 4  # of "scratch" some give no row: too few stays for a probe
    assert pl.read_parquet(folder / "results/predictions.parquet").equals(before)


def test_no_stay_of_the_test_split_is_trained_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = open_study(folder)
    timelines = study.site_table("there", "timelines").join(study.site_table("there", "stays"), on=ID)
    allowed = {
        split: set(map(tuple, timelines.filter(split=split)["tokens"])) for split in ("train", "tuning")
    }
    seen: dict[str, set[tuple[int, ...]]] = {"train": set(), "tuning": set()}
    train = part.train_locally

    def watching(start: Any, local: Any, tuning: Any, *given: Any, **options: Any) -> Any:
        for split, lists in (("train", local), ("tuning", tuning)):
            seen[split] |= {tuple(lists[i].tolist()) for i in range(len(lists))}
        return train(start, local, tuning, *given, **options)

    monkeypatch.setattr(part, "train_locally", watching)
    probes = {name: Probe.from_json(value) for name, value in read_json(folder / PROBES).items()}
    part.locally_trained(
        study,
        probes,
        part.LocalSettings(methods=("pretrain",), tokens=2000),
        repeats=1,
        seed=0,
        device="cpu",
        bf16=False,
        kept=folder.parent / "kept",
        identity="",
    )
    assert seen["train"] == allowed["train"]
    assert seen["tuning"] == allowed["tuning"]


def test_it_can_be_left_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(folder), "--local-training", "none"]) == 0
    predictions = open_study(folder).result("predictions")
    assert predictions.filter(pl.col("adapt_method").is_in(METHODS)).is_empty()
    capsys.readouterr()
    assert main(["evaluate", str(folder)]) == 0
    assert "evaluate: nothing to do" in capsys.readouterr().out
