from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ehrfm_core.errors import UserError
from ehrfm_core.study import open_study
from ehrfm_core.study.windows import read_windows
from ehrfm_core.tokens.edit import EVENTS, event_tokens, events_of, split_prefix, tokens_of, value_token
from ehrfm_core.tokens.settings import TokenSettings
from ehrfm_core.tokens.tokenizer import Tokenizer
from ehrfm_core.tokens.vocabulary import SPACINGS, build

DEMO = Path(__file__).parents[2] / "data_samples" / "studies" / "mimic-iv-demo"
CODES = {"lab/potassium", "location/icu", "assessment/cam_total", "answer/positive", "sex/male"}
CUTS = {"lab/potassium": [3.0, 4.0, 5.0], "age": [40.0]}


def tokenizer(scheme: str = "paper", *, spacing: bool = False) -> Tokenizer:
    more = [f"time/{gap}" for gap in SPACINGS] if spacing else []
    fused = [f"lab/potassium=Q{i}" for i in range(4)] if scheme == "fused" else []
    vocabulary = build(CODES | {*more, *fused}, n_bins=4)
    return Tokenizer(TokenSettings(scheme=scheme, spacing=spacing), CUTS, vocabulary)


def test_every_window_of_a_real_study_comes_back_token_for_token() -> None:
    study = open_study(DEMO)
    made = Tokenizer.from_json(study.tokenizer())
    window = read_windows(study, study.source, made)
    limit = made.settings.max_tokens
    for i in range(len(window.tokens)):
        tokens, minutes = window.tokens[i], window.minutes[i]
        events = events_of(tokens, minutes, made)
        again = tokens_of(split_prefix(tokens, made)[0], events, made, hours=24, max_tokens=limit)
        assert np.array_equal(again[0], tokens), i
        assert np.array_equal(again[1], minutes), i


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 1440),
            st.sampled_from(
                [("lab/potassium", "Q2"), ("location/icu", None), ("assessment/cam_total", "answer/positive")]
            ),
        ),
        max_size=12,
    ),
    st.booleans(),
)
def test_events_come_back_from_tokens(given: list[tuple[int, tuple[str, str | None]]], spacing: bool) -> None:
    made = tokenizer(spacing=spacing)
    rows = sorted(((float(minute), *event) for minute, event in given), key=lambda row: row[0])
    events = pl.DataFrame(rows, schema=EVENTS, orient="row")
    prefix = np.zeros(1 + len(made.prefix), dtype=np.int64)
    tokens, minutes = tokens_of(prefix, events, made, hours=24, max_tokens=1000)
    assert events_of(tokens, minutes, made).equals(events)
    gaps = [name for i in tokens if (name := list(made.vocabulary)[i]).startswith("time/")]
    wide = np.diff([0.0, *(row[0] for row in rows)]) >= 5
    assert len(gaps) == (wide.sum() if spacing else 0)


def test_an_event_beyond_the_window_or_the_length_is_left_out() -> None:
    made = tokenizer()
    prefix = np.arange(3)
    events = pl.DataFrame(
        [(10.0, "location/icu", None), (60.0, "lab/potassium", "Q1"), (1441.0, "location/icu", None)],
        schema=EVENTS,
        orient="row",
    )
    tokens, _ = tokens_of(prefix, events, made, hours=24, max_tokens=100)
    assert len(tokens) == 3 + 1 + 2
    cut, times = tokens_of(prefix, events, made, hours=24, max_tokens=5)
    assert list(made.vocabulary)[cut[-1]] == "TRUNC"
    assert times[-1] == 10


def test_numbers_fall_into_the_bins_of_the_cut_points() -> None:
    made = tokenizer()
    assert [value_token("lab/potassium", x, made) for x in (2.9, 3.0, 4.5, 9.0)] == ["Q0", "Q1", "Q2", "Q3"]
    for code, number in (("location/icu", 1.0), ("lab/potassium", float("nan"))):
        with pytest.raises(UserError, match="takes no number"):
            value_token(code, number, made)


def test_a_fused_event_is_one_token() -> None:
    made = tokenizer("fused")
    assert event_tokens("lab/potassium", "Q3", made) == [made.vocabulary["lab/potassium=Q3"]]
    with pytest.raises(UserError, match="has no value Q9"):
        event_tokens("lab/potassium", "Q9", made)


def test_what_cannot_be_an_event_is_refused() -> None:
    made = tokenizer()
    with pytest.raises(UserError, match="lab/unheard_of is no event"):
        event_tokens("lab/unheard_of", None, made)
    with pytest.raises(UserError, match="has no value Q7; it has Q0, Q1, Q2, Q3"):
        event_tokens("lab/potassium", "Q7", made)
    for minute in (-1.0, float("nan"), None):
        events = pl.DataFrame([(minute, "location/icu", None)], schema=EVENTS, orient="row")
        with pytest.raises(UserError, match="no time or one before"):
            tokens_of(np.arange(3), events, made, hours=24, max_tokens=10)
