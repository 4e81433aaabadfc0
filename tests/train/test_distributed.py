"""Several processes train one model: the same one, and they speak with one voice."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ehrfm_core.study import open_study
from ehrfm_core.study.lock import locked
from tests.make_clif import make_tables, write_tables
from tests.model.processes import until
from tests.train.lives import Death, Life, start
from tests.train.mini import mini_sizes
from train.__main__ import main

ROOT = Path(__file__).parents[2]
# a rate at which rounding does not grow: Adam makes much of the smallest gradients
OPTIONS = (
    "--steps",
    40,
    "--batch-tokens",
    512,
    "--learning-rate",
    5e-4,
    "--precision",
    "fp32",
    "--device",
    "cpu",
)
REAL = ("--steps", 2, "--batch-tokens", 256, "--pack-tokens", 64, "--device", "cpu")  # the true sizes


@pytest.fixture(scope="module")
def tokenized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenized")
    clif = write_tables(make_tables(), folder / "clif")
    study = folder / "study"
    assert main(["tokenize", str(study), "--site", f"mimic={clif}", "--max-tokens", "64"]) == 0
    return study


@pytest.fixture
def study(tokenized: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tokenized, tmp_path / "study"))


@pytest.fixture(scope="module")
def alone(tokenized: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process makes of it."""
    folder = tmp_path_factory.mktemp("alone")
    study = Path(shutil.copytree(tokenized, folder / "study"))
    life = start(folder / "log", "pretrain", study, *OPTIONS)
    assert life.status() == 0, life.printed
    return study


