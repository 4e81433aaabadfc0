"""JSON in which nothing is left open: refused is what Python reads and later steps stumble over."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

DEEPEST = 32  # lists and objects in each other; a study's files have 7
_LARGEST = 2**63  # of whole numbers: what a column of a table can hold


def parse(text: str) -> Any:
    """The value that a JSON text stands for.

    Raises ValueError or RecursionError for what is not JSON (NaN, Infinity), for a key that stands twice,
    half a surrogate pair, numbers that neither Int64 nor Float64 holds, and nesting deeper than `DEEPEST`.

    >>> parse('{"a": [1, 0.5, null]}')
    {'a': [1, 0.5, None]}
    """
    value = json.loads(
        text, parse_constant=_constant, parse_int=_int, parse_float=_float, object_pairs_hook=_object
    )
    _check_depth(value)
    if "\\u" in text:
        json.dumps(value, ensure_ascii=False).encode()  # UnicodeEncodeError where half a pair is left
    return value


def _constant(text: str) -> float:
    raise ValueError(f"{text} is not JSON")


def _int(text: str) -> int:
    if len(text) > 20 or not -_LARGEST <= (number := int(text)) < _LARGEST:
        raise ValueError(f"the number {text[:24]} is too large")
    return number


def _float(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"the number {text[:24]} is too large")
    return number


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, n in Counter(key for key, _ in pairs).items() if n > 1)
        raise ValueError(f"the key {twice[:40]!r} stands twice")
    return found


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(DEEPEST + 1):
        inner = [part for part in level if isinstance(part, dict | list)]
        if not inner:
            return
        level = [item for part in inner for item in (part.values() if isinstance(part, dict) else part)]
    raise ValueError(f"more than {DEEPEST} lists and objects in each other")
