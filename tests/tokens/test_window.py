from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from ehrfm_core.tokens.vocabulary import build
from ehrfm_core.tokens.window import cut_window

VOCABULARY = build({"lab/a", "lab/b", "discharge/expired"}, n_bins=10)
events = st.lists(
    st.tuples(st.integers(0, 4000).map(lambda m: m / 2), st.sampled_from(["lab/a", "lab/b", "Q3"])),
    max_size=40,
)


def frame(timelines: list[list[tuple[float, str]]]) -> pl.DataFrame:
    rows = [[(0.0, "TL_START"), *sorted(t, key=lambda e: e[0])] for t in timelines]
    return pl.DataFrame(
        {
            "hospitalization_id": [str(i) for i in range(len(rows))],
            "tokens": [[VOCABULARY[name] for _, name in row] for row in rows],
            "minutes": [[minute for minute, _ in row] for row in rows],
        },
        schema_overrides={"tokens": pl.List(pl.Int32), "minutes": pl.List(pl.Float32)},
    )


@given(st.lists(events, min_size=1, max_size=6), st.integers(2, 12))
def test_the_window_is_the_beginning_of_the_stay(timelines: list, max_tokens: int) -> None:
    before = frame(timelines)
    after = cut_window(before, VOCABULARY, hours=24, max_tokens=max_tokens)
    for row, (tokens, minutes) in enumerate(after.select("tokens", "minutes").iter_rows()):
        inside = sum(minute <= 1440 for minute in before["minutes"][row])
        assert len(tokens) == len(minutes) == min(inside, max_tokens)
        assert all(minute <= 1440 for minute in minutes)
        if inside > max_tokens:
            assert tokens[-1] == VOCABULARY["TRUNC"]
            tokens = tokens[:-1]
        assert tokens == before["tokens"][row].to_list()[: len(tokens)]


def test_a_stay_of_exactly_24_hours_does_not_show_its_ending() -> None:
    timeline = frame([[(1440.0, "lab/a"), (1440.0, "discharge/expired"), (1440.0, "TL_END")]])
    window = cut_window(timeline, VOCABULARY, hours=24, max_tokens=10)
    assert window["tokens"].to_list() == [[VOCABULARY["TL_START"], VOCABULARY["lab/a"]]]
