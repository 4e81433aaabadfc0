from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from ehrfm_core.model import keeper as keeping
from ehrfm_core.model.keeper import MOST_OF_THE_TIME, STATE, Counted, Keeper
from ehrfm_core.model.pretrain import optimizer_of
from ehrfm_core.model.settings import Execution, PretrainSettings
from tests.model.made import llama


@dataclass
class Run:
    """A model that only counts: its norm holds the step."""

    folder: Path | None
    identity: str = "a"
    save_steps: int | None = None
    counted: Counted = field(init=False)

    def __post_init__(self) -> None:
        self.model = llama()
        self.optimizer = optimizer_of(self.model, 1e-3, PretrainSettings())
        execution = Execution(folder=self.folder, identity=self.identity, save_steps=self.save_steps)
        self.keeper = Keeper(execution)
        self.counted = self.keeper.resume(self.model, self.optimizer)

    def step(self, *, best: bool = False, always: bool = False) -> None:
        self.counted.step += 1
        with torch.no_grad():
            self.model.model.norm.weight.fill_(self.counted.step)
        if best:
            self.counted.best_step, self.counted.best_loss = self.counted.step, 1 / self.counted.step
            self.keeper.keep_best(self.model, self.counted)
        self.keeper.save(self.model, self.optimizer, self.counted, always=always)

    @property
    def best(self) -> float:
        return self.keeper.best(self.counted)["model.norm.weight"].mean().item()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_run_goes_on_where_its_state_was_saved(tmp_path: Path) -> None:
    first = Run(tmp_path)
    first.step(best=True, always=True)
    first.step(always=True)
    first.step()
    second = Run(tmp_path)
    assert (second.counted.step, second.keeper.saved_step) == (2, 2)
    assert second.model.model.norm.weight.mean() == 2
    assert second.best == 1


def test_older_best_weights_go_when_a_state_speaks_of_newer_ones(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.step(best=True, always=True)
    run.step(best=True)
    assert {"best-00000001.safetensors", "best-00000002.safetensors"} <= names(tmp_path)
    assert Run(tmp_path).best == 1  # killed before a state was saved
    run = Run(tmp_path)
    run.step(best=True, always=True)
    assert names(tmp_path) == {STATE, "best-00000002.safetensors"}
    assert Run(tmp_path).best == 2


def lose_best(folder: Path) -> None:
    (folder / "best-00000001.safetensors").unlink()


def cut_state(folder: Path) -> None:
    os.truncate(folder / STATE, 5_000)


def foreign_state(folder: Path) -> None:
    (folder / STATE).write_text("what is this?")


def other_fields(folder: Path) -> None:
    counted = '{"identity": "a", "step": 1}'
    keeping.write_tensors(folder / STATE, {"generator": torch.get_rng_state()}, {"counted": counted})


@pytest.mark.parametrize("spoil", [lose_best, cut_state, foreign_state, other_fields])
def test_a_state_that_cannot_be_gone_on_from_is_begun_anew(
    spoil: Callable[[Path], None], tmp_path: Path
) -> None:
    Run(tmp_path).step(best=True, always=True)
    (tmp_path / "metrics.jsonl").write_text("{}")
    spoil(tmp_path)
    again = Run(tmp_path)
    assert again.counted == Counted("a")
    assert (again.model.model.norm.weight == 1).all()
    assert names(tmp_path) == {"metrics.jsonl"}
    again.step(best=True, always=True)
    assert Run(tmp_path).counted.step == 1


def test_the_state_of_another_run_is_removed(tmp_path: Path) -> None:
    Run(tmp_path).step(best=True, always=True)
    assert Run(tmp_path, identity="b").counted == Counted("b")
    assert names(tmp_path) == set()


def test_steps_between_states_are_kept(tmp_path: Path) -> None:
    run, saved = Run(tmp_path, save_steps=3), []
    for _ in range(10):
        run.step(always=run.counted.step == 4)
        saved.append(run.keeper.saved_step)
    assert saved == [0, 0, 3, 3, 5, 5, 5, 8, 8, 8]


def test_saving_takes_no_more_than_its_share_of_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, cost, saved = [0.0], 30.0, 0
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def slow(*_: object) -> None:
        nonlocal saved
        saved += 1
        now[0] += cost

    monkeypatch.setattr(keeping, "save_state", slow)
    run = Run(tmp_path)
    for _ in range(100):
        now[0] += 59.0
        run.step()
    assert saved > 1
    assert saved * cost <= MOST_OF_THE_TIME * now[0] + cost
    cost = 0.1
    had = saved
    for _ in range(100):
        now[0] += 59.0
        run.step()
    assert 40 < saved - had <= 50  # every second step, when a minute is over


def test_without_a_folder_the_best_weights_are_held(tmp_path: Path) -> None:
    run = Run(None)
    assert run.keeper.best(run.counted) == {}
    run.step(best=True, always=True)
    run.step(always=True)
    assert run.model.model.norm.weight.mean() == 2
    assert run.best == 1
    run.keeper.forget()
    assert names(tmp_path) == set()


def test_what_is_forgotten_leaves_the_history(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.step(best=True, always=True)
    for name in ("metrics.jsonl", "run.json", ".state.safetensors.partial"):
        (tmp_path / name).write_text("")
    run.keeper.forget()
    assert names(tmp_path) == {"metrics.jsonl", "run.json"}


def test_a_run_that_goes_on_sweeps_what_killed_writes_have_left(tmp_path: Path) -> None:
    Run(tmp_path).step(best=True, always=True)
    had = names(tmp_path)
    for name in (".tmpwHP8C7", ".state.safetensors.partial"):
        (tmp_path / name).write_text("half")
    assert Run(tmp_path).counted.step == 1
    assert names(tmp_path) == had
