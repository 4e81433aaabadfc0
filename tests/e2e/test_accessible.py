"""Every page, light and dark, as axe-core judges it (WCAG 2 A and AA, and its best practices)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.conftest import PAGES, look, settle

pytestmark = pytest.mark.browser

# What Streamlit's own frame does, by rule and the element's mark; nothing of ours may hide behind it.
FRAME = {
    "list": "stSidebarNavItems",
    "listitem": "<li class=",
    "scrollable-region-focusable": "katex-display",
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_breaks_a_rule(browser: Any, server: str, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    broken = []
    page = look(browser, dark=scheme == "dark")
    for name in PAGES:
        page.goto(f"{server}/{name}?b=two_sites")
        settle(page)
        for rule in axe.Axe().run(page).response["violations"]:
            broken += [
                f"{name or 'overview'}: {rule['id']}: {node['html'][:200]}"
                for node in rule["nodes"]
                if FRAME.get(rule["id"], "\0") not in node["html"]
            ]
    assert not broken, "\n".join(sorted(set(broken)))
