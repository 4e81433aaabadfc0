"""A real server on a free port, and a real Chromium to look at it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dashboard import navigation
from tests.make_run import make_run
from tests.make_study import break_study, make_study

ROOT = Path(__file__).parents[2]
BUNDLED = ROOT / "data_samples/studies/mimic-iv-demo"
FIVE_SITES = {"mimic": 160, "none": 90, "institution": 90, "time": 90, "all": 90}
PAGES = tuple(map(navigation.address, navigation.PAGES))
CHART = ".js-plotly-plot .main-svg"
BUSY = "[data-testid=stStatusWidget], [data-testid=stSkeleton], [data-testid=stSpinner]"


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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serve(
    folder: Path,
    *options: str,
    own: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    port: int | None = None,
) -> Iterator[str]:
    """Run a dashboard on the studies in `folder` with Streamlit's `options`; gives its address.

    `own` are the dashboard's options, `environment` variables beside the test's own.
    """
    port = port or free_port()
    log = folder / "server.log"
    command = [
        sys.executable,
        "-m",
        "streamlit",
        "run",
        "dashboard/app.py",
        "--server.port",
        str(port),
        *options,
    ]
    with log.open("w") as sink:
        process = subprocess.Popen(
            [*command, "--", "--studies", str(folder), *own],
            cwd=ROOT,
            env=os.environ | dict(environment or {}),
            stdout=sink,
            stderr=sink,
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
        process.wait(timeout=60)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, chromium: str) -> Iterator[str]:
    """Address of a dashboard on a folder of studies."""
    folder = tmp_path_factory.mktemp("studies")
    make_study(folder / "two_sites", sites={"mimic": 400, "ucmc": 300}, seed=4)
    make_run(folder / "two_sites")
    make_study(folder / "one_site", sites={"mimic": 245}, seed=5, one_class="imv", few_events="death")
    break_study(folder / "z_broken")
    shutil.copytree(BUNDLED, folder / BUNDLED.name)
    with serve(folder) as url:
        yield url


@pytest.fixture(scope="module")
def exporting(tmp_path_factory: pytest.TempPathFactory, chromium: str) -> Iterator[str]:
    """Address of a dashboard whose tables may be exported, which the shipped settings hide."""
    folder = tmp_path_factory.mktemp("exported")
    make_study(folder / "made", sites=FIVE_SITES, seed=6)
    make_run(folder / "made")
    make_study(folder / "real", sites={"mimic": 120, "ucmc": 90}, seed=6, synthetic=False)
    with serve(folder, "--client.disableDataExport", "false") as url:
        yield url


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Any]:
    """A running Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        launched = play.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"],
        )
        yield launched
        launched.close()


def look(browser: Any, *, dark: bool = False, width: int = 1440) -> Any:
    """A new page in a context of its own."""
    context = browser.new_context(
        viewport={"width": width, "height": 1000},
        color_scheme="dark" if dark else "light",
        locale="en-GB",
        timezone_id="UTC",
    )
    return context.new_page()


STILL = """([busy, milliseconds]) => {
    const plots = [...document.querySelectorAll('.js-plotly-plot')].map(plot => plot.getBoundingClientRect());
    const seen = [document.querySelectorAll(busy).length, document.body.innerText.length,
                  document.querySelector('[data-test-script-state]')?.dataset.testScriptState,
                  ...plots.flatMap(box => [box.x, box.y, box.width, box.height])].join();
    if (seen !== window.lastSeen) [window.lastSeen, window.seenSince] = [seen, performance.now()];
    return seen.startsWith('0,') && !/running|rerunRequested/.test(seen.replace('notRunning', ''))
        && performance.now() - window.seenSince > milliseconds;
}"""


def settle(page: Any, *, milliseconds: int = 500) -> None:
    """Wait until the page is drawn to its end and nothing on it has moved for a while.

    On a machine with much to do a chart still moves after the server has finished, and a mouse would miss it.
    """
    page.wait_for_selector("[data-testid=stCaptionContainer]:has-text('For research only')", timeout=60_000)
    page.wait_for_function(STILL, arg=[BUSY, milliseconds], timeout=60_000)


def visit(page: Any, address: str, *, milliseconds: int = 500) -> None:
    """Open a page that has charts, and wait until it is drawn to its end."""
    page.goto(address)
    page.wait_for_selector(CHART, timeout=60_000)
    settle(page, milliseconds=milliseconds)
