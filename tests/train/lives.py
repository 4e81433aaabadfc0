"""`python -m train` as a process of its own, which can be killed wherever one likes."""

from __future__ import annotations

import errno
import importlib
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ehrfm_core.model.sizes import SIZES
from tests.model.processes import FORKS, PATIENCE
from tests.train.mini import MINI

# module and name of a function, the call of it that counts, and what happens: death before it or after it, or
# it "fails"
Death = tuple[str, str, int, str]


@dataclass
class Life:
    """A running command; what it prints goes to `log`."""

    process: Any
    log: Path

    def status(self) -> int:
        """How it ended: the exit status, or the signal as a negative number."""
        self.process.join(PATIENCE)
        assert not self.process.is_alive(), self.log.read_text()
        return self.process.exitcode

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        if self.process.is_alive():
            os.kill(self.process.pid, number)

    @property
    def printed(self) -> str:
        return self.log.read_text()


def start(
    log: Path, *arguments: object, death: Death | None = None, environment: dict[str, str] | None = None
) -> Life:
    """Start `python -m train` with these arguments, on one thread, its sizes the small ones."""
    words = [str(argument) for argument in arguments]
    process = FORKS.Process(target=live, args=(words, str(log), death, environment or {}), daemon=True)
    process.start()
    return Life(process, log)


def live(arguments: list[str], log: str, death: Death | None, environment: dict[str, str]) -> None:
    """What the process does."""
    import torch

    torch.set_num_threads(1)
    SIZES.update(MINI)
    os.environ |= environment
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    sys.stdout = os.fdopen(1, "w", buffering=1)
    sys.stderr = os.fdopen(2, "w", buffering=1)
    if death:
        mortal(*death)
    from train.__main__ import main

    sys.exit(main(arguments))


def mortal(module: str, name: str, call: int, moment: str) -> None:
    """Let a function be the last that this process does, or the first that it does not, or let it fail."""
    owner: Any = importlib.import_module(module)
    *parts, name = name.split(".")
    for part in parts:
        owner = getattr(owner, part)
    real: Callable[..., Any] = getattr(owner, name)
    left = [call]

    def last(*arguments: Any, **options: Any) -> Any:
        left[0] -= 1
        if left[0] == 0 and moment == "before":
            die()
        if left[0] == 0 and moment == "fails":
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT), "somewhere")
        result = real(*arguments, **options)
        if left[0] == 0:
            die()
        return result

    setattr(owner, name, last)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)
