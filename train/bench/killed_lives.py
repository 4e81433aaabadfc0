"""`python -m train` in a forked process that has everything imported, so that it can be killed fifty times.

What a life does differently from the command: states are read in small shards and whole libraries are in
memory already, so that a kill meets the work of a stage and not the start of Python.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

SHARD_TOKENS = 4_000
FORKS = multiprocessing.get_context("forkserver")


def start(words: Sequence[str | Path], log: Path) -> Any:
    """Start a command; its words go to the command line, what it prints to `log`."""
    os.environ["NUMBA_THREADING_LAYER"] = "workqueue"  # the one that a fork leaves intact
    os.environ["OMP_NUM_THREADS"] = "1"
    FORKS.set_forkserver_preload(["train.bench.killed_lives_libraries"])
    process = FORKS.Process(target=_live, args=([str(word) for word in words], str(log)), daemon=True)
    process.start()
    return process


def ended(process: Any, *, within: float) -> bool:
    """Whether a process has ended by itself, after so many seconds at most."""
    process.join(within)
    return not process.is_alive()


def kill(process: Any) -> bool:
    """`kill -9`; False where it had ended."""
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    return process.exitcode == -signal.SIGKILL


def seconds_of(process: Any) -> float:
    """Wait until a process ends; how long that took."""
    begun = time.monotonic()
    process.join()
    return time.monotonic() - begun


def _live(words: list[str], log: str) -> None:
    import torch

    from ehrfm_core.dynamics import shards
    from train import embed, later

    torch.set_num_threads(1)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    sys.stdout = os.fdopen(1, "w", buffering=1)
    sys.stderr = os.fdopen(2, "w", buffering=1)
    embed.read_out_in_shards = partial(shards.read_out_in_shards, shard_tokens=SHARD_TOKENS)
    later.SHARD_TOKENS = SHARD_TOKENS
    from train.__main__ import main

    sys.exit(main(words))
