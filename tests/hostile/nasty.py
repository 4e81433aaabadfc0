"""Values that nobody means well with, and ways to put one anywhere into a file."""

from __future__ import annotations

import copy
import os
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from ehrfm_core.errors import UserError

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"

WORDS = (
    "..",
    "../../etc/passwd",
    "/etc/passwd",
    "a\0b",
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    '=HYPERLINK("http://x.example","y")',
    "+1+cmd|' /C calc'!A0",
    "@SUM(1+1)",
    "\t=1",
    "-2+3",
    "$x^2$",
    "](javascript:alert(1))",
    "![x](http://x.example/a.png)",
    "%{customdata}",
    "%{y}<br>",
    ":red[x] :material/home:",
    "`a` *b* _c_ ~d~ # e",
    "a\nb\r\nc",
    "\u202eabc",
    "\ufeff",
    "\ud800",
    "",
    " ",
    "None",
    "x" * 900,
)
NUMBERS = (0, -1, 2**31, 2**63, 2**64, 10**400, -(10**30), 1e308, 5e-324, 0.5)
SPECIAL = (float("nan"), float("inf"), float("-inf"))
TEXT = st.sampled_from(WORDS) | st.text(max_size=12)
LEAVES = (
    st.none()
    | st.booleans()
    | st.sampled_from(NUMBERS)
    | st.sampled_from(SPECIAL)
    | st.integers()
    | st.floats()
    | TEXT
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=6
)


def examples(n: int, *, long: int | None = None) -> settings:
    """Settings for `n` examples in the gate, and `long` (60 n) with HYPOTHESIS_PROFILE=long."""
    return settings(
        max_examples=n if not LONG else long or 60 * n,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths to everything inside a JSON value."""
    if isinstance(value, dict):
        inner = list(value.items())
    else:
        inner = list(enumerate(value)) if isinstance(value, list) else []
    return [path, *(place for key, part in inner for place in places(part, (*path, key)))]


@st.composite
def spoilt(draw: st.DrawFn, value: Any, *, under: tuple[Any, ...] = ()) -> Any:
    """A copy of a JSON value in which one to three parts are replaced, lost, renamed or doubled."""
    for _ in range(draw(st.integers(1, 3))):
        candidates = [place for place in places(value) if place[: len(under)] == under and place]
        if not candidates:
            return value
        path = draw(st.sampled_from(candidates))
        value = copy.deepcopy(value)
        holder = value
        for key in path[:-1]:
            holder = holder[key]
        how = draw(st.sampled_from(["replace", "replace", "lose", "rename"]))
        if how == "replace":
            holder[path[-1]] = draw(VALUES)
            continue
        lost = holder.pop(path[-1])
        if how == "rename" and isinstance(holder, dict):
            holder[draw(TEXT)] = lost
    return value


def sentence(error: UserError | str, *, most: int = 8000) -> str:
    """What a user is told: one line, not without end."""
    text = str(error)
    assert "\n" not in text
    assert len(text) < most
    return text
