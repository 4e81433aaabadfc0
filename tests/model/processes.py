"""Processes of their own, forked where torch is imported already, so that they start at once.

What they run lies in modules that import the engine alone.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from typing import Any

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.model.lives"])
PATIENCE = 120.0  # seconds


def start(target: Callable[..., None], *arguments: Any) -> Any:
    """Start a process; it ends with ours."""
    process = FORKS.Process(target=target, args=arguments, daemon=True)
    process.start()
    return process


def until(holds: Callable[[], bool], *, pause: float = 0.002) -> None:
    """Wait; fail where it takes so long that it will never be."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(pause)
