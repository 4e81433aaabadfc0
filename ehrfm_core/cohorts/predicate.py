"""The rule that makes a cohort: filters on the table of stays, and regions drawn on a map."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ehrfm_core.cohorts.polygon import MAX_VERTICES, Polygon, simplify
from ehrfm_core.errors import UserError

SITE = "site"  # the one filter that is not a column of the table of stays
KINDS = ("pca", "umap")
END, ANY = "end", "any"  # where a stay is at the end of the window, or at any hour of it
MAX_SHAPES = 8
_MAX_FILTERS = 40
_MAX_LEVELS = 200
_COLUMN = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,79}")
_DIGEST = re.compile(r"[0-9a-f]{0,64}")


@dataclass(frozen=True)
class Region:
    """One or more polygons drawn on a map; a stay is in it where it is in any of them at that `hour`."""

    kind: str
    shapes: tuple[Polygon, ...]
    hour: str = END

    @classmethod
    def drawn(cls, kind: str, shapes: list[tuple[list[float], list[float]]], hour: str = END) -> Region:
        """From the x and y that a browser sends; the last eight shapes share the 64 corners."""
        shapes = shapes[-MAX_SHAPES:]
        if not shapes:
            raise UserError("A region needs a shape.")
        each = MAX_VERTICES // len(shapes)
        return cls(kind, tuple(simplify(x, y, most=each) for x, y in shapes), hour)

    def to_json(self) -> dict[str, Any]:
        """Plain lists and names."""
        return {"kind": self.kind, "hour": self.hour, "shapes": [[list(p) for p in s] for s in self.shapes]}

    @classmethod
    def from_json(cls, content: Any) -> Region:
        """What `to_json` gave; raises UserError for anything else."""
        _need(isinstance(content, dict) and set(content) <= {"kind", "hour", "shapes"})
        kind, hour, shapes = content.get("kind"), content.get("hour", END), content.get("shapes")
        _need(kind in KINDS and hour in (END, ANY) and isinstance(shapes, list))
        _need(0 < len(shapes) <= MAX_SHAPES)
        return cls(kind, tuple(_polygon(shape) for shape in shapes), hour)


@dataclass(frozen=True)
class Cohort:
    """A cohort as a rule; every part must hold.

    `levels` maps a column (or `site`) to the values it may have (None: not recorded), `ranges` a column to
    its lowest and highest value (None: no bound), `flags` a column to true or false. `study` and `map` name
    the version of the study and of its maps that the rule was made on; two that differ in these differ.
    Sorted, so that the same rule is the same object, text and id whichever way it was made.
    """

    levels: tuple[tuple[str, tuple[str | None, ...]], ...] = ()
    ranges: tuple[tuple[str, tuple[float | None, float | None]], ...] = ()
    flags: tuple[tuple[str, bool], ...] = ()
    regions: tuple[Region, ...] = ()
    study: str = ""
    map: str = ""

    @classmethod
    def of(
        cls,
        *,
        levels: Mapping[str, list[str | None]] | None = None,
        ranges: Mapping[str, tuple[float | None, float | None]] | None = None,
        flags: Mapping[str, bool] | None = None,
        regions: tuple[Region, ...] = (),
        study: str = "",
        map: str = "",
    ) -> Cohort:
        """From mappings, in any order."""
        text = {c: tuple(sorted(set(v), key=lambda x: (x is None, x))) for c, v in (levels or {}).items()}
        return cls(
            tuple(sorted(text.items())),
            tuple(sorted((ranges or {}).items())),
            tuple(sorted((flags or {}).items())),
            regions,
            study,
            map,
        )

    @property
    def id(self) -> str:
        """First ten hex digits of the SHA-256 of its text."""
        return hashlib.sha256(self.text().encode()).hexdigest()[:10]

    @property
    def everyone(self) -> bool:
        """Whether it has no rule at all."""
        return not (self.levels or self.ranges or self.flags or self.regions)

    @property
    def sites(self) -> tuple[str | None, ...] | None:
        """The sites it is restricted to; None: all."""
        return dict(self.levels).get(SITE)

    def to_json(self) -> dict[str, Any]:
        """Plain lists and names, without what is empty."""
        content = {
            "levels": {column: list(values) for column, values in self.levels},
            "ranges": {column: list(bounds) for column, bounds in self.ranges},
            "flags": dict(self.flags),
            "regions": [region.to_json() for region in self.regions],
            "study": self.study,
            "map": self.map,
        }
        return {key: value for key, value in content.items() if value}

    def text(self) -> str:
        """`to_json` as text, always the same for the same rule."""
        return json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"), ensure_ascii=True)

    @classmethod
    def from_json(cls, content: Any) -> Cohort:
        """What `to_json` gave, whoever wrote it: anything that is not a cohort raises UserError."""
        known = {"levels", "ranges", "flags", "regions", "study", "map"}
        _need(isinstance(content, dict) and set(content) <= known)
        levels, ranges, flags = (_filters(content.get(part, {})) for part in ("levels", "ranges", "flags"))
        _need(all(isinstance(v, list) and 0 < len(v) <= _MAX_LEVELS for v in levels.values()))
        _need(all(value is None or _is_text(value) for values in levels.values() for value in values))
        _need(all(isinstance(value, bool) for value in flags.values()))
        regions = content.get("regions", [])
        _need(isinstance(regions, list) and len(regions) <= len(KINDS))
        digests = content.get("study", ""), content.get("map", "")
        _need(all(isinstance(d, str) and _DIGEST.fullmatch(d) for d in digests))
        return cls.of(
            levels=levels,
            ranges={column: _bounds(value) for column, value in ranges.items()},
            flags=flags,
            regions=tuple(Region.from_json(region) for region in regions),
            study=digests[0],
            map=digests[1],
        )

    @classmethod
    def from_text(cls, text: str | bytes) -> Cohort:
        """What `text` gave; anything else raises UserError."""
        try:
            content = json.loads(text)
        except (ValueError, RecursionError, TypeError):
            _need(ok=False)
        return cls.from_json(content)


def _need(ok: bool) -> None:
    if not ok:
        raise UserError("This is not a cohort: save one from the bar above a page, and open that file.")


def _is_text(value: Any) -> bool:
    # half of a surrogate pair is text to Python and JSON, and to nothing else
    return isinstance(value, str) and len(value) <= 200 and not re.search("[\ud800-\udfff]", value)


def _filters(content: Any) -> dict[str, Any]:
    _need(isinstance(content, dict) and len(content) <= _MAX_FILTERS)
    _need(all(isinstance(column, str) and _COLUMN.fullmatch(column) for column in content))
    return content


def _bounds(value: Any) -> tuple[float | None, float | None]:
    _need(isinstance(value, list) and len(value) == 2)
    low, high = (_number(bound) for bound in value)
    return low, high


def _number(value: Any) -> float | None:
    if value is None:
        return None
    _need(isinstance(value, int | float) and not isinstance(value, bool))
    _need(abs(value) < 1e300 and math.isfinite(value))
    return float(value)


def _polygon(shape: Any) -> Polygon:
    _need(isinstance(shape, list) and 3 <= len(shape) <= MAX_VERTICES)
    _need(all(isinstance(corner, list) and len(corner) == 2 for corner in shape))
    numbers = [[_number(part) for part in corner] for corner in shape]
    _need(all(part is not None for corner in numbers for part in corner))
    return simplify([corner[0] or 0.0 for corner in numbers], [corner[1] or 0.0 for corner in numbers])
