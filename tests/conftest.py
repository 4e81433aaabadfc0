"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")

SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def the_main_module_stays() -> Iterator[None]:
    """AppTest leaves the app as `__main__`, which processes that later tests start would run anew."""
    main = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = main


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data beside the checkout; tests that need it skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the data beside the checkout ({SHARED.name} is absent)")
    return SHARED


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The open MIMIC-IV demo as CLIF, imported from the package that carries it."""
    from ehrfm_core.sources.mimic_demo import import_mimic_demo

    folder = tmp_path_factory.mktemp("demo")
    import_mimic_demo(folder)
    return folder
