"""A run that is killed, as often and whenever, ends with the weights of one that was left alone.

EHRFM_MANY_KILLS=200 makes it a long test: so many kills of each kind of run.
"""

from __future__ import annotations

import json
import os
import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ehrfm_core.model.history import METRICS, read_run
from ehrfm_core.model.keeper import STATE
from ehrfm_core.model.pretrain import Pretrained, StoppedError, pretrain
from ehrfm_core.model.settings import Execution, PretrainSettings
from ehrfm_core.model.state import read_counted
from ehrfm_core.ragged import Ragged
from tests.model.events import read_events
from tests.model.lives import one_life, read_result, write_result
from tests.model.made import NOTHING, VOCABULARY, mini, timelines
from tests.model.processes import FORKS, start, until

KILLS = 5  # of one run, at most
ROUNDS = -(-int(os.environ.get("EHRFM_MANY_KILLS", "5")) // KILLS)
SAME = ("step", "tokens", "loss", "learning_rate", "grad_norm", "tuning_loss")
TRAIN, UNLIKE = timelines(60, 0), timelines(10, 1, noise=0.3)  # the second gets worse in the end

RUNS: dict[str, tuple[PretrainSettings, Ragged]] = {
    "to the end": (mini(steps=80, steps_between=30, seed=1), timelines(10, 1)),
    "stopped early": (mini(steps=300, steps_between=5, patience=4, learning_rate=0.004), UNLIKE),
    "no tuning split": (mini(steps=40), NOTHING),
}


def execution(folder: Path, **more: Any) -> Execution:
    return Execution(precision="fp32", folder=folder, identity="a", save_steps=10, **more)


@pytest.fixture(scope="module", params=RUNS)
def left_alone(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Name and folder of a run that nothing happened to; its result is in `out`."""
    folder = tmp_path_factory.mktemp("alone")
    settings, tuning = RUNS[request.param]
    write_result(folder / "out", pretrain(TRAIN, tuning, VOCABULARY, settings, execution(folder)))
    return request.param, folder


def lines(folder: Path) -> list[dict[str, Any]]:
    told = [json.loads(text) for text in (folder / METRICS).read_text().splitlines()]
    return [{name: line[name] for name in SAME if name in line} for line in told]


def assert_same_end(folder: Path, alone: Path) -> None:
    """Bit by bit: curve, best and last weights, and every figure of the history that is no time."""
    told, best, last = read_result(folder / "out")
    wanted, wanted_best, wanted_last = read_result(alone / "out")
    assert told == wanted
    for one, other in ((best, wanted_best), (last, wanted_last)):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert lines(folder) == lines(alone)
    assert read_run(folder)["status"] == "finished"


def kill_some_time(life: Any, steps: Any, writing: Any, chance: random.Random) -> None:
    """Kill a process: after some steps and some milliseconds, or while half a file is on the disk."""
    if chance.random() < 0.4:
        for more in range(chance.randint(0, 3), -1, -1):
            until(lambda: writing.value == 1 or not life.is_alive())
            if more:
                until(lambda: writing.value == 0 or not life.is_alive())
    else:
        after = chance.randint(0, 25)
        until(lambda: steps.value >= after or not life.is_alive())
        time.sleep(chance.random() * 0.03)
    life.kill()
    life.join()


@pytest.mark.parametrize("turn", range(ROUNDS))
def test_killed_at_any_moment_it_ends_the_same(
    turn: int, left_alone: tuple[str, Path], tmp_path: Path
) -> None:
    name, alone = left_alone
    settings, tuning = RUNS[name]
    chance, steps, writing = random.Random(f"{name} {turn}"), FORKS.Value("i", 0), FORKS.Value("i", 0)
    options = {"precision": "fp32", "folder": tmp_path, "identity": "a", "save_steps": 10}
    saved, kills = 0, 0
    while not (tmp_path / "out").is_dir():
        steps.value = writing.value = 0
        life = start(one_life, settings, options, (TRAIN, tuning), tmp_path / "out", steps, writing)
        if kills < KILLS:
            kill_some_time(life, steps, writing, chance)
            kills += 1
            found = read_counted(tmp_path / STATE)
            assert found is not None or not (tmp_path / STATE).exists()
            assert found is None or found["step"] >= saved
            saved = found["step"] if found else 0
        else:
            life.join()
            assert life.exitcode == 0
    assert kills > 1
    assert_same_end(tmp_path, alone)
    assert {path.name for path in tmp_path.glob(".*")} == set()
    assert list(read_events(tmp_path)) == [line["step"] for line in lines(tmp_path)]


def test_the_runs_are_what_they_are_called(left_alone: tuple[str, Path]) -> None:
    name, folder = left_alone
    told, best, last = read_result(folder / "out")
    settings, _ = RUNS[name]
    assert (told["steps"] < settings.steps) == (name == "stopped early")  # type: ignore[operator]
    assert (told["loss"] is None) == (name == "no tuning split")
    moved = any(not torch.equal(best[key], last[key]) for key in best)
    assert moved == (name == "stopped early")


def stopping(after: int) -> Any:
    asked = iter(range(1, 10**6))
    return lambda: next(asked) >= after


def goes_on(folder: Path, settings: PretrainSettings, tuning: Ragged, **more: Any) -> Pretrained:
    return pretrain(TRAIN, tuning, VOCABULARY, settings, execution(folder, **more))


def test_a_run_that_is_asked_to_stop_goes_on_to_the_same_weights(
    left_alone: tuple[str, Path], tmp_path: Path
) -> None:
    name, alone = left_alone
    settings, tuning = RUNS[name]
    for after in (1, 7, 20):
        with pytest.raises(StoppedError, match="its state is saved: run the same command again"):
            goes_on(tmp_path, settings, tuning, stop=stopping(after))
        found = read_run(tmp_path)
        assert (found["status"], "Stopped at step" in found["reason"]) == ("stopped", True)
        assert read_counted(tmp_path / STATE)["step"] == found["step"]  # type: ignore[index]
    assert found["step"] == 28
    write_result(tmp_path / "out", goes_on(tmp_path, settings, tuning))
    (told, *weights), (wanted, *wanted_weights) = (read_result(at / "out") for at in (tmp_path, alone))
    for one, other in zip(weights, wanted_weights, strict=True):
        assert all(torch.equal(one[key], other[key]) for key in one)
    assert [point.get("tuning_loss") for point in told["curve"]] == [
        point.get("tuning_loss") for point in wanted["curve"]
    ]


def test_a_finished_run_whose_end_was_lost_is_read_again(tmp_path: Path) -> None:
    settings, tuning = RUNS["stopped early"]
    first, second = (goes_on(tmp_path, settings, tuning) for _ in range(2))
    for one, other in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(one, other)
    assert (first.steps, first.best_step, first.curve) == (second.steps, second.best_step, second.curve)


def test_another_run_starts_anew(tmp_path: Path) -> None:
    settings, tuning = RUNS["to the end"]
    with pytest.raises(StoppedError):
        goes_on(tmp_path, settings, tuning, stop=stopping(20))
    changed = replace(settings, steps=10, learning_rate=1e-3)
    done = pretrain(
        TRAIN, tuning, VOCABULARY, changed, replace(execution(tmp_path), identity="b", stop=lambda: False)
    )
    fresh = pretrain(TRAIN, tuning, VOCABULARY, changed, Execution(precision="fp32"))
    for one, other in zip(done.last.parameters(), fresh.last.parameters(), strict=True):
        assert torch.equal(one, other)
    assert [line["step"] for line in lines(tmp_path)] == [10]


def test_an_interrupt_leaves_the_last_state(tmp_path: Path) -> None:
    settings, tuning = RUNS["to the end"]

    def interrupt() -> bool:
        if next(asked) == 25:
            raise KeyboardInterrupt
        return False

    asked = iter(range(1, 100))
    with pytest.raises(KeyboardInterrupt):
        goes_on(tmp_path, settings, tuning, stop=interrupt)
    assert read_run(tmp_path)["status"] == "stopped"
    assert read_counted(tmp_path / STATE)["step"] == 20  # type: ignore[index]
