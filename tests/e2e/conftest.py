"""A real server on a free port, and a real Chromium to look at it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.make_study import break_study, make_study

ROOT = Path(__file__).parents[2]
BUNDLED = ROOT / "data_samples/studies/mimic-iv-demo"
PAGES = ("", "map", "patient", "dynamics", "outliers", "transfer", "methods")


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium; without one the tests are skipped, except in CI, where they fail."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    reason = "no Chromium found (Debian: apt-get install chromium): the screen is not tested in a browser"
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        found, reason = None, "playwright is not installed: the screen is not tested in a browser"
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, chromium: str) -> Iterator[str]:
    """Address of a dashboard on a folder of studies."""
    folder = tmp_path_factory.mktemp("studies")
    make_study(folder / "two_sites", sites={"mimic": 400, "ucmc": 300}, seed=4)
    make_study(folder / "one_site", sites={"mimic": 245}, seed=5, one_class="imv", few_events="death")
    break_study(folder / "z_broken")
    shutil.copytree(BUNDLED, folder / BUNDLED.name)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = folder / "server.log"
    command = [sys.executable, "-m", "streamlit", "run", "dashboard/app.py", "--server.port", str(port)]
    with log.open("w") as sink:
        process = subprocess.Popen(
            [*command, "--", "--studies", str(folder)], cwd=ROOT, stdout=sink, stderr=sink
        )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{url}/_stcore/health", timeout=1).read()
                break
            except OSError:
                assert process.poll() is None, log.read_text()
                time.sleep(0.25)
        else:
            pytest.fail(f"The server did not start:\n{log.read_text()}")
        yield url
        assert "Traceback" not in log.read_text(), log.read_text()
    finally:
        process.terminate()
        process.wait(timeout=10)
