"""`results/maps.json` as it must be: two maps with their ranges, figures of quality, and plain words."""

from __future__ import annotations

import re
from typing import Any

_WORDS = re.compile(r"[\w .,:;+()-]{0,200}")  # shown among other words, as they are
_WHOLE = ("n_fitted", "seed", "n_neighbors")


def wrong_part(value: Any) -> str | None:
    """The first part that is missing or of another kind, by name; None where the file is whole."""
    if not isinstance(value, dict):
        return "the file"
    beyond = value.get("off_map_beyond") or {}
    tests: list[tuple[str, bool]] = [
        ("fitted_on", _is_words(value.get("fitted_on", ""))),
        ("n_fitted", _is_number(value.get("n_fitted", 0))),
        ("n_components", _is_number(value.get("n_components", 0))),
        ("off_map_beyond", isinstance(beyond, dict) and _is_number(beyond.get("distance"), none=True)),
    ]
    for kind in ("pca", "umap"):
        part = value.get(kind)
        if not isinstance(part, dict):
            return kind
        tests += [(f"{kind}.{axis}_range", _is_range(part.get(f"{axis}_range"))) for axis in "xy"]
        tests += [(f"{kind}.{name}", _is_number(part[name])) for name in _WHOLE if name in part]
        tests += [(f"{kind}.quality", _are_figures(part.get("quality") or {}, deeper="off_map_share"))]
        versions = part.get("versions") or {}
        named = isinstance(versions, dict) and all(map(_is_words, (*versions, *versions.values())))
        shares = part.get("explained_variance") or []
        tests += [
            (f"{kind}.versions", named),
            (f"{kind}.explained_variance", isinstance(shares, list) and all(map(_is_number, shares))),
            (f"{kind}.kept_variance", _is_number(part.get("kept_variance", 0))),
            (f"{kind}.min_dist", _is_number(part.get("min_dist", 0))),
        ]
    if beyond and not {"n_neighbors"} <= set(value["umap"]):
        return "umap.n_neighbors"
    if beyond and not ("n_components" in value and "kept_variance" in value["pca"]):
        return "n_components"
    return next((name for name, holds in tests if not holds), None)


def _is_number(value: Any, *, none: bool = False) -> bool:
    return (none and value is None) or (isinstance(value, int | float) and not isinstance(value, bool))


def _is_words(value: Any) -> bool:
    return isinstance(value, str) and _WORDS.fullmatch(value) is not None


def _is_range(value: Any) -> bool:
    if not (isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))):
        return False
    low, high = value
    return -1e6 < low < high < 1e6


def _are_figures(value: Any, *, deeper: str) -> bool:
    """Numbers or nothing by name, and one part that holds the same by site."""
    if not isinstance(value, dict):
        return False
    rest = {name: part for name, part in value.items() if name != deeper}
    sites = value.get(deeper) or {}
    figures = (*rest.values(), *(sites.values() if isinstance(sites, dict) else [""]))
    return all(_is_number(figure, none=True) for figure in figures) and all(map(_is_words, sites))
