"""The report: one file, every figure, nothing from outside, nothing of a single stay, no markup of others."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest
from plotly.offline import get_plotlyjs
from streamlit.testing.v1 import AppTest

from dashboard import report, stamp
from ehrfm_core.study import open_study
from tests.dashboard.test_pages import fine
from tests.make_own import make_own_study
from tests.make_study import make_study
from tests.reseal import reseal

MADE = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


class Reader(HTMLParser):
    """What a browser would ask for, and what it would show."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.handlers: list[str] = []
        self.tags: list[str] = []
        self.labels: list[str] = []
        self.text = ""
        self._in_script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "action", "srcset", "data", "poster"):
                self.asked.append(value or "")
            if name.startswith("on"):
                self.handlers.append(name)
            if name == "aria-label":
                self.labels.append(value or "")
        self._in_script = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self._in_script = False

    def handle_data(self, data: str) -> None:
        if not self._in_script:
            self.text += data


def read(folder: Path) -> tuple[str, Reader]:
    text = report.html(open_study(folder), made=MADE)
    reader = Reader()
    reader.feed(text.replace(get_plotlyjs(), ""))
    return text, reader


@pytest.mark.parametrize(
    "study", ["two", "one", "tiny", "unevaluated", "tokenized", "older", "before", "own"]
)
def test_every_study_has_a_report_that_asks_nobody(studies: Path, study: str) -> None:
    text, found = read(studies / study)
    assert found.asked == []
    assert found.handlers == []
    assert report.POLICY in text
    assert "showSendToCloud" not in text or '"showSendToCloud": true' not in text
    assert text.count(get_plotlyjs()[:2000]) == 1, "plotly.js stands in it once"
    assert "Provenance" in found.text
    assert open_study(studies / study).digest in found.text
    assert "nan" not in found.text.lower().split()


@pytest.mark.parametrize("study", ["two", "one", "tiny", "own"])
def test_no_stay_and_no_patient_is_in_it(studies: Path, study: str) -> None:
    text, _ = read(studies / study)
    opened = open_study(studies / study)
    body = text.replace(get_plotlyjs(), "")
    for site in opened.sites:
        stays = opened.site_table(site, "stays")
        for one in (*stays["hospitalization_id"], *stays["patient_id"].unique()):
            assert not re.search(rf"\b{re.escape(one)}\b", body), one


def test_figures_are_numbered_named_and_of_every_outcome(studies: Path) -> None:
    text, found = read(studies / "two")
    n = len(found.labels)
    assert n >= 1 + 4 + 1, "ranking, calibration of every outcome, scores"
    assert all(found.labels)
    assert [int(k) for k in re.findall(r"Figure (\d+)\.", found.text)] == list(range(1, n + 1))
    assert len(re.findall(r"Plotly\.newPlot\(", text.replace(get_plotlyjs(), ""))) == n
    assert '"showSendToCloud": false' in text
    for heading in ("Ranking", "Calibration", "Net benefit", "Movement and outcome", "Outliers", "Methods"):
        assert heading in found.text


def test_a_synthetic_study_says_so_in_every_figure_and_a_real_one_nowhere(studies: Path) -> None:
    text, found = read(studies / "two")
    marks = text.replace(get_plotlyjs(), "").count(stamp.WORD)
    assert marks >= len(found.labels) + 2
    real, _ = read(studies / "one")
    assert stamp.WORD not in real.replace(get_plotlyjs(), "")


def test_names_from_the_study_are_text_and_nothing_else(tmp_path: Path) -> None:
    bad = "</script><img src=x onerror=alert(1)>"
    folder = make_study(tmp_path / "two", sites={"mimic": 60, "ucmc": 50})
    content = json.loads((folder / "study.json").read_text())
    content["stages"]["tokenize"]["notes"] = [bad]
    content["packages"][bad] = bad
    (folder / "study.json").write_text(json.dumps(content))
    reseal(folder)
    text, found = read(folder)
    assert bad not in text
    assert bad in found.text
    assert "img" not in found.tags
    own = make_own_study(tmp_path / "own")
    content = json.loads((own / "study.json").read_text().replace("*none* before", bad))
    (own / "study.json").write_text(json.dumps(content))
    reseal(own)
    text, found = read(own)
    assert bad not in text
    assert "img" not in found.tags


def test_the_same_study_at_the_same_time_gives_the_same_report(studies: Path) -> None:
    study = open_study(studies / "tiny")
    assert report.html(study, made=MADE) == report.html(study, made=MADE)


def test_small_groups_are_left_out_of_table_one(studies: Path) -> None:
    _, found = read(studies / "tiny")
    assert "fewer than 11" in found.text
    assert not re.search(r"(?<![\d,.])([1-9]|10) \(\d+\.\d %\)", found.text)


@pytest.mark.parametrize(("page", "query"), [("overview", {}), ("story", {"step": "7"})])
def test_the_button_stands_on_the_overview_and_at_the_storys_end(
    studies: Path, open_page: Callable[..., AppTest], page: str, query: dict[str, str]
) -> None:
    app = open_page(studies, page, b="two", **query)
    fine(app)
    assert [e for e in app.get("download_button") if e.proto.label == "Report as one HTML file"]
