"""A figure with its budget, and what a browser waits for before one is taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

CHART = ".js-plotly-plot .main-svg"
FOOTER = "[data-testid=stCaptionContainer]:has-text('For research only')"
BUSY = "[data-testid=stStatusWidget], [data-testid=stSkeleton], [data-testid=stSpinner]"
TIMEOUT = 180_000  # ms
MB = 1e6


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


def drawn(page: Any, name: str) -> None:
    """Wait for the first chart, or, where a page may have none, for the footer."""
    page.wait_for_selector(FOOTER if name == "training" else CHART, timeout=TIMEOUT)


def settled(page: Any) -> None:
    """Wait until nothing is on its way any more."""
    page.wait_for_selector(FOOTER, timeout=TIMEOUT)
    page.wait_for_function(f"document.querySelectorAll('{BUSY}').length === 0", timeout=TIMEOUT)
    page.wait_for_timeout(500)
