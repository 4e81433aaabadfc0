"""Sizes so small that a step takes some milliseconds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from ehrfm_core.model.sizes import SIZES, Size

MINI = {
    "tiny": Size(32, 64, 2, 4, 4, 8, 5e-3, 512, 128, 1_000, 14),
    "small": Size(64, 64, 2, 4, 4, 16, 3e-3, 512, 128, 1_000, 14),
}


@pytest.fixture
def mini_sizes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`tiny` and `small` as they are in the processes of `lives`, on one thread as there."""
    for name, size in MINI.items():
        monkeypatch.setitem(SIZES, name, size)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
