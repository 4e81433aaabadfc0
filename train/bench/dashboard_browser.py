"""What a visitor of the dashboard waits for and receives, measured in Chromium."""

from __future__ import annotations

import statistics
import sys
import time
from typing import Any

from train.bench.dashboard_gestures import gestures
from train.bench.dashboard_waiting import MB, TIMEOUT, Measured, drawn, settled

LINKS = "[data-testid=stSidebarNavLink]"
SPECS = """() => Math.max(0, ...[...document.querySelectorAll('.js-plotly-plot')].map(plot => new Blob([
  JSON.stringify({data: plot.data, layout: plot.layout},
    (key, value) => ArrayBuffer.isView(value) ? Array.from(value) : value)]).size))"""


def first_paint(browser: Any, address: str, name: str) -> float:
    """Seconds from the address until the first chart of a page."""
    page = browser.new_context(viewport={"width": 1440, "height": 1000}).new_page()
    begun = time.perf_counter()
    page.goto(f"{address}/{name}", timeout=TIMEOUT)
    drawn(page, name)
    seconds = time.perf_counter() - begun
    page.context.close()
    return seconds


class _Watch:
    """What a page sends, receives and complains of."""

    def __init__(self, page: Any, address: str) -> None:
        self.received, self.outside, self.errors = 0, 0, 0
        local = (address, address.replace("http", "ws", 1), "data:", "blob:")
        page.on("request", lambda request: self._asked(request.url, local))
        page.on("pageerror", lambda _: self._failed(""))
        page.on("websocket", lambda socket: socket.on("framereceived", self._frame))
        page.on(
            "console",
            lambda said: self._failed(said.location.get("url", "")) if said.type == "error" else None,
        )

    def _asked(self, url: str, local: tuple[str, ...]) -> None:
        self.outside += not url.startswith(local)

    def _failed(self, url: str) -> None:
        self.errors += "/_stcore/" not in url  # of a deep link Streamlit first looks below the page's path

    def _frame(self, payload: str | bytes) -> None:
        self.received += len(payload)


def one_visitor(browser: Any, address: str, *, repeats: int) -> list[Measured]:
    """Every page, then zoom and change of patient, of one visitor: medians of `repeats`."""
    found, specs, outside, errors, contexts = [], 0, 0, 0, 0
    names = [""]  # its menu names the others
    for name in names:
        seconds, received = [], 0
        for turn in range(repeats + 1):
            page = browser.new_context(viewport={"width": 1440, "height": 1000}).new_page()
            page.add_init_script(_COUNT_WEBGL)
            watch = _Watch(page, address)
            begun = time.perf_counter()
            page.goto(f"{address}/{name}", timeout=TIMEOUT)
            drawn(page, name)
            seconds.append(time.perf_counter() - begun)
            if turn == repeats:
                settled(page)
                names += [other for other in menu(page) if other not in names]
                specs = max(specs, page.evaluate(SPECS))
                contexts = max(contexts, page.evaluate("window.webglContexts"))
                received = watch.received
            outside, errors = outside + watch.outside, errors + watch.errors
            page.context.close()
        warm = statistics.median(seconds[1:])
        budget = 5.0 if name == "map" else None
        print(f"{name or 'overview'}: {warm:.2f} s", file=sys.stderr, flush=True)
        found.append(Measured(f"{name or 'overview'}: first paint, warm", warm, "s", budget))
        found.append(Measured(f"{name or 'overview'}: first paint, cold", seconds[0], "s"))
        found.append(Measured(f"{name or 'overview'}: sent to the browser", received / MB, "MB"))
    return [
        *found,
        *gestures(browser, address, repeats=repeats),
        Measured("largest figure", specs / MB, "MB", 2),
        Measured("WebGL contexts a page", contexts, "", 0),
        Measured("requests outside", outside, "", 0),
        Measured("console errors", errors, "", 0),
    ]


_COUNT_WEBGL = """window.webglContexts = 0;
const get = HTMLCanvasElement.prototype.getContext;
HTMLCanvasElement.prototype.getContext = function (kind, ...more) {
  const made = get.call(this, kind, ...more);
  if (made && String(kind).startsWith('webgl')) window.webglContexts += 1;
  return made;
};"""


def menu(page: Any) -> list[str]:
    """The pages that the menu names, by the last part of their addresses; the first page has none."""
    links = page.locator(LINKS).evaluate_all("links => links.map(link => new URL(link.href).pathname)")
    return [link.rpartition("/")[2] for link in links]
