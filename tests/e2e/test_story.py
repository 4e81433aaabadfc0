"""The story in a browser: told with the arrow keys, on a projector, and what is taken away from it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.conftest import look, settle
from tests.e2e.test_browser import Watcher
from tests.e2e.test_export import download

pytestmark = pytest.mark.browser

TITLES = (
    "One patient",
    "The picture lies",
    "Movement",
    "A new hospital",
    "What travels",
    "A little local",
    "Take",
)


def test_the_arrow_keys_tell_the_story_from_start_to_end(browser: Any, server: str) -> None:
    page = look(browser, width=1280)
    watcher = Watcher(page, server)
    page.goto(f"{server}/story?b=two_sites&y=long_los")
    settle(page)
    for step, title in enumerate(TITLES, start=1):
        heading = page.locator("h2", has_text=title).first
        heading.wait_for(timeout=30_000)
        settle(page)
        assert step == 1 or f"step={step}" in page.url
        if step < len(TITLES):
            page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    page.locator("h2", has_text=TITLES[-2]).wait_for(timeout=30_000)
    watcher.assert_clean(page)
    page.context.close()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_presenter_mode_can_be_read_from_the_last_row(browser: Any, server: str, dark: bool) -> None:
    page = look(browser, dark=dark, width=1920)
    page.goto(f"{server}/story?b=two_sites&step=5&present=true")
    settle(page)
    assert not page.locator("[data-testid=stSidebar]").is_visible()
    sizes = page.evaluate(
        """() => [...document.querySelectorAll('.js-plotly-plot .xtick text, .js-plotly-plot .ytick text')]
            .map(text => parseFloat(getComputedStyle(text).fontSize))"""
    )
    assert sizes
    assert min(sizes) >= 18
    body, fill = page.evaluate(
        """() => [getComputedStyle(document.querySelector('[data-testid=stMain]')).color,
            getComputedStyle(document.querySelector('.js-plotly-plot .xtick text')).fill]"""
    )
    assert body == fill, "the page's own ink, in light and dark"
    page.locator("label", has_text="Presenter mode").click()
    page.locator("[data-testid=stSidebar]").wait_for(state="visible", timeout=30_000)
    page.context.close()


def test_the_numbers_of_a_chart_and_the_report_can_be_taken_away(browser: Any, server: str) -> None:
    page = look(browser, width=1280)
    watcher = Watcher(page, server)
    page.goto(f"{server}/story?b=two_sites&y=long_los&step=3")
    settle(page)
    name, text = download(page, page.get_by_role("button", name="Data").first.click)
    assert name == "SYNTHETIC_two_sites_story-path_length.csv"
    head, *rows = text.splitlines()
    assert head.startswith("series,x,y")
    assert head.endswith("SYNTHETIC")
    assert rows
    page.goto(f"{server}/story?b=two_sites&step=7")
    settle(page)
    name, text = download(page, page.get_by_role("button", name="Report").first.click)
    assert name == "SYNTHETIC_two_sites_report.html"
    assert text.startswith("<!doctype html>")
    watcher.assert_clean(page)
    page.context.close()
