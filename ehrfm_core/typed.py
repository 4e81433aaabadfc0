"""Dataclasses that are read from JSON: every field is what it is annotated to be."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

_KINDS: dict[str, Any] = {"str": str, "str | None": str | None, "bool": bool, "Any": object}  # others: tuples


def check_types(part: Any) -> None:
    """Raise TypeError where a field of a dataclass read from JSON is not what it is annotated to be."""
    for item in fields(part):
        value, told = getattr(part, item.name), str(item.type)
        whole = isinstance(value, _KINDS.get(told, tuple))
        if told == "tuple[str, ...]":
            whole = whole and all(isinstance(text, str) for text in value)
        if not whole:
            raise TypeError(f"{item.name} is not {told}")
