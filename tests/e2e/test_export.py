"""What a reader takes out of the dashboard: pictures of charts and tables as CSV, read back from the disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import PAGES, look, settle, visit

pytestmark = pytest.mark.browser

WORD = "SYNTHETIC"
STRIP = ".st-key-synthetic"

# A table's buttons rise above its cells only a moment after the mouse is there. A click before that is tried
# again by Playwright after it has scrolled, which takes the table from under the mouse for good.
IN_REACH = """button => {
    const box = button.getBoundingClientRect();
    const top = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
    return box.width > 0 && button.contains(top);
}"""


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    page = look(browser, width=1280)
    page.add_init_script("delete window.showSaveFilePicker")  # its dialog belongs to the system
    yield page
    page.context.close()


def download(page: Any, click: Callable[[], None]) -> tuple[str, str]:
    """Name and text of the file that a click saves."""
    with page.expect_download(timeout=30_000) as saved:
        click()
    return saved.value.suggested_filename, Path(saved.value.path()).read_text(encoding="utf-8-sig")


def camera(page: Any, chart: int, kind: str = "SVG") -> Callable[[], None]:
    """The click that takes a picture of a chart."""
    figure = page.locator(".js-plotly-plot").nth(chart)
    figure.scroll_into_view_if_needed()
    figure.hover()
    button = figure.locator(f'.modebar-btn[data-title="Download plot as {kind}"]')
    page.wait_for_function(IN_REACH, arg=button.element_handle(), timeout=30_000)
    return button.click


def save_picture(page: Any, chart: int) -> tuple[str, str]:
    return download(page, camera(page, chart))


def save_table(page: Any, table: int) -> tuple[str, str]:
    frame = page.locator("[data-testid=stDataFrame]").nth(table)
    frame.evaluate("table => table.scrollIntoView({block: 'center'})")  # its buttons clear of the app's bar
    settle(page)
    frame.hover()
    button = frame.get_by_role("button", name="Download as CSV")
    page.wait_for_function(IN_REACH, arg=button.element_handle(), timeout=30_000)
    return download(page, button.click)


def overlaps(page: Any) -> list[str]:
    """Texts and legends of a figure that the word covers."""
    return page.evaluate(
        """word => [...document.querySelectorAll('.js-plotly-plot')].flatMap(figure => {
            const texts = [...figure.querySelectorAll('svg text, .legend .bg, .colorbar')];
            const mark = texts.find(text => text.textContent === word).getBoundingClientRect();
            return texts.filter(text => text.textContent !== word).filter(text => {
                const box = text.getBoundingClientRect();
                return box.width && box.left < mark.right && box.right > mark.left
                    && box.top < mark.bottom && box.bottom > mark.top;
            }).map(text => text.textContent || text.getAttribute('class'));
        })""",
        WORD,
    )


def test_the_word_covers_nothing_in_any_chart(page: Any, exporting: str) -> None:
    for name in PAGES:
        visit(page, f"{exporting}/{name}?b=made&y=long_los&c=difference")
        assert not overlaps(page), name or "overview"


@pytest.mark.parametrize("name", ["patient", "transfer"])
def test_a_picture_of_a_synthetic_chart_carries_the_word(page: Any, exporting: str, name: str) -> None:
    visit(page, f"{exporting}/{name}?b=made&y=long_los")
    file, text = save_picture(page, 0)
    assert file == {"patient": "SYNTHETIC_made_lanes.svg", "transfer": "SYNTHETIC_made_recovery.svg"}[name]
    assert text.count(f">{WORD}<") == 1


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_chart_gives_a_png_beside_its_svg(browser: Any, exporting: str, dark: bool) -> None:
    page = look(browser, dark=dark, width=1280)
    page.add_init_script("delete window.showSaveFilePicker")
    visit(page, f"{exporting}/dynamics?b=made&y=long_los")
    visit(page, f"{exporting}/patient?b=made&y=long_los")
    charts = page.locator(".js-plotly-plot").count()
    assert page.locator(".modebar-btn .png").count() == charts == 3
    for chart, name in ((0, "lanes"), (1, "small-pca")):
        with page.expect_download(timeout=30_000) as saved:
            camera(page, chart, "PNG")()
        assert saved.value.suggested_filename == f"SYNTHETIC_made_{name}.png"
        content = Path(saved.value.path()).read_bytes()
        assert content[:8] == b"\x89PNG\r\n\x1a\n"
        shown = page.locator(".js-plotly-plot").nth(chart).bounding_box()
        width = int.from_bytes(content[16:20], "big")
        assert width == pytest.approx(2 * shown["width"], abs=4), "twice as fine as the screen"
    file, text = save_picture(page, 1)
    assert file.endswith(".svg")
    assert text.startswith("<svg"), "the PNG before it leaves the camera as it was"
    assert "slider" not in text
    assert page.locator(".js-plotly-plot .slider-container").count() == 2
    page.context.close()


def test_a_table_of_a_synthetic_study_carries_the_word_in_every_row(page: Any, exporting: str) -> None:
    visit(page, f"{exporting}/patient?b=made")
    for table in range(2):
        _, text = save_table(page, table)
        head, *rows = text.splitlines()
        assert head.split(",")[-1] == WORD
        assert rows
        assert all(row.endswith(",synthetic") for row in rows)


def test_what_is_taken_from_a_real_study_does_not(page: Any, exporting: str) -> None:
    visit(page, f"{exporting}/patient?b=real")
    file, text = save_picture(page, 0)
    assert file == "real_lanes.svg"
    assert WORD not in text
    assert WORD.lower() not in save_table(page, 0)[1].lower()
    assert WORD not in page.title()
    assert page.locator(STRIP).count() == 0


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_strip_stays_in_sight_whatever_is_scrolled_or_folded(
    browser: Any, exporting: str, dark: bool
) -> None:
    page = look(browser, dark=dark, width=1280)
    visit(page, f"{exporting}/dynamics?b=made")
    assert page.title().startswith(WORD)
    page.get_by_test_id("stSidebarCollapseButton").locator("button").click(force=True)
    page.evaluate("document.querySelector('[data-testid=stMain]').scrollTo(0, 900)")
    page.wait_for_timeout(500)
    assert "DATA" in page.locator(STRIP).inner_text()
    seen = page.evaluate(
        """strip => {
            const box = document.querySelector(strip).getBoundingClientRect();
            const top = document.elementFromPoint(box.left + 30, box.top + box.height / 2);
            return [box.top, top.closest(strip) !== null];
        }""",
        STRIP,
    )
    assert 0 <= seen[0] < 100
    assert seen[1], "something lies over the strip"
    page.context.close()
