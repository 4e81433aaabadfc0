"""The dashboard at the size of a real hospital, measured in a real browser against its budgets."""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from ehrfm_core.errors import UserError
from train.bench.dashboard_browser import one_visitor
from train.bench.dashboard_load import crowd, visits
from train.bench.dashboard_session import session_mb
from train.bench.dashboard_study import cached_study
from train.bench.dashboard_waiting import MB, Measured

__all__ = ["Measured", "run"]

ROOT = Path(__file__).parents[2]
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
CROWD_MB = 2_500  # of the server, whoever is there


def run(options: argparse.Namespace) -> int:
    """Measure and print; 1 where a budget is missed. Raises UserError without a browser."""
    chromium, playwright = find_browser()
    with _folder(options.work) as work:
        study = cached_study(work, stays=options.stays, seed=options.seed)
        with served(study) as (address, process, started):
            memory = partial(_resident_mb, process.pid)
            with playwright() as play:
                browser = play.chromium.launch(
                    executable_path=chromium, args=["--no-sandbox", "--disable-gpu", "--no-first-run"]
                )
                found = [Measured("server started", started, "s")]
                found += one_visitor(browser, address, repeats=options.repeats)
                if options.users > 1:
                    found += crowd(
                        browser,
                        address,
                        memory,
                        users=options.users,
                        minutes=options.minutes,
                        repeats=options.repeats,
                        seed=options.seed,
                    )
                browser.close()
            if options.visits:
                found += visits(address, memory, options.visits)
            found.append(Measured("server memory", memory(), "MB", CROWD_MB))
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
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:  # it hangs, which the figures have told
                process.kill()


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
