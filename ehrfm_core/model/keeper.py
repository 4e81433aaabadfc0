"""Keeps the state of a run and its best weights: on disk where it has a folder, else in memory."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from ehrfm_core.model.parallel import whole
from ehrfm_core.model.settings import Execution
from ehrfm_core.model.state import load_state, read_counted, save_state, sweep, weights_of, write_tensors

STATE = "state.safetensors"
MOST_OF_THE_TIME = 0.03  # spent on saving


@dataclass
class Counted:
    """All that a run has counted so far; with the tensors of its state, all it needs to go on."""

    identity: str
    step: int = 0
    epoch: int = 0
    pack: int = 0  # within the epoch
    tokens: int = 0
    seconds: float = 0.0
    worse: int = 0  # evaluations since the best one
    best_step: int = 0
    best_loss: float | None = None
    curve: list[dict[str, float]] = field(default_factory=list)


class Keeper:
    """The files `state.safetensors` and `best-STEP.safetensors` of a run.

    The best weights have a name of their own, so that a state never speaks of weights that a kill has lost;
    older ones go once a state speaks of newer ones.
    """

    def __init__(self, execution: Execution) -> None:
        self._execution, self._group = execution, execution.group
        self._best: dict[str, torch.Tensor] = {}
        self._saved_at, self._saved_step, self._cost = time.monotonic(), 0, 0.0

    @property
    def saved_step(self) -> int:
        """The step of the last state saved; 0 where there is none."""
        return self._saved_step

    def resume(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> Counted:
        """What an unfinished run of this identity has counted, its state loaded; else nothing.

        The state of another run is removed. Every process calls this.
        """
        fresh, folder = Counted(self._execution.identity), self._execution.folder
        if folder is None:
            return fresh
        if self._group.first:
            sweep(folder)
        found = read_counted(folder / STATE)
        if found is not None and found["identity"] == fresh.identity and found.keys() == asdict(fresh).keys():
            counted = Counted(**found)
            if counted.best_loss is None or self._best_file(counted).is_file():
                load_state(folder / STATE, model, optimizer, step=counted.step)
                self._saved_step = counted.step
                return counted
        self._group.wait()
        if self._group.first:
            self.forget()
        self._group.wait()
        return fresh

    def keep_best(self, model: nn.Module, counted: Counted) -> None:
        """Keep the weights as the best so far. Every process calls this."""
        weights = weights_of(model)
        if self._execution.folder is None:
            self._best = {name: value.clone() for name, value in weights.items()}
        elif self._group.first:
            write_tensors(self._best_file(counted), weights)

    def save(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, counted: Counted, *, always: bool
    ) -> None:
        """Save the state if it is due, or `always`, and is worth it. Every process calls this."""
        folder = self._execution.folder
        if folder is None:
            return
        if self._execution.save_steps:
            due = counted.step - self._saved_step >= self._execution.save_steps
        else:
            wait = max(self._execution.save_seconds, self._cost / MOST_OF_THE_TIME)
            due = self._group.any(time.monotonic() - self._saved_at > wait, self._execution.device)
        if not (due or always) or not finite(model):
            return
        began = time.monotonic()
        save_state(folder / STATE, model, optimizer, asdict(counted), self._group)
        if self._group.first and counted.best_loss is not None:
            for path in folder.glob("best-*.safetensors"):
                if path != self._best_file(counted):
                    path.unlink()
        self._saved_at, self._saved_step = time.monotonic(), counted.step
        self._cost = self._saved_at - began

    def best(self, counted: Counted) -> dict[str, torch.Tensor]:
        """The best weights by name; empty where nothing was evaluated."""
        if counted.best_loss is None:
            return {}
        return self._best or load_file(self._best_file(counted))

    def forget(self) -> None:
        """Remove the files of a run."""
        if (folder := self._execution.folder) is not None:
            forget(folder)

    def _best_file(self, counted: Counted) -> Path:
        assert self._execution.folder is not None
        return self._execution.folder / f"best-{counted.best_step:08d}.safetensors"


def finite(model: nn.Module) -> bool:
    """Whether every weight is a number; a run that is not cannot be gone on from. Every process asks."""
    norm = nn.utils.get_total_norm([parameter.detach() for parameter in model.parameters()])
    return math.isfinite(float(whole(norm)))


def forget(folder: Path) -> None:
    """Remove what a run needs to go on; its history stays."""
    sweep(folder)
    for path in (*folder.glob("best-*.safetensors"), folder / STATE):
        path.unlink(missing_ok=True)
