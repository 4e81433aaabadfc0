"""`python -m train bench dashboard`: a study every page can open, and figures beside their budgets."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from dashboard.navigation import PAGES
from ehrfm_core.errors import UserError
from ehrfm_core.study import open_study
from tests.dashboard.conftest import open_page  # noqa: F401
from train.__main__ import main
from train.bench import dashboard, dashboard_load
from train.bench.dashboard import Measured
from train.bench.dashboard_study import cached_study


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    cached_study(folder, stays=300, seed=1)
    return folder


def test_the_study_has_every_stay_and_hour_and_is_made_once(work: Path) -> None:
    folder = work / "study-300-1"
    written = (folder / "study.json").stat().st_mtime_ns
    assert cached_study(work, stays=300, seed=1) == folder
    assert (folder / "study.json").stat().st_mtime_ns == written
    study = open_study(folder)
    total = 0
    for site in study.sites:
        stays, paths = study.site_table(site, "stays"), study.site_table(site, "paths")
        timelines, jumps = study.site_table(site, "timelines"), study.site_table(site, "jumps")
        assert len(paths) == 25 * len(stays)
        assert timelines["hospitalization_id"].to_list() == stays["hospitalization_id"].to_list()
        assert timelines["tokens"].list.len().to_list() == stays["n_tokens"].to_list()
        assert jumps["jump"].list.len().to_list() == stays["n_tokens"].to_list()
        total += len(stays)
    assert total == 300


def test_the_same_seed_gives_the_same_study(work: Path, tmp_path: Path) -> None:
    again = open_study(cached_study(tmp_path, stays=300, seed=1))
    assert again.digest == open_study(work / "study-300-1").digest


@pytest.mark.parametrize("page", ["overview", "story", "map", "patient", "dynamics", "outliers", "transfer"])
def test_every_page_opens_it(work: Path, open_page: Callable[..., AppTest], page: str) -> None:  # noqa: F811
    app = open_page(work, page)
    assert not app.exception
    assert app.get("plotly_chart")


def test_a_budget_is_kept_missed_or_none() -> None:
    assert Measured("a", 1, "s", 1).verdict == "pass"
    assert Measured("a", 1.01, "s", 1).verdict == "FAIL"
    assert Measured("a", 1, "s").verdict == ""


def test_without_a_browser_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dashboard, "CHROMIUMS", ("no-such-program",))
    with pytest.raises(UserError, match="apt-get install chromium"):
        dashboard.find_browser()
    assert main(["bench", "dashboard", "--stays", "50"]) == 1
    assert "No Chromium found" in capsys.readouterr().err
    monkeypatch.setattr(dashboard, "CHROMIUMS", ("sh",))
    monkeypatch.setitem(sys.modules, "playwright.sync_api", None)
    with pytest.raises(UserError, match="pip install playwright"):
        dashboard.find_browser()


@pytest.mark.browser
@pytest.mark.slow
def test_it_measures_every_page(
    work: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dashboard_load, "FORGOTTEN", 0)
    monkeypatch.setattr(dashboard_load, "FIRST_VISITS", 1)
    status = main(
        [
            "bench",
            "dashboard",
            "--stays",
            "300",
            "--seed",
            "1",
            "--work",
            str(work),
            "--users",
            "2",
            "--repeats",
            "1",
            "--visits",
            "2",
            "--json",
        ]
    )
    found = json.loads(capsys.readouterr().out)
    assert status in (0, 1)
    told = {row["what"]: row for row in found["measured"]}
    for page in PAGES:
        assert told[f"{page}: first paint, warm"]["value"] > 0
    for nothing in ("WebGL contexts a page", "requests outside", "console errors"):
        assert told[nothing]["value"] == 0
    assert told["zoom redraw on the map"]["value"] < 5000
    assert 0 < told["largest figure"]["value"] < 2
    assert told["with 2 visitors: map, all at once"]["value"] > 0
    assert told["exceptions shown to them"]["value"] == 0
    assert abs(told["memory kept of 2 visits"]["value"]) < 200
    assert 0 < told["state of a session that has seen every page"]["value"] < 1
    assert 0 < told["sent by the browser for it"]["value"] < 50
