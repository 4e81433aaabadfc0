"""Where training runs: the device, the processes that torchrun started, and how they end."""

from __future__ import annotations

import argparse
import io
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ehrfm_core.errors import UserError

if TYPE_CHECKING:
    from ehrfm_core.model.parallel import Group
    from ehrfm_core.model.settings import Execution

INTERRUPTED = 130


def device_of(wanted: str | None) -> str:
    """The device that was asked for, else a GPU where there is one; UserError where it is not there."""
    import torch

    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise UserError("--device cuda: this machine has no GPU that torch can use; leave --device out.")
    return wanted or ("cuda" if available else "cpu")


def quiet_transformers() -> None:
    """No download, no chatter: the model is made here."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    logging.getLogger("transformers").setLevel(logging.ERROR)


@contextmanager
def processes(options: argparse.Namespace) -> Iterator[Execution]:
    """How training is carried out, in this process or as one of those that torchrun started."""
    quiet_transformers()  # before it is imported
    import torch

    from ehrfm_core.model.parallel import joined, launched
    from ehrfm_core.model.settings import Execution

    execution = Execution(
        device=device_of(options.device),
        precision=options.precision,
        compile=options.compile,
        save_steps=options.save_every,
        shard=getattr(options, "shard", False),
    )
    several = getattr(options, "distributed", None) is not None
    if execution.shard and not several:
        raise UserError("--shard: there is one process only; give --distributed as well.")
    if not several and launched() and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError(
            "torchrun started several processes, and each would write this study: run `pretrain` with "
            "--distributed, and `study` in one process."
        )
    try:
        if not several:
            yield execution
            return
        with joined(execution.device) as group, _one_speaks(group):
            yield replace(execution, group=group)
    except torch.OutOfMemoryError as error:
        reason = str(error).splitlines()[0].split(". ")[0]
        raise UserError(
            f"The device has too little memory ({reason}): give fewer --pack-tokens, or spread the model "
            "over several GPUs with --distributed --shard."
        ) from None


@contextmanager
def _one_speaks(group: Group) -> Iterator[None]:
    """One process reports; what ends them all is told by the one that met it first.

    The others leave quietly: what they meet is most often the same, or that the first one has gone.
    """
    try:
        if group.first:
            yield
        else:
            with redirect_stdout(io.StringIO()):
                yield
    except (UserError, OSError, RuntimeError, KeyboardInterrupt) as error:
        status = INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1
        if _others_are_gone(error) or not _met_it_first():
            raise SystemExit(status) from None
        raise


def _others_are_gone(error: BaseException) -> bool:
    """Whether the error is about the connection to the other processes."""
    from torch.distributed import DistError

    return isinstance(error, DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))


def _met_it_first() -> bool:
    """Whether no other process of the group has asked this before."""
    from torch.distributed.distributed_c10d import _get_default_store

    try:
        return _get_default_store().add("met", 1) == 1
    except (RuntimeError, ValueError):  # gone, with the process that held it
        return False


@contextmanager
def told_to_stop(group: Group) -> Iterator[Callable[[], bool]]:
    """Yield a function that says whether Ctrl-C or SIGTERM came; the second one ends at once.

    Processes that torchrun started stop as well where it has gone, so that nobody trains on unseen. Raises
    KeyboardInterrupt, with a sentence, where training was stopped, or after the block if it came too late.
    """
    from ehrfm_core.model.pretrain import StoppedError

    asked: list[int] = []
    parent = os.getppid()

    def handle(number: int, frame: Any) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        if number == signal.SIGINT and group.first:
            print("\nStopping after this step (once more: at once) …", file=sys.stderr, flush=True)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked) or (group.world > 1 and os.getppid() != parent)
    except StoppedError as error:
        raise KeyboardInterrupt(str(error)) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if asked:
        raise KeyboardInterrupt("Stopped after training; run the same command again for what is left.")
