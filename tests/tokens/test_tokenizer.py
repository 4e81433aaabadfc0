from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ehrfm_core.clif.event_map import load_map
from ehrfm_core.errors import UserError
from ehrfm_core.tokens.settings import PRESETS, TokenSettings
from ehrfm_core.tokens.tokenizer import Tokenizer, reference_ranges
from ehrfm_core.tokens.vocabulary import SPACINGS, SPECIAL, build
from tests.make_clif import make_all_tables
from tests.make_site import tokenize


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("events", ["paper", "all"])
def test_a_tokenizer_survives_json(tmp_path: Path, preset: str, events: str) -> None:
    settings = TokenSettings(
        **{name: getattr(PRESETS[preset], name) for name in TokenSettings.__dataclass_fields__}
        | {"more_windows": (48.0, None), "max_tokens": 99, "window_hours": 12.0}
    )
    before = tokenize(make_all_tables(), tmp_path, events=events, settings=settings)
    after = Tokenizer.from_json(json.loads(before.json))
    assert after == before.tokenizer
    assert after.settings == settings
    assert after.events == load_map(events)
    again = tokenize(make_all_tables(), tmp_path, after)
    assert again.frame["tokens"].to_list() == before.frame["tokens"].to_list()


@pytest.mark.parametrize("preset", PRESETS)
def test_the_vocabulary_is_complete_numbered_and_sorted(tmp_path: Path, preset: str) -> None:
    result = tokenize(make_all_tables(), tmp_path, events="all", settings=PRESETS[preset])
    vocabulary = result.tokenizer.vocabulary
    assert list(vocabulary.values()) == list(range(len(vocabulary)))
    assert tuple(vocabulary)[:5] == SPECIAL
    assert vocabulary["PAD"] == 0
    names = [token for token in vocabulary if "/" in token and not token.startswith("time/")]
    assert names == sorted(names)
    spacings = [token for token in vocabulary if token.startswith("time/")]
    assert spacings == ([f"time/{name}" for name in SPACINGS] if preset == "spacing" else [])
    used = set(result.frame["tokens"].explode())
    train = result.site.stays["split"] == "train"
    seen = set(result.frame.filter(train)["tokens"].explode())
    assert vocabulary["UNK"] not in seen, "what the training stays have is known"
    assert used <= set(vocabulary.values())


@pytest.mark.parametrize("lost", ["vocabulary", "events", "cut_points", "n_bins", "more_windows"])
def test_a_part_that_is_missing_is_named(lost: str) -> None:
    value: dict[str, Any] = Tokenizer(TokenSettings(), {}, build(set(), n_bins=10)).to_json()
    del value[lost]
    with pytest.raises(
        UserError, match=f"tokenizer.json lacks '{lost}'; run `python -m train tokenize` again"
    ):
        Tokenizer.from_json(value)


def test_value_tokens_and_the_place_of_the_age() -> None:
    paper = Tokenizer(TokenSettings(), {"a/b": [1.0, 2.0]}, {}, reference={"lab/pt": [1.0, 2.0]})
    assert paper.value_tokens("a/b") == ["Q0", "Q1", "Q2"]
    assert paper.value_tokens("lab/pt") == ["LOW", "NORMAL", "HIGH"]
    assert paper.value_tokens("a/c") == []
    assert paper.age_position == 4
    assert Tokenizer(TokenSettings(scheme="fused"), {}, {}).age_position is None


def test_reference_ranges_are_those_of_the_schemas() -> None:
    ranges = reference_ranges()
    assert ranges["lab/neutrophils_percent"] == [50, 70]
    assert all(code.startswith("lab/") and low < high for code, (low, high) in ranges.items())
