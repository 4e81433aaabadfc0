"""A region drawn by hand: it becomes a cohort and a table, and the zoom survives."""

from __future__ import annotations

import math
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.e2e.conftest import look, settle, visit
from tests.e2e.test_browser import Watcher, shoot

pytestmark = pytest.mark.browser

MAP = """() => {
    const figure = document.querySelector('.js-plotly-plot');
    const box = figure.querySelector('.nsewdrag').getBoundingClientRect();
    return {x: box.x, y: box.y, w: box.width, h: box.height,
            range: figure._fullLayout.xaxis.range, drawn: (figure.layout.selections || []).length};
}"""


def drag(page: Any, points: list[tuple[float, float]]) -> None:
    """Press, move through places of the first map (0 to 1 along x and y), let go."""
    settle(page)
    box = page.evaluate(MAP)
    at = [(box["x"] + x * box["w"], box["y"] + y * box["h"]) for x, y in points]
    page.mouse.move(*at[0])
    page.mouse.down()
    for place in at[1:]:
        page.mouse.move(*place)
    page.mouse.up()


def button(page: Any, title: str) -> None:
    """Take a tool of the first map, and wait until it is in hand."""
    page.locator(".js-plotly-plot").first.locator(f'.modebar-btn[data-title="{title}"]').click()
    page.wait_for_function(
        "mode => document.querySelector('.js-plotly-plot')._fullLayout.dragmode === mode",
        arg={"Zoom": "zoom", "Lasso Select": "lasso"}[title],
        timeout=60_000,
    )


def circle(radius: float) -> list[tuple[float, float]]:
    turns = (i / 60 * 2 * math.pi for i in range(61))
    return [(0.5 + radius * math.cos(turn), 0.5 + radius * math.sin(turn)) for turn in turns]


def cohort_is_made(page: Any) -> None:
    page.wait_for_function(
        r"/A · [0-9]/.test(document.querySelector('.st-key-cohort-a')?.innerText || '')", timeout=60_000
    )
    settle(page)


def test_a_lasso_makes_a_cohort_and_keeps_the_zoom(browser: Any, server: str) -> None:
    page = look(browser, width=1280)
    watcher = Watcher(page, server)
    sent: list[int] = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(len(frame))))
    visit(page, f"{server}/map?b=two_sites&w=any")
    whole = page.evaluate(MAP)["range"]
    button(page, "Zoom")
    drag(page, [(0.1, 0.1), (0.5, 0.5), (0.9, 0.9)])
    page.wait_for_timeout(800)
    zoomed = page.evaluate(MAP)["range"]
    assert zoomed != whole
    button(page, "Lasso Select")
    sent.clear()
    drag(page, circle(0.4))
    cohort_is_made(page)
    after = page.evaluate(MAP)
    assert after["range"] == zoomed, "drawing a region resets the zoom"
    assert after["drawn"] == 1
    assert max(sent) < 50_000
    assert "a=" in page.url
    assert page.get_by_text("A against everyone else at mimic").is_visible()
    assert page.locator("[data-testid=stSelectbox]", has_text="Stays in the table").get_by_text("Cohort A")
    watcher.assert_clean(page)
    shoot(page, "map-cohort")

    page.set_viewport_size({"width": 1280, "height": 1000})
    page.locator(".st-key-cohortbar").get_by_role("button", name="Link").click()
    link = page.locator("[data-testid=stCode]").filter(has_text="/map?").first.inner_text()
    link = "".join(link.split())
    assert "b=two_sites" in link
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Clear A and B").click()
    page.wait_for_function("!location.search.includes('a=')", timeout=60_000)
    settle(page)
    assert page.evaluate(MAP)["drawn"] == 0, "what was drawn goes with the cohort"
    visit(page, link)
    cohort_is_made(page)
    watcher.assert_clean(page)
    page.context.close()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_bar_fits_and_its_parts_open(browser: Any, server: str, dark: bool) -> None:
    page = look(browser, dark=dark, width=1280)
    watcher = Watcher(page, server)
    visit(page, f"{server}/map?b=two_sites&p=mimic/m10000003")
    bar = page.locator(".st-key-cohortbar")
    assert bar.bounding_box()["height"] < 60
    for name, said in (("New", "New cohort from filters"), ("Link", "It opens for whoever")):
        bar.get_by_role("button", name=name).click()
        page.get_by_text(said).wait_for(timeout=60_000)
        page.keyboard.press("Escape")
    assert "p=mimic" in page.url
    watcher.assert_clean(page)
    page.context.close()


def test_a_linked_cohort_is_outlined_until_one_draws_anew(browser: Any, server: str) -> None:
    page = look(browser, width=1280)
    watcher = Watcher(page, server)
    visit(page, f"{server}/map?b=two_sites&w=any")
    drag(page, circle(0.4))
    cohort_is_made(page)
    word = parse_qs(urlsplit(page.url).query)["a"][0]
    made = page.locator(".st-key-cohort-a").inner_text()
    fresh = look(browser, width=1280)
    visit(fresh, f"{server}/map?b=two_sites&w=any&a={word}")
    cohort_is_made(fresh)
    assert fresh.evaluate(MAP)["drawn"] == 1
    assert fresh.locator(".st-key-cohort-a").inner_text() == made, "an outline makes no cohort"
    button(fresh, "Zoom")
    drag(fresh, [(0.1, 0.1), (0.5, 0.5), (0.9, 0.9)])
    fresh.wait_for_timeout(800)
    zoomed = fresh.evaluate(MAP)["range"]
    fresh.get_by_text("At the end of the window").first.click()
    fresh.wait_for_timeout(1500)
    settle(fresh)
    after = fresh.evaluate(MAP)
    assert (after["range"], after["drawn"]) == (zoomed, 1), "the page ran again, the map did not change"
    shoot(fresh, "map-outlined")
    fresh.set_viewport_size({"width": 1280, "height": 1000})
    settle(fresh)  # the map is drawn anew, and the tool in hand with it
    button(fresh, "Lasso Select")
    drag(fresh, [(x - 0.4, y - 0.4) for x, y in circle(0.08)])  # inside the outline one would move it
    fresh.wait_for_function("word => !location.href.includes(word)", arg=word, timeout=60_000)
    settle(fresh)
    again = fresh.evaluate(MAP)
    assert (again["range"], again["drawn"]) == (zoomed, 1), "the drawing stands in the outline's place"
    watcher.assert_clean(page)
    page.context.close()
    fresh.context.close()
