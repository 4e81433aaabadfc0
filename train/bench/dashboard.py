"""The dashboard at the size of a real hospital, measured in a real browser against its budgets."""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ehrfm_core.errors import UserError
from train.bench.dashboard_browser import first_paint, one_visitor
from train.bench.dashboard_gestures import gestures
from train.bench.dashboard_session import session_mb
from train.bench.dashboard_study import cached_study
from train.bench.dashboard_visitors import walking
from train.bench.dashboard_waiting import MB, Measured

__all__ = ["Measured", "run"]

ROOT = Path(__file__).parents[2]
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
CROWD_MB = 2_500  # of the server, whoever is there
SLOWER = 2  # times the budget of a visitor alone, where there are others


def run(options: argparse.Namespace) -> int:
    """Measure and print; 1 where a budget is missed. Raises UserError without a browser."""
    chromium, playwright = find_browser()
    with _folder(options.work) as work:
        study = cached_study(work, stays=options.stays, seed=options.seed)
        with served(study) as (address, process, started):
            with playwright() as play:
                browser = play.chromium.launch(
                    executable_path=chromium, args=["--no-sandbox", "--disable-gpu", "--no-first-run"]
                )
                found = [Measured("server started", started, "s")]
                found += one_visitor(browser, address)
                if options.users > 1:
                    found += _crowd(browser, address, options.users, options.seed)
                browser.close()
            found.append(Measured("server memory", _resident_mb(process.pid), "MB", CROWD_MB))
        held = session_mb(ROOT / "dashboard" / "app.py", study)
        found.append(Measured("state of a session that has seen every page", held, "MB", 1))
    rows = [asdict(one) | {"verdict": one.verdict} for one in found]
    if options.json:
        print(json.dumps({"stays": options.stays, "users": options.users, "measured": rows}, indent=1))
    else:
        print("| what | measured | budget | |\n|---|---|---|---|")
        for one in found:
            budget = "" if one.budget is None else f"{one.budget:g} {one.unit}"
            print(f"| {one.what} | {one.value:.3g} {one.unit} | {budget} | {one.verdict} |")
    return int(any(one.verdict == "FAIL" for one in found))


def _crowd(browser: Any, address: str, users: int, seed: int) -> list[Measured]:
    """What one visitor in a browser waits for while the others walk through the pages."""
    with walking(address, users - 1, seed=seed) as seen:
        opened = first_paint(browser, address, "map")
        found = [Measured(f"with {users} visitors: map, all at once", opened, "s", 5.0 * SLOWER)]
        found += [
            Measured(f"with {users} visitors: {one.what}", one.value, one.unit, one.budget)
            for one in gestures(browser, address, slower=SLOWER)
        ]
    waits = statistics.quantiles(seen.seconds, n=20)
    return [
        *found,
        Measured(f"with {users} visitors: the others' map, the last", max(seen.first), "s", 5.0 * SLOWER),
        Measured("their pages, sent whole: median", statistics.median(seen.seconds), "s"),
        Measured(f"their pages, sent whole: 95th of 100, of {len(seen.seconds)}", waits[-1], "s"),
        Measured("exceptions shown to them", seen.errors, "", 0),
    ]


@contextmanager
def served(study: Path) -> Iterator[tuple[str, subprocess.Popen[bytes], float]]:
    """A server on the study, its process, and the seconds it took to start."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "dashboard/app.py", "--server.port", str(port)]
    begun, address = time.perf_counter(), f"http://127.0.0.1:{port}"
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [*command, "--", "--studies", str(study.absolute())], cwd=ROOT, stdout=log, stderr=log
        )
        try:
            while not _answers(f"{address}/_stcore/health"):
                if process.poll() is not None or time.perf_counter() - begun > 120:
                    raise UserError("The dashboard did not start; try `streamlit run dashboard/app.py`.")
                time.sleep(0.1)
            yield address, process, time.perf_counter() - begun
        finally:
            process.terminate()
            process.wait(timeout=20)


def _answers(address: str) -> bool:
    with suppress(OSError):
        return bool(urllib.request.urlopen(address, timeout=1).read())
    return False


def _resident_mb(pid: int) -> float:
    """Resident memory of a process, MB; not a number where the system does not tell."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) * 1024 / MB
    return float("nan")


def find_browser() -> tuple[str, Callable[[], Any]]:
    """Path of a Chromium, and playwright's entry."""
    found = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if found is None:
        raise UserError("No Chromium found: this bench drives one (Debian: apt-get install chromium).")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise UserError(
            "playwright is not installed, and this bench drives a browser with it: pip install playwright."
        ) from None
    return found, sync_playwright


@contextmanager
def _folder(work: Path | None) -> Iterator[Path]:
    if work is not None:
        work.mkdir(parents=True, exist_ok=True)
        yield work
        return
    with tempfile.TemporaryDirectory(prefix="ehrfm-bench-") as temporary:
        yield Path(temporary)
