"""The tokenizer: settings, event map, cut points and vocabulary of the source's training split."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

import yaml

from ehrfm_core.clif.columns import clifpy_file
from ehrfm_core.clif.event_map import EventMap, load_map
from ehrfm_core.errors import UserError, brief
from ehrfm_core.tokens.settings import MOST_BINS, TokenSettings
from ehrfm_core.tokens.vocabulary import AGE, REFERENCE, SPECIAL, bin_token

MOST_TOKENS = 1_000_000
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
        """Read what `to_json` wrote; UserError where a part is missing or of another type."""
        again = "run `python -m train tokenize` again."
        try:
            settings = TokenSettings.from_json(value)
            events = EventMap.from_json(value["events"])
            more = (value.get("reference", {}), value.get("units", {}))
            found = cls(settings, value["cut_points"], value["vocabulary"], events, *more)
        except KeyError as error:
            raise UserError(f"tokenizer.json lacks {brief(error)}; {again}") from None
        except (TypeError, AttributeError) as error:
            raise UserError(f"tokenizer.json is not a tokenizer's ({brief(error)}); {again}") from None
        if wrong := _wrong(found):
            raise UserError(f"tokenizer.json: {wrong}; {again}")
        return found


def _wrong(tokenizer: Tokenizer) -> str | None:
    """What in a tokenizer read from a file is of another kind; None where nothing is."""
    vocabulary = tokenizer.vocabulary
    ids = list(vocabulary.values()) if isinstance(vocabulary, dict) else [None]
    whole = all(isinstance(i, int) and not isinstance(i, bool) and 0 <= i < MOST_TOKENS for i in ids)
    if not whole or len(set(ids)) < len(ids):
        return f"the vocabulary must give each token a number of its own, below {MOST_TOKENS:,}"
    if lost := [token for token in SPECIAL if token not in vocabulary]:
        return f"the vocabulary lacks {lost[0]}"
    for name, table in (("cut_points", tokenizer.cut_points), ("reference", tokenizer.reference)):
        if not isinstance(table, dict) or not all(isinstance(ends, list) for ends in table.values()):
            return f"`{name}` must hold a list of numbers by code"
        for code, ends in table.items():
            numbers = all(isinstance(x, int | float) and not isinstance(x, bool) for x in ends)
            if not numbers or any(low > high for low, high in pairwise(ends)) or len(ends) > MOST_BINS:
                return f"`{name}` of {code[:60]!r} are not ascending numbers, at most {MOST_BINS}"
    if any(len(ends) != 2 for ends in tokenizer.reference.values()):
        return "a reference range needs two ends"
    if not isinstance(tokenizer.units, dict) or not all(isinstance(u, str) for u in tokenizer.units.values()):
        return "`units` must hold a text by code"
    return None


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