def together(study: Path, *options: object, deaths: Sequence[Death | None] = (None, None)) -> list[Life]:
    """A process a death or none, as torchrun would have started them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        "WORLD_SIZE": str(len(deaths)),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    words = ("pretrain", study, "--distributed", *(options or OPTIONS))
    return [
        start(
            study.parent / f"log{rank}",
            *words,
            death=death,
            environment=environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank, death in enumerate(deaths)
    ]


def ended(lives: list[Life]) -> tuple[list[int], str]:
    """How they ended, and all that they printed."""
    statuses = [life.status() for life in lives]
    printed = "".join(life.printed for life in lives)
    assert "Traceback" not in printed
    return statuses, printed


def only_error(printed: str) -> str:
    errors = [line for line in printed.splitlines() if "Error" in line]
    assert len(errors) == 1, printed
    return errors[0]


def summary_of(study: Path) -> dict[str, Any]:
    return open_study(study).manifest.stages["pretrain"].summary


@pytest.mark.parametrize("options", [(), ("--shard",)], ids=["whole", "sharded"])
def test_many_processes_train_what_one_does(study: Path, alone: Path, options: tuple[str, ...]) -> None:
    lives = together(study, *OPTIONS, *options)
    statuses, printed = ended(lives)
    assert statuses == [0, 0], printed
    assert lives[1].printed.strip() == ""
    assert printed.count("pretrain: done in") == 1
    ours, theirs = summary_of(study), summary_of(alone)
    assert ours["tuning_loss"] == pytest.approx(theirs["tuning_loss"], abs=1e-4)
    assert (ours["steps"], ours["best_step"]) == (theirs["steps"], theirs["best_step"])
    for here, there in zip(ours["curve"], theirs["curve"], strict=True):
        assert here == pytest.approx(there, abs=1e-4)
    settings = [open_study(folder).manifest.stages["pretrain"] for folder in (study, alone)]
    assert settings[0].fingerprint == settings[1].fingerprint
    assert settings[0].files.keys() == settings[1].files.keys()
    told = json.loads((study / "training" / "run.json").read_text())
    assert told["world_size"] == 2
    assert not list((study / "training").glob("*.safetensors"))
    assert not (study / "training" / "arrays").exists()
    # and once more, alone or together: nothing to do
    statuses, printed = ended(together(study))
    assert statuses == [0, 0]
    assert printed.count("nothing to do") == 1


def test_interrupted_together_and_ended_alone(study: Path, alone: Path, tmp_path: Path) -> None:
    lives = together(study)
    until(lambda: "step" in read_told(study) and read_told(study)["step"] >= 10)
    for life in lives:
        life.kill(signal.SIGTERM)
    statuses, printed = ended(lives)
    assert statuses == [130, 130]
    assert printed.count("run the same command again to go on") == 1
    assert lives[1].printed.strip() == "" or lives[0].printed.count("run the same command") == 0
    reached = read_told(study)["step"]
    assert reached < 40
    life = start(tmp_path / "log", "pretrain", study, *OPTIONS)
    assert life.status() == 0
    assert read_told(study)["resumed_at"] == reached
    assert summary_of(study)["tuning_loss"] == pytest.approx(summary_of(alone)["tuning_loss"], abs=1e-4)


def read_told(study: Path) -> dict[str, Any]:
    try:
        return json.loads((study / "training" / "run.json").read_text())
    except (OSError, ValueError):
        return {}


def test_what_all_of_them_meet_is_told_once(study: Path, tmp_path: Path) -> None:
    statuses, printed = ended(together(study, *OPTIONS, "--learning-rate", "1e30"))
    assert statuses == [1, 1]
    assert "The loss is not a number" in only_error(printed)
    statuses, printed = ended(together(tmp_path / "nowhere", *OPTIONS))
    assert statuses == [1, 1]
    assert "is not a study" in only_error(printed)


def test_a_study_that_another_run_writes_is_left_to_it(study: Path) -> None:
    with locked(study):
        statuses, printed = ended(together(study, *OPTIONS))
    assert statuses == [1, 1]
    assert f"is being written by process {os.getpid()} on" in only_error(printed)
    assert not (study / "training").exists()


FAILS: Death = ("train.pretrain", "read_token_arrays", 1, "fails")
DIES: Death = ("train.pretrain", "read_token_arrays", 1, "before")


@pytest.mark.parametrize("rank", [0, 1])
def test_what_one_of_them_meets_ends_them_all(study: Path, rank: int) -> None:
    deaths: list[Death | None] = [None, None]
    deaths[rank] = FAILS
    lives = together(study, *OPTIONS, deaths=deaths)
    statuses, printed = ended(lives)
    assert statuses == [1, 1]
    assert "Disk quota exceeded" in only_error(printed)
    assert "Error" in lives[rank].printed
    assert "pretrain" not in open_study(study).manifest.stages


@pytest.mark.parametrize("rank", [0, 1])
def test_where_one_is_killed_the_other_ends_quietly(study: Path, rank: int) -> None:
    deaths: list[Death | None] = [None, None]
    deaths[rank] = DIES
    lives = together(study, *OPTIONS, deaths=deaths)
    statuses, printed = ended(lives)
    assert statuses[rank] == -signal.SIGKILL
    assert statuses[1 - rank] == 1
    assert "Error" not in printed


@pytest.mark.usefixtures(mini_sizes.__name__)
def test_torchrun_without_distributed_is_refused(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    assert main(["pretrain", str(study), "--steps", "2"]) == 1
    assert "with --distributed" in only_error(capsys.readouterr().err)


def command(*words: object, module: str = "train") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", module, *map(str, words)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_command_starts_them_itself_and_the_study_goes_on(study: Path) -> None:
    process = command("pretrain", study, "--distributed", 2, *REAL)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert out.count("pretrain: done in") == 1
    assert read_told(study)["world_size"] == 2
    assert read_told(study)["settings"]["steps"] == 2
    assert "Warning" not in err
    assert main(["embed", str(study), "--device", "cpu"]) == 0
    assert open_study(study).has("embed")


def test_the_command_ends_as_its_processes_do(study: Path, tmp_path: Path) -> None:
    assert main(["pretrain", str(tmp_path), "--distributed"]) == 1  # before any is started
    process = command("pretrain", study, "--distributed", 2, *REAL, "--learning-rate", "1e30", "--steps", 9)
    _, err = process.communicate(timeout=240)
    assert process.returncode == 1
    assert "The loss is not a number" in only_error(err)
    assert "Traceback" not in err


def test_the_command_is_interrupted(study: Path) -> None:
    process = command("pretrain", study, "--distributed", 2, *REAL, "--steps", 5000)
    until(lambda: read_told(study).get("step", 0) > 0)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=240)
    assert process.returncode == 130, err
    assert err.count("run the same command again to go on") == 1
    assert "Traceback" not in err
    assert read_told(study)["status"] == "stopped"


def test_torchrun_starts_it_as_well(study: Path) -> None:
    words = ("--standalone", "--nproc-per-node", 2, "-m", "train", "pretrain", study, "--distributed", *REAL)
    process = command(*words, module="torch.distributed.run")
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert out.count("pretrain: done in") == 1
    assert len(re.findall(r"nothing|done", out)) == 1
    assert read_told(study)["world_size"] == 2
