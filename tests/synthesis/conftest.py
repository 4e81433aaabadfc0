"""Hospitals simulated and written once for all tests here: the compiled simulation takes long to be ready."""

from __future__ import annotations

import pytest

from ehrfm_core.synthesis import write as module
from ehrfm_core.synthesis.hospital import PARTS, hospitals
from tests.synthesis.make_hospital import Simulated, Written, simulate, write

EVERYTHING = frozenset(PARTS)


@pytest.fixture(scope="session")
def base() -> Simulated:
    """4,000 stays of the first hospital."""
    return simulate(hospitals(EVERYTHING)[0], 4_000)


@pytest.fixture(scope="session")
def shifted() -> Simulated:
    """3,000 stays of the second hospital, every part shifted."""
    return simulate(hospitals(EVERYTHING)[1], 3_000)


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Both hospitals in two lots each, every part shifted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LOT", 1_250)  # two lots keep two cores busy
        return write(tmp_path_factory.mktemp("shifted") / "out", stays=2_500, parts=EVERYTHING, seed=1)


@pytest.fixture(scope="session")
def alike(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Two hospitals that are one distribution."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LOT", 800)
        return write(tmp_path_factory.mktemp("alike") / "out", stays=1_600, seed=1)
