"""What a visitor of the dashboard waits for and receives, measured in Chromium."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

CHART = ".js-plotly-plot .main-svg"
FOOTER = "[data-testid=stCaptionContainer]:has-text('For research only')"
BUSY = "[data-testid=stStatusWidget], [data-testid=stSkeleton], [data-testid=stSpinner]"
REPEATS = 3
TIMEOUT = 180_000  # ms
LINKS = "[data-testid=stSidebarNavLink]"
MB = 1e6
LANES = """() => JSON.stringify(document.querySelector('.js-plotly-plot').data.map(trace =>
  [trace.x, trace.y].map(values => Array.from(values || []))))"""
SPECS = """() => Math.max(0, ...[...document.querySelectorAll('.js-plotly-plot')].map(plot => new Blob([
  JSON.stringify({data: plot.data, layout: plot.layout},
    (key, value) => ArrayBuffer.isView(value) ? Array.from(value) : value)]).size))"""


@dataclass(frozen=True)
class Measured:
    """One figure with its budget; `budget` None: only told."""

    what: str
    value: float
    unit: str
    budget: float | None = None

    @property
    def verdict(self) -> str:
        """Whether it is within its budget."""
        return "" if self.budget is None else "pass" if self.value <= self.budget else "FAIL"


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


def one_visitor(browser: Any, address: str) -> list[Measured]:
    """Every page, then zoom and change of patient, of one visitor."""
    found, specs, outside, errors, contexts = [], 0, 0, 0, 0
    names = [""]  # its menu names the others
    for name in names:
        seconds, received = [], 0
        for turn in range(REPEATS + 1):
            page = browser.new_context(viewport={"width": 1440, "height": 1000}).new_page()
            page.add_init_script(_COUNT_WEBGL)
            watch = _Watch(page, address)
            begun = time.perf_counter()
            page.goto(f"{address}/{name}", timeout=TIMEOUT)
            drawn(page, name)
            seconds.append(time.perf_counter() - begun)
            if turn == REPEATS:
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
        Measured("zoom redraw on the map", 1000 * _zoom(browser, address), "ms", 300),
        Measured("change of patient", _next_patient(browser, address), "s", 0.5),
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


def drawn(page: Any, name: str) -> None:
    """Wait for the first chart, or, where a page may have none, for the footer."""
    page.wait_for_selector(FOOTER if name == "training" else CHART, timeout=TIMEOUT)


def settled(page: Any) -> None:
    """Wait until nothing is on its way any more."""
    page.wait_for_selector(FOOTER, timeout=TIMEOUT)
    page.wait_for_function(f"document.querySelectorAll('{BUSY}').length === 0", timeout=TIMEOUT)
    page.wait_for_timeout(500)


def _zoom(browser: Any, address: str) -> float:
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
        REPEATS,
    )
    page.context.close()
    return statistics.median(seconds)


def _next_patient(browser: Any, address: str) -> float:
    """Median seconds from the key J until the lanes of the next stay are drawn."""
    page = browser.new_context(viewport={"width": 1440, "height": 1000}).new_page()
    page.goto(f"{address}/patient", timeout=TIMEOUT)
    settled(page)
    seconds = []
    heading = page.locator("h3", has_text="Stay ").first
    for _ in range(REPEATS + 1):  # the first reads tables that no page has needed yet
        old = heading.inner_text()
        drawn = page.evaluate(LANES)
        begun = time.perf_counter()
        page.get_by_role("button", name="Next").first.click()
        page.wait_for_function(
            "([heading, drawn]) => ![...document.querySelectorAll('h3')].some(h => h.innerText === heading)"
            f" && ({LANES})() !== drawn",
            arg=[old, drawn],
            timeout=TIMEOUT,
            polling=20,
        )
        seconds.append(time.perf_counter() - begun)
        settled(page)
    page.context.close()
    return statistics.median(seconds[1:])


def visitors(browser: Any, address: str, users: int, memory_mb: Callable[[], float]) -> list[Measured]:
    """Several visitors who open the map in the same moment; what each of them costs the server."""
    before = memory_mb()
    pages = [browser.new_context().new_page() for _ in range(users)]
    begun = time.perf_counter()
    for page in pages:
        page.goto(f"{address}/map", wait_until="commit", timeout=TIMEOUT)
    seconds = []
    for page in pages:
        drawn(page, "map")
        seconds.append(time.perf_counter() - begun)
    each = (memory_mb() - before) / users
    for page in pages:
        page.context.close()
    return [
        Measured(f"map: first paint of the last of {users} visitors", max(seconds), "s"),
        Measured("server memory a visitor", each, "MB"),
    ]
