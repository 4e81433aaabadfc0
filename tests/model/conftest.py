"""One thread for all of these tests, and the size `mini` while they run."""

from __future__ import annotations

from collections.abc import Iterator

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
