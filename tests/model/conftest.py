"""One thread for all of these tests, the size `mini` while they run, and a disk that is soon full."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from ehrfm_core.model.sizes import SIZES
from tests.model.made import MINI


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Small products are faster without a second thread, and are rounded alike everywhere."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    SIZES["mini"] = MINI
    yield
    del SIZES["mini"]
    torch.set_num_threads(threads)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB, enough for a `mini` run."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() or not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs root, and leave to mount a disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path) -> None:
    """Leave no room."""
    with (disk / "filling").open("ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
