"""What a visitor does on a page: zoom, draw around a region, go to the next stay; timed to the screen."""

from __future__ import annotations

import math
import statistics
import time
from typing import Any

from train.bench.dashboard_waiting import TIMEOUT, Measured, settled

LANES = """() => JSON.stringify(document.querySelector('.js-plotly-plot').data.map(trace =>
  [trace.x, trace.y].map(values => Array.from(values || []))))"""
PLACE = """() => { const box = document.querySelector('.js-plotly-plot .nsewdrag').getBoundingClientRect();
  return [box.x, box.y, box.width, box.height]; }"""
COUNTED = r"""before => { const bar = document.querySelector('.st-key-cohort-a')?.innerText || '';
  return /A · [0-9]/.test(bar) && bar !== before
    && [...document.querySelectorAll('h2')].some(h => h.innerText.startsWith('A against')); }"""


def gestures(browser: Any, address: str, *, repeats: int, slower: float = 1) -> list[Measured]:
    """Each gesture, a median of `repeats`, beside its budget: `slower` times that of a visitor alone."""
    lasso, sent = draw_region(browser, address, repeats)
    return [
        Measured("zoom redraw on the map", 1000 * zoom(browser, address, repeats), "ms", 300 * slower),
        Measured("region drawn until counted and compared", lasso, "s", 1.0 * slower),
        Measured("sent by the browser for it", sent / 1000, "kB", 50),
        Measured("change of patient", next_patient(browser, address, repeats), "s", 0.5 * slower),
    ]


def draw_region(browser: Any, address: str, repeats: int) -> tuple[float, int]:
    """Median seconds from letting go of a lasso until its stays are counted and compared; bytes sent."""
    page = browser.new_context(viewport={"width": 1440, "height": 1000}).new_page()
    sent: list[int] = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(len(frame))))
    page.goto(f"{address}/map?w=any", timeout=TIMEOUT)
    settled(page)
    page.locator(".js-plotly-plot").first.locator('.modebar-btn[data-title="Lasso Select"]').click()
    seconds, largest = [], 0
    for turn in range(repeats + 1):  # the first counts what was charted, once a server
        page.evaluate("window.scrollTo(0, 0)")
        bar = page.locator(".st-key-cohort-a")
        before = bar.inner_text() if bar.count() else ""
        x, y, width, height = page.evaluate(PLACE)
        radius = 0.2 + 0.05 * turn
        turns = [i / 40 * 2 * math.pi for i in range(41)]
        path = [
            (x + width * (0.5 + radius * math.cos(t)), y + height * (0.5 + radius * math.sin(t)))
            for t in turns
        ]
        page.mouse.move(*path[0])
        page.mouse.down()
        for place in path[1:]:
            page.mouse.move(*place)
        sent.clear()
        begun = time.perf_counter()
        page.mouse.up()
        page.wait_for_function(COUNTED, arg=before, timeout=TIMEOUT, polling=20)
        seconds.append(time.perf_counter() - begun)
        largest = max(largest, *sent)
        settled(page)
    page.context.close()
    return statistics.median(seconds[1:]), largest


def zoom(browser: Any, address: str, repeats: int) -> float:
    """Median seconds from a drag on the first map until it is redrawn and painted."""
    page = browser.new_context(viewport={"width": 1440, "height": 1000}).new_page()
    page.goto(f"{address}/map", timeout=TIMEOUT)
    settled(page)
    seconds = page.evaluate(
        """async repeats => {
            const plot = document.querySelector('.js-plotly-plot'), found = [];
            const {xaxis, yaxis} = plot._fullLayout, [x, y] = [xaxis.range.slice(), yaxis.range.slice()];
            const drag = plot.querySelector('.nsewdrag'), box = drag.getBoundingClientRect();
            const at = (kind, fx, fy, on) => on.dispatchEvent(new MouseEvent(kind, {bubbles: true, button: 0,
                buttons: 1, view: window, clientX: box.left + fx * box.width,
                clientY: box.top + fy * box.height}));
            for (let i = 0; i < repeats; i++) {
                const done = new Promise(resolve => plot.once
                    ? plot.once('plotly_relayout', resolve) : plot.on('plotly_relayout', resolve));
                at('mousedown', 0.3 + 0.02 * i, 0.3, drag);
                at('mousemove', 0.5, 0.5, document);
                at('mousemove', 0.7, 0.7, document);
                const begun = performance.now();
                at('mouseup', 0.7, 0.7, document);
                await Promise.race([done, new Promise(resolve => setTimeout(resolve, 5000))]);
                await new Promise(resolve => requestAnimationFrame(() => setTimeout(resolve, 0)));
                found.push((performance.now() - begun) / 1000);
                await new Promise(resolve => setTimeout(resolve, 500));
            }
            return found;
        }""",
        repeats,
    )
    page.context.close()
    return statistics.median(seconds)


def next_patient(browser: Any, address: str, repeats: int) -> float:
    """Median seconds from the key J until the lanes of the next stay are drawn."""
    page = browser.new_context(viewport={"width": 1440, "height": 1000}).new_page()
    page.goto(f"{address}/patient", timeout=TIMEOUT)
    settled(page)
    seconds = []
    heading = page.locator("h2", has_text="Stay ").first
    for _ in range(repeats + 1):  # the first reads tables that no page has needed yet
        old = heading.inner_text()
        drawn = page.evaluate(LANES)
        begun = time.perf_counter()
        page.locator(".st-key-next button").click()
        page.wait_for_function(
            "([heading, drawn]) => ![...document.querySelectorAll('h2')].some(h => h.innerText === heading)"
            f" && ({LANES})() !== drawn",
            arg=[old, drawn],
            timeout=TIMEOUT,
            polling=20,
        )
        seconds.append(time.perf_counter() - begun)
        settled(page)
    page.context.close()
    return statistics.median(seconds[1:])
