from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehrfm_core.clif.event_store import Item
from ehrfm_core.tokens.kinds import Kinds
from ehrfm_core.tokens.settings import TokenSettings
from ehrfm_core.tokens.tokenizer import Tokenizer
from ehrfm_core.tokens.vocabulary import build

CODES = {"lab/a", "lab/b", "lab/flat", "assessment/x", "answer/yes", "medication/m"}
CUTS = {"lab/a": [1.0, 2.0, 2.0, 5.0], "lab/flat": [], "medication/m": [3.0]}
PAPER = Tokenizer(TokenSettings(), CUTS, build(CODES, n_bins=10), units={"medication/m": "mcg/min"})
FUSED_CODES = {"lab/a", "lab/b", "assessment/x", "assessment/x=yes", *(f"lab/a=Q{i}" for i in range(5))}
FUSED = Tokenizer(TokenSettings(scheme="fused"), CUTS, build(FUSED_CODES, n_bins=0))
ITEMS = [
    Item(1, "lab/b"),
    Item(0, "lab/a"),
    Item(2, "assessment/x", "yes"),
    Item(2, "assessment/x", "no"),
    Item(2, "assessment/x"),
    Item(1, "lab/new"),
    Item(1, "lab/flat"),
    Item(3, "medication/m", None, "mcg/min"),
    Item(3, "medication/m", None, "ml/min"),
    Item(3, "medication/m", None, "spoons"),
]


def tokens(tokenizer: Tokenizer, item: int, value: float) -> str:
    kinds = Kinds(tokenizer, ITEMS)
    names = {i: name for name, i in tokenizer.vocabulary.items()}
    own = kinds.tokens[kinds.of(np.array([item]), np.array([value]))][0]
    return " ".join(names[i] for i in own if i >= 0)


@pytest.mark.parametrize(
    ("item", "value", "paper", "fused"),
    [
        (0, np.nan, "lab/b", "lab/b"),
        (0, 5.0, "lab/b", "lab/b"),
        (1, np.nan, "lab/a", "lab/a"),
        (1, -np.inf, "lab/a Q0", "lab/a=Q0"),
        (1, 0.999, "lab/a Q0", "lab/a=Q0"),
        (1, 1.0, "lab/a Q1", "lab/a=Q1"),
        (1, 2.0, "lab/a Q3", "lab/a=Q3"),
        (1, 1e300, "lab/a Q4", "lab/a=Q4"),
        (2, np.nan, "assessment/x answer/yes", "assessment/x=yes"),
        (3, np.nan, "assessment/x", "assessment/x"),
        (4, np.nan, "assessment/x", "assessment/x"),
        (5, 7.0, "UNK", "UNK"),
        (6, 7.0, "lab/flat Q0", "UNK"),
        (7, 2.0, "medication/m Q0", "UNK"),
        (7, 3.0, "medication/m Q1", "UNK"),
        (8, 3.0, "medication/m", "UNK"),
        (9, np.nan, "medication/m", "UNK"),
    ],
)
def test_tokens_of_an_event(item: int, value: float, paper: str, fused: str) -> None:
    assert tokens(PAPER, item, value) == paper
    assert tokens(FUSED, item, value) == fused


@given(st.lists(st.floats(-10, 10), max_size=30))
def test_the_bin_is_numpy_s_digitize(values: list[float]) -> None:
    kinds = Kinds(PAPER, ITEMS)
    found = kinds.of(np.full(len(values), 1), np.array(values))
    assert kinds.bin[found].tolist() == np.digitize(values, CUTS["lab/a"]).tolist()
    assert {kinds.codes[i] for i in kinds.code[found]} <= {"lab/a"}
    assert kinds.known[found].all()


def test_kinds_are_in_the_order_of_simultaneous_events() -> None:
    """By rank of the source, then by token; an event without a value after those with one."""
    kinds = Kinds(PAPER, ITEMS)
    numbered = [kinds.of(np.array([i]), np.array([v]))[0] for i, v in ((1, 0.0), (1, 9.0), (1, np.nan))]
    numbered += [kinds.of(np.array([i]), np.array([np.nan]))[0] for i in (5, 0, 6, 4, 8)]
    assert numbered == sorted(numbered)
    assert (kinds.lengths == (kinds.tokens >= 0).sum(axis=1)).all()
    shuffled = Kinds(PAPER, ITEMS[::-1])
    assert np.array_equal(shuffled.tokens, kinds.tokens), "the order of items changes nothing"
    assert np.array_equal(shuffled.bin, kinds.bin)


def test_an_unknown_code_has_no_bin() -> None:
    kinds = Kinds(PAPER, ITEMS)
    unknown = ~kinds.known
    assert {kinds.codes[i] for i in kinds.code[unknown]} == {"lab/new"}
    assert (kinds.bin[unknown] == -1).all()
    assert (kinds.lengths[unknown] == 1).all()


def test_no_items() -> None:
    kinds = Kinds(PAPER, [])
    assert len(kinds) == 0
    assert kinds.of(np.empty(0, dtype=np.int64), np.empty(0)).tolist() == []
