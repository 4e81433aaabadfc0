"""The tokenizer: settings, event map, cut points and vocabulary of the source's training split."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import yaml

from ehrfm_core.clif.columns import clifpy_file
from ehrfm_core.clif.event_map import EventMap, load_map
from ehrfm_core.errors import UserError
from ehrfm_core.tokens.settings import TokenSettings
from ehrfm_core.tokens.vocabulary import AGE, REFERENCE, bin_token

MISSING = "missing"
UNKNOWN_DISCHARGE = "discharge/unknown"  # never UNK, which would not be known as part of the suffix


@dataclass(frozen=True)
class Tokenizer:
    """What turns events into tokens.

    `cut_points[code]` are ascending: a value gets the bin of the number of cut points at or below it, so a
    code with k cut points has k + 1 bins (none for a constant). `reference[code]` is the range, both ends
    within, of codes that become LOW, NORMAL, HIGH. `units[code]` is the unit of the cut points where doses
    were converted. `vocabulary` maps tokens to ids, PAD being 0.
    """

    settings: TokenSettings
    cut_points: dict[str, list[float]]
    vocabulary: dict[str, int]
    events: EventMap = field(default_factory=lambda: load_map("paper"))
    reference: dict[str, list[float]] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)

    def value_tokens(self, code: str) -> list[str]:
        """The value tokens that a code can have, from its lowest bin up; empty where it has none."""
        if code in self.reference:
            return list(REFERENCE)
        if code not in self.cut_points:
            return []
        return [bin_token(i) for i in range(len(self.cut_points[code]) + 1)]

    @property
    def prefix(self) -> tuple[str, ...]:
        """Static families before the first event, in order; TL_START stands before them."""
        return tuple(item.family for item in self.events.prefix)

    @property
    def age_position(self) -> int | None:
        """Position in a timeline of the age bin, which stands without a category; None if there is none."""
        return 1 + self.prefix.index(AGE) if AGE in self.prefix and self.settings.scheme == "paper" else None

    def to_json(self) -> dict[str, Any]:
        """A value for `tokenizer.json`."""
        settings = asdict(self.settings) | {"more_windows": list(self.settings.more_windows)}
        more = {key: value for key, value in (("reference", self.reference), ("units", self.units)) if value}
        return {
            **settings,
            "events": self.events.to_json(),
            "cut_points": self.cut_points,
            **more,
            "vocabulary": self.vocabulary,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Tokenizer:
        """Read what `to_json` wrote; UserError where a part is missing."""
        try:
            settings = TokenSettings.from_json(value)
            events = EventMap.from_json(value["events"])
            more = (value.get("reference", {}), value.get("units", {}))
            return cls(settings, value["cut_points"], value["vocabulary"], events, *more)
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(f"tokenizer.json lacks {error}; run `python -m train tokenize` again.") from None


def reference_ranges(families: tuple[str, ...] = ("lab",)) -> dict[str, list[float]]:
    """Lower and upper end of the reference range by code, for the labs whose range clifpy's schemas give.

    >>> reference_ranges()["lab/pt"]
    [10.0, 13.0]
    """
    ranges: dict[str, list[float]] = {}
    for version in ("2.1", "3.0"):
        schema = yaml.safe_load(
            clifpy_file(f"schemas/{version}/labs_schema.yaml").read_text(encoding="utf-8")
        )
        for lab, ends in schema["lab_reference_ranges"].items():
            ranges |= {f"{family}/{lab}": [float(ends["lower"]), float(ends["upper"])] for family in families}
    return ranges
