"""A study in which every name is an attack, on every page and in the report: all of it is text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import polars as pl
import pytest

from tests.e2e.conftest import PAGES, look, serve, settle
from tests.make_hostile import ATTACKS, MARK, STUDY, make_hostile_study

pytestmark = pytest.mark.browser

FOREIGN = (
    f'.{MARK}, svg a, iframe, [onerror], [src="x"], [src*="{MARK}"], [href*="//{MARK}"], '
    f'[href*="//www.{MARK}"], a[href^="javascript"], a[href^="mailto"]'
)
INJECTED = f"""() => [...document.querySelectorAll(`{FOREIGN}`),
    ...[...document.querySelectorAll('.katex annotation')].filter(node => node.textContent === 'x^2')
].map(node => node.outerHTML.slice(0, 200))"""


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory, chromium: str) -> Iterator[tuple[str, str]]:
    """Address of a dashboard on such a study, and the id of one of its stays."""
    folder = tmp_path_factory.mktemp("hostile")
    made = make_hostile_study(folder)
    stays = pl.read_parquet(made / "sites/mimic/stays.parquet", glob=False)
    stay = stays.filter(pl.col("hospitalization_id").str.starts_with(ATTACKS[0]), split="test")
    with serve(folder, "--client.disableDataExport", "false") as url:
        yield url, stay["hospitalization_id"][0]


def away(addresses: list[str]) -> list[str]:
    """Without what the page holds itself."""
    return [address for address in addresses if not address.startswith(("data:", "blob:"))]


def test_no_name_becomes_markup_code_or_a_request(hostile: tuple[str, str], browser: Any) -> None:
    url, stay = hostile
    page = look(browser)
    ran: list[str] = []
    asked: list[str] = []
    page.on("dialog", lambda dialog: (ran.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: asked.append(request.url))
    seen = ""
    query = urlencode({"f": f"mimic/{stay}", "p": f"mimic/{stay}", "y": "crrt"})
    for place in PAGES:
        page.goto(f"{url}/{place}?{query}")
        settle(page, milliseconds=150)
        for summary in page.locator("details > summary").all():
            summary.evaluate("node => node.parentElement.open || node.click()")
        assert page.evaluate(INJECTED) == [], place
        seen += page.inner_text("body")
    assert "<img src=x onerror=alert(1)" in seen, "it is shown, as text"
    assert STUDY in seen
    assert ran == []
    assert {
        urlsplit(asked_for).netloc for asked_for in asked if not asked_for.startswith(("data:", "blob:"))
    } == {urlsplit(url).netloc}
    page.context.close()


def test_the_report_neither(hostile: tuple[str, str], browser: Any, tmp_path: Path) -> None:
    url, _ = hostile
    page = look(browser)
    page.goto(url)
    settle(page)
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Report as one HTML file").click()
    path = tmp_path / "report.html"
    waiting.value.save_as(path)
    assert "<" not in waiting.value.suggested_filename
    ran: list[str] = []
    asked: list[str] = []
    report = page.context.new_page()
    report.on("dialog", lambda dialog: (ran.append(dialog.message), dialog.dismiss()))
    report.on("request", lambda request: asked.append(request.url))
    report.goto(path.as_uri())
    report.wait_for_selector(".js-plotly-plot .main-svg")
    assert report.evaluate(INJECTED) == []
    assert ran == []
    assert away(asked) == [path.as_uri()]
    page.context.close()
