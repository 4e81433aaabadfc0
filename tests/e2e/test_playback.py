"""A path that plays: in the browser alone, over a density and a zoom that stay as they are."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests.e2e.conftest import look, settle, visit
from tests.e2e.test_browser import Watcher

pytestmark = pytest.mark.browser

PCA = "[data-testid=stPlotlyChart][aria-label*='PCA map']"
STATE = """chart => {
    const plot = chart.querySelector('.js-plotly-plot'), layout = plot._fullLayout;
    const length = name => [...(plot._fullData.find(trace => trace.name === name)?.x || [])].length;
    return {zoom: layout.xaxis.range, hour: layout._currentFrame, slider: layout.sliders[0].active,
            path: length('path'), pinned: length('Pinned stay'),
            heat: chart.querySelectorAll('.hm image').length};
}"""
RECORD = f"""chart => {{
    const state = {STATE}, seen = [];
    const look = () => {{ seen.push(state(chart)); requestAnimationFrame(look); }};
    window.seen = seen;
    look();
}}"""


def steady(chart: Any) -> dict[str, Any]:
    """The state that a chart comes to and keeps; two frames of a busy machine are half a second apart."""
    states = [chart.evaluate(STATE)]
    for _ in range(80):
        chart.page.wait_for_timeout(250)
        states.append(chart.evaluate(STATE))
        if len(states) > 8 and all(state == states[-1] for state in states[-8:]):
            return states[-1]
    raise AssertionError(f"still moving after 20 s: {states[-1]}")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_both_paths_play_and_zoom_and_density_stay(browser: Any, server: str, dark: bool) -> None:
    page = look(browser, dark=dark)
    watcher = Watcher(page, server)
    sent: list[int] = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(len(frame))))
    visit(page, f"{server}/patient?b=two_sites&p=ucmc/u10000007")
    chart = page.locator(PCA).first
    chart.scroll_into_view_if_needed()
    first = chart.evaluate(STATE)
    assert (first["path"], first["slider"]) == (25, 24), "the whole path stands there at first"
    box = chart.locator(".nsewdrag").first.bounding_box()
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 0.2 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"])
    page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 0.8 * box["height"])
    page.mouse.up()
    zoomed = steady(chart)["zoom"]
    assert zoomed != first["zoom"]
    sent.clear()
    chart.evaluate(RECORD)
    chart.locator(".updatemenu-button").click()
    page.wait_for_function("window.seen.some(state => state.path < 25)", timeout=20_000)
    last = steady(chart)
    # between two of its frames a chart is without its picture for a moment
    seen = [state for state in page.evaluate("window.seen") if state["heat"] == first["heat"]]
    midway = next(state for state in seen if 3 < state["path"] < 25)
    assert midway["pinned"] == midway["path"]
    assert midway["slider"] == int(midway["hour"]) == midway["path"] - 1
    assert (last["path"], last["slider"], last["heat"]) == (25, 24, first["heat"])
    assert {tuple(state["zoom"]) for state in (midway, last)} == {tuple(zoomed)}
    assert first["heat"] > 0
    assert not sent, "the server hears nothing of it"
    watcher.assert_clean(page)
    page.context.close()


def test_the_slider_stops_what_plays(browser: Any, server: str) -> None:
    page = look(browser)
    page.goto(f"{server}/story?b=two_sites")
    settle(page)
    chart = page.locator("[data-testid=stPlotlyChart]").first
    chart.locator(".updatemenu-button").click()
    page.wait_for_timeout(700)
    rail = chart.locator(".slider-rail-touch-rect").bounding_box()
    page.mouse.click(rail["x"] + 0.5 * rail["width"], rail["y"] + 0.5 * rail["height"])
    stopped = steady(chart)
    assert abs(stopped["slider"] - 12) <= 1
    assert stopped["path"] == stopped["slider"] + 1
    page.context.close()


def test_the_keyboard_plays_and_moves_every_hour(browser: Any, server: str) -> None:
    page = look(browser, width=1280)  # the rail is short
    watcher = Watcher(page, server)
    visit(page, f"{server}/patient?b=two_sites")
    chart = page.locator(PCA).first
    slider, button = chart.get_by_role("slider"), chart.get_by_role("button", name="Play the path")
    assert slider.get_attribute("aria-valuetext") == "24 h"
    slider.focus()
    for key, hour in {"Home": 0, "ArrowLeft": 0, "PageUp": 6, "PageDown": 0, "End": 24}.items():
        page.keyboard.press(key)
        assert steady(chart)["path"] == hour + 1, key
    for _ in range(24):
        page.keyboard.press("ArrowLeft")
    assert steady(chart)["path"] == 1, "as fast as keys come, none is lost"
    assert slider.get_attribute("aria-valuetext") == "0 h"
    for hour in range(1, 25):
        page.keyboard.press("ArrowRight")
        page.wait_for_function(
            f"([chart, points]) => ({STATE})(chart).path === points",
            arg=[chart.element_handle(), hour + 1],
            timeout=20_000,
        )
    page.keyboard.press("Home")
    assert steady(chart)["path"] == 1
    button.focus()
    chart.evaluate(RECORD)
    page.keyboard.press("Enter")
    page.wait_for_function("window.seen.some(state => state.path > 3)", timeout=20_000)
    assert steady(chart)["path"] == 25
    assert button.evaluate("it => it === document.activeElement"), "what plays keeps its place"
    watcher.assert_clean(page)
    page.context.close()


def test_keys_of_the_slider_do_not_turn_the_story(browser: Any, server: str) -> None:
    page = look(browser)
    page.goto(f"{server}/story?b=two_sites")
    settle(page)
    chart = page.locator("[data-testid=stPlotlyChart]").first
    chart.get_by_role("slider").focus()
    page.keyboard.press("ArrowLeft")
    assert steady(chart)["path"] == 24
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("!document.body.innerText.includes('1 One patient')", timeout=20_000)
    page.context.close()


@pytest.mark.parametrize("width", [900, 1280])
@pytest.mark.parametrize("name", ["story", "patient"])
def test_neither_the_button_nor_an_hour_lies_on_the_next(
    browser: Any, server: str, name: str, width: int
) -> None:
    page = look(browser, width=width)
    visit(page, f"{server}/{name}?b=two_sites")
    chart = page.locator("[data-testid=stPlotlyChart]", has=page.locator(".updatemenu-button")).first
    boxes = chart.locator(".updatemenu-button, .cbaxis text").evaluate_all(
        "all => all.map(one => one.getBoundingClientRect())"
    )
    assert len(boxes) == 6
    for one, after in itertools.pairwise(sorted(boxes, key=lambda box: box["x"])):
        assert one["x"] + one["width"] < after["x"]
    page.context.close()
