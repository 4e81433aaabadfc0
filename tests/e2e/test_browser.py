"""The screen in a real browser: every page draws, nothing fails, nothing leaves the machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from ehrfm_core.study import open_study
from tests.e2e.conftest import BUNDLED, PAGES, ROOT, look, settle, visit

pytestmark = pytest.mark.browser

STAY_ELSEWHERE = "u10000007"  # of the second hospital
SHOTS = ROOT / "screenshots"


class Watcher:
    """What a page did that it should not have."""

    def __init__(self, page: Any, base: str) -> None:
        self.errors: list[str] = []
        self.outside: list[str] = []
        local = (base, base.replace("http", "ws", 1), "data:", "blob:")
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda r: None if r.url.startswith(local) else self.outside.append(r.url))

    def _console(self, message: Any) -> None:
        # on a deep link Streamlit first looks for its endpoints below the page's own path
        if message.type == "error" and "/_stcore/" not in message.location.get("url", ""):
            self.errors.append(message.text)

    def assert_clean(self, page: Any) -> None:
        assert not self.errors
        assert not self.outside
        assert page.locator("[data-testid=stException]").count() == 0


def shoot(page: Any, name: str) -> None:
    """Save the whole page: the content scrolls inside, so the window grows to it first."""
    height = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
    page.set_viewport_size({"width": page.viewport_size["width"], "height": min(max(1000, height), 4000)})
    page.wait_for_timeout(600)
    SHOTS.mkdir(exist_ok=True)
    page.screenshot(path=str(Path(SHOTS) / f"{name}.png"))


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_page_draws_and_stays_on_the_machine(browser: Any, server: str, dark: bool) -> None:
    page = look(browser, dark=dark)
    watcher = Watcher(page, server)
    for name in PAGES:
        visit(page, f"{server}/{name}?b=two_sites")
        assert page.locator("canvas.gl-canvas, .gl-container canvas").count() == 0
        watcher.assert_clean(page)
        shoot(page, f"{name or 'overview'}{'-dark' if dark else ''}")
        page.set_viewport_size({"width": 1440, "height": 1000})
    page.context.close()


def test_every_page_draws_the_bundled_study(browser: Any, server: str) -> None:
    page = look(browser, width=1280)
    watcher = Watcher(page, server)
    for name in PAGES:
        visit(page, f"{server}/{name}?b={BUNDLED.name}&y=long_los")
        assert page.get_by_text(f"version {open_study(BUNDLED).digest}").first.is_visible()
        watcher.assert_clean(page)
        shoot(page, f"bundled-{name or 'overview'}")
        page.set_viewport_size({"width": 1280, "height": 1000})
    page.context.close()


def test_one_site_says_what_is_missing(browser: Any, server: str) -> None:
    page = look(browser)
    watcher = Watcher(page, server)
    page.goto(f"{server}/transfer?b=one_site&y=imv")
    settle(page)
    assert page.get_by_text("One hospital only").is_visible()
    assert page.get_by_text("nothing to rank").first.is_visible()
    assert page.locator(".js-plotly-plot").count() == 1  # the ladder's only rung; few alerts have no share
    shoot(page, "transfer-one-site")
    watcher.assert_clean(page)
    page.context.close()


def test_a_broken_study_is_listed_and_explains_itself(browser: Any, server: str) -> None:
    page = look(browser)
    watcher = Watcher(page, server)
    page.goto(f"{server}/map?b=z_broken")
    settle(page)
    assert page.get_by_text("cannot be opened").is_visible()
    shoot(page, "broken")
    watcher.assert_clean(page)
    page.context.close()


def focus_of(page: Any) -> str:
    """Id of the stay the address names."""
    value = parse_qs(urlsplit(page.url).query).get("f", [""])[0]
    return value.partition("/")[2]


def test_a_click_on_a_row_moves_the_focus_and_so_do_the_keys(browser: Any, server: str) -> None:
    page = look(browser)
    watcher = Watcher(page, server)
    visit(page, f"{server}/patient?b=two_sites")
    first = focus_of(page)
    heading = page.locator("h2", has_text="Stay ")
    assert first in heading.first.inner_text()
    table = page.locator("[data-testid=stDataFrame]").first.bounding_box()
    page.mouse.click(table["x"] + 18, table["y"] + 35 * 3 + 18)  # the box of the third row
    page.wait_for_function(
        "old => !document.body.innerText.includes('Stay ' + old)", arg=first, timeout=20_000
    )
    settle(page)
    second = focus_of(page)
    assert second != first
    assert second in heading.first.inner_text()
    page.locator("h1").first.click()
    page.keyboard.press("j")
    page.wait_for_function(
        "old => !document.body.innerText.includes('Stay ' + old)", arg=second, timeout=20_000
    )
    settle(page)
    assert focus_of(page) not in (first, second)
    watcher.assert_clean(page)

    third = focus_of(page)
    page.locator("[data-testid=stSidebarNav] a", has_text="Map").click()
    page.wait_for_function("document.body.innerText.includes('neighbourhoods, redrawn')", timeout=30_000)
    settle(page)
    assert page.get_by_text(f"Focus: {third}").is_visible(), "the focus follows from page to page"
    assert third in page.url
    page.context.close()


def test_p_pins_a_stay_and_j_and_k_move_the_focus_beside_it(browser: Any, server: str) -> None:
    page = look(browser, width=1280)
    watcher = Watcher(page, server)
    visit(page, f"{server}/patient?b=two_sites")
    first = focus_of(page)
    page.locator("h1").first.click()
    page.keyboard.press("p")
    page.wait_for_selector("text=It is the stay in focus", timeout=20_000)
    settle(page)
    page.keyboard.press("j")
    page.wait_for_selector("text=The pinned stay hangs below", timeout=20_000)
    settle(page)
    assert focus_of(page) != first
    assert parse_qs(urlsplit(page.url).query)["p"] == [f"mimic/{first}"]
    shoot(page, "patient-pinned")
    page.keyboard.press("k")
    page.wait_for_selector("text=It is the stay in focus", timeout=20_000)
    settle(page)
    page.keyboard.press("p")
    page.wait_for_selector("text=It is the stay in focus", state="detached", timeout=20_000)
    settle(page)
    assert "p" not in parse_qs(urlsplit(page.url).query)
    watcher.assert_clean(page)
    page.context.close()


def test_the_way_back_keeps_the_stay_and_the_link_carries_it(browser: Any, server: str) -> None:
    page = look(browser)
    page.goto(f"{server}/patient?b=two_sites+%C2%B7+synthetic")
    settle(page)
    other = page.locator("h2", has_text="Stay ").first.inner_text().split()[1]
    page.get_by_label("Find a stay").fill(STAY_ELSEWHERE)
    page.keyboard.press("Enter")
    page.locator("h2", has_text=f"Stay {STAY_ELSEWHERE}").wait_for(timeout=20_000)
    settle(page)
    page.locator("[data-testid=stSidebarNavLink]", has_text="Transfer").click()
    page.wait_for_selector("h1:has-text('Transfer')")
    settle(page)
    page.locator("[data-testid=stPopoverButton]", has_text="Link").first.click()
    link = page.locator("[data-testid=stCode]").last.inner_text()
    assert f"f=ucmc%2F{STAY_ELSEWHERE}" in link
    page.keyboard.press("Escape")
    page.go_back()
    page.wait_for_selector("h1:has-text('Patient')")
    settle(page)
    shown = page.locator("h2", has_text="Stay ").first.inner_text()
    assert shown == f"Stay {STAY_ELSEWHERE}" != f"Stay {other}"
    page.context.close()


def test_a_link_survives_a_reload(browser: Any, server: str) -> None:
    page = look(browser)
    page.goto(f"{server}/transfer?b=two_sites&y=icu")
    settle(page)
    page.locator("[data-testid=stPopoverButton]", has_text="Link").first.click()
    link = page.locator("[data-testid=stCode]").last.inner_text()
    page.context.close()
    again = look(browser)
    again.goto(link)
    settle(again)
    again.reload()
    settle(again)
    assert again.get_by_text("First ICU admission after 24 h").count(), again.url
    again.context.close()
