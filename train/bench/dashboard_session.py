"""What one session of the dashboard keeps in memory of its own, beside what all sessions share."""

from __future__ import annotations

import sys
from pathlib import Path
from unittest.mock import patch

from streamlit.testing.v1 import AppTest
from streamlit.vendor.pympler.asizeof import asizeof

TIMEOUT = 180  # seconds of one page


def session_mb(app: Path, study: Path) -> float:
    """MB of a session's state once it has seen every page, by Streamlit's own way of counting.

    Runs `app` in this process: the server's `/_stcore/metrics` counts a live session by its number of keys,
    since it holds objects whose size cannot be told. Raises RuntimeError where a page shows an exception.
    """
    with patch.object(sys, "argv", [str(app), "--studies", str(study.absolute())]):
        session = AppTest.from_file(str(app), default_timeout=TIMEOUT).run()
        for page in sorted((app.parent / "app_pages").glob("[a-z]*.py")):
            session.switch_page(f"app_pages/{page.name}").run()
            if session.exception:
                raise RuntimeError(f"{page.name}: {session.exception[0].value}")
    return float(asizeof(session.session_state._state)) / 1e6
