"""What the tests' own processes run: a training run that may be killed, or one of several of one run."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from ehrfm_core.model import pretrain as engine
from ehrfm_core.model import state
from ehrfm_core.model.parallel import joined
from ehrfm_core.model.settings import Execution, PretrainSettings
from ehrfm_core.ragged import Ragged
from tests.model.made import VOCABULARY, add_mini

# settings, options of Execution, and after how many steps it is asked to stop
Case = tuple[PretrainSettings, dict[str, Any], int | None]


def one_life(
    settings: PretrainSettings,
    options: dict[str, Any],
    data: tuple[Ragged, Ragged],
    out: Path,
    steps: Any,
    writing: Any,
) -> None:
    """Train to the end, if left alone; `steps` counts them, `writing` is up while half a file is on the disk.

    Both are shared integers.
    """
    torch.set_num_threads(1)
    add_mini()

    def half_by_half(tensors: dict[str, torch.Tensor], path: Path, metadata: Any = None) -> None:
        save_file(tensors, path, metadata)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        writing.value = 1
        time.sleep(0.05)
        writing.value = 0
        path.write_bytes(content)

    def counted() -> bool:
        steps.value += 1
        return False

    state.save_file = half_by_half
    done = engine.pretrain(*data, VOCABULARY, settings, Execution(**options, stop=counted))
    state.save_file = save_file
    write_result(out, done)


def half_a_file(path: Path, writing: Any) -> None:
    """Write zeros in the place of what is at `path`, but never to the end; `writing` goes up half-way."""

    def half(tensors: dict[str, torch.Tensor], path: Path, metadata: Any = None) -> None:
        save_file(tensors, path, metadata)
        os.truncate(path, path.stat().st_size // 2)
        writing.value = 1
        time.sleep(600)

    state.save_file = half
    state.write_tensors(path, {"x": torch.zeros(1000)})


def one_of_many(
    rank: int, world: int, port: int, cases: dict[str, Case], data: tuple[Ragged, Ragged], out: Path
) -> None:
    """Join the other processes and carry out every case with them; what went wrong goes into NAME.txt."""
    torch.set_num_threads(1)
    add_mini()
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1"}
    os.environ["MASTER_PORT"] = str(port)
    with joined("cpu") as group:
        for name, (settings, options, stop_after) in cases.items():
            asked = iter(range(1, 1_000_000))
            stop = (lambda asked=asked, limit=stop_after: next(asked) >= limit) if stop_after else bool
            try:
                execution = Execution(**options, group=group, stop=stop)
                done = engine.pretrain(*data, VOCABULARY, settings, execution)
                if group.first:
                    write_result(out / name, done)
            except Exception as error:  # told to the test by name
                (out / f"{name}.{rank}.txt").write_text(f"{type(error).__name__}: {error}")


def write_result(out: Path, done: engine.Pretrained) -> None:
    """Both models and the curve of a finished run."""
    out.mkdir(parents=True)
    for name, model in (("best", done.model), ("last", done.last)):
        save_file(state.weights_of(model), out / f"{name}.safetensors")
    told = {"curve": done.curve, "steps": done.steps, "best_step": done.best_step, "loss": done.tuning_loss}
    (out / "told.json").write_text(json.dumps(told))


def read_result(out: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """What was told, the best weights, the last weights."""
    told = json.loads((out / "told.json").read_text())
    return told, load_file(out / "best.safetensors"), load_file(out / "last.safetensors")
