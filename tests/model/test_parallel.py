"""Several processes train as one does: by gloo, which needs no GPU."""

from __future__ import annotations

import gc
import os
import socket
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch

from ehrfm_core.errors import UserError
from ehrfm_core.model.history import METRICS, read_run
from ehrfm_core.model.keeper import STATE
from ehrfm_core.model.parallel import Group, joined, launched, like, whole
from ehrfm_core.model.pretrain import Pretrained, StoppedError, pretrain
from ehrfm_core.model.settings import Execution
from ehrfm_core.model.state import read_counted, weights_of
from tests.model.lives import Case, one_of_many, read_result
from tests.model.made import VOCABULARY, mini, timelines
from tests.model.processes import PATIENCE, start

DATA = timelines(60, 0), timelines(7, 1)  # the tuning split has an odd number of packs
EVEN, UNEVEN = (
    mini(steps=20),
    mini(steps=20, batch_tokens=192),
)  # two and three packs a step, for two processes
WORLD = 2


def alone(name: str, **more: Any) -> Pretrained:
    settings = EVEN if name.startswith("even") else UNEVEN
    return pretrain(*DATA, VOCABULARY, settings, Execution(precision="fp32", **more))


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the results of all that two processes do together."""
    out = tmp_path_factory.mktemp("together")
    plain: dict[str, Any] = {"precision": "fp32"}
    sharded = plain | {"shard": True}

    def kept(name: str, options: dict[str, Any]) -> dict[str, Any]:
        return options | {"folder": out / f"{name} kept", "identity": "a"}

    asked = iter(range(1, 100))
    with pytest.raises(StoppedError):  # by one process, for two to go on
        alone("uneven", folder=out / "from one kept", identity="a", stop=lambda: next(asked) >= 10)
    cases: dict[str, Case] = {
        "even": (EVEN, plain, None),
        "even, sharded": (EVEN, sharded, None),
        "uneven": (UNEVEN, kept("uneven", plain), None),
        "uneven, sharded": (UNEVEN, sharded, None),
        "from one": (UNEVEN, kept("from one", sharded), None),
        "stopped": (UNEVEN, kept("stopped", plain), 1),
        "stopped, sharded": (UNEVEN, kept("stopped, sharded", sharded), 1),
        "diverged": (mini(steps=20, learning_rate=1e6), kept("diverged", plain), None),
    }
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [start(one_of_many, rank, WORLD, port, cases, DATA, out) for rank in range(WORLD)]
    for process in processes:
        process.join(PATIENCE)
        process.kill()
    assert [process.exitcode for process in processes] == [0] * WORLD
    return out


def assert_alike(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["even", "even, sharded", "uneven", "uneven, sharded", "from one"])
def test_two_processes_train_as_one_does(name: str, together: Path) -> None:
    told, best, last = read_result(together / name)
    wanted = alone(name)
    assert told["steps"] == wanted.steps == 20
    assert [point["step"] for point in told["curve"]] == [10, 20]
    for point, other in zip(told["curve"], wanted.curve, strict=True):
        assert point == pytest.approx(other, rel=1e-5)
    assert told["loss"] == pytest.approx(wanted.tuning_loss, rel=1e-5)
    assert_alike(best, weights_of(wanted.model))
    assert_alike(last, weights_of(wanted.last))


@pytest.mark.parametrize("name", ["stopped", "stopped, sharded"])
def test_what_two_processes_began_one_can_finish(name: str, together: Path) -> None:
    step = 10
    for rank in range(WORLD):
        said = (together / f"{name}.{rank}.txt").read_text()
        assert said.startswith(f"StoppedError: Stopped at step {step} of 20")
    folder = together / f"{name} kept"
    assert read_counted(folder / STATE)["step"] == step  # type: ignore[index]
    on = alone("uneven", folder=folder, identity="a")
    assert read_run(folder)["resumed_at"] == step
    wanted = alone("uneven")
    assert_alike(weights_of(on.last), weights_of(wanted.last))
    for point, other in zip(on.curve, wanted.curve, strict=True):
        assert point == pytest.approx(other, rel=1e-5)


def test_one_process_writes_and_says_how_many_there_were(together: Path) -> None:
    folder = together / "uneven kept"
    assert read_run(folder)["world_size"] == WORLD
    assert len((folder / METRICS).read_text().splitlines()) == 2
    assert len(list(folder.glob("events.out.tfevents.*"))) <= 1


def test_all_processes_say_that_the_loss_is_no_number(together: Path) -> None:
    for rank in range(WORLD):
        assert "not a number at step" in (together / f"diverged.{rank}.txt").read_text()


def test_alone_there_is_nobody_to_wait_for() -> None:
    group = Group()
    value = torch.tensor(3.0)
    group.wait()
    assert group.first
    assert group.sum(value) is value
    assert (group.any(True, "cpu"), group.any(False, "cpu")) == (True, False)
    assert whole(value) is value
    assert torch.equal(like(value, torch.zeros(())), value)


def test_without_torchrun_there_is_no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TORCHELASTIC_RUN_ID", "RANK", "WORLD_SIZE", "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)
    assert not launched()
    with pytest.raises(UserError, match="torchrun did not start this process"), joined("cpu"):
        pass
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    assert launched()


def test_the_group_outlives_a_model_that_holds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Freed with the model, under Python's lock, it can wait for a thread that waits for that lock."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    here = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    for name, value in here.items():
        monkeypatch.setenv(name, value)
    with joined("cpu"):
        held = weakref.ref(torch.distributed.group.WORLD)
    gc.collect()
    assert not torch.distributed.is_initialized()
    assert held() is not None


def test_more_processes_than_cards_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "x", "LOCAL_RANK": "1"}.items():
        monkeypatch.setitem(os.environ, name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match="2 processes but 1 GPUs"), joined("cuda"):
        pass
