from __future__ import annotations

import numpy as np
import polars as pl
from polars.testing import assert_frame_equal

from ehrfm_core.tokens.decode import AGE_POSITION, decode, subject_table, subjects
from ehrfm_core.tokens.vocabulary import build

VOCABULARY = build(
    {
        "race/white",
        "sex/female",
        "ethnicity/hispanic",
        "admission/ed",
        "lab/k",
        "assessment/sbt",
        "answer/pass",
    },
    n_bins=10,
)
PREFIX = ["TL_START", "race/white", "ethnicity/hispanic", "sex/female", "Q3", "admission/ed"]


def ids(names: list[str]) -> list[int]:
    return [VOCABULARY[name] for name in names]


def test_values_and_answers_belong_to_their_event_and_age_stands_alone() -> None:
    tokens = [*PREFIX, "lab/k", "Q9", "lab/k", "assessment/sbt", "answer/pass", "UNK"]
    table = decode(ids(tokens), [0.0] * len(tokens), VOCABULARY)
    assert table["token"].to_list() == tokens
    assert table["family"].to_list() == [
        *("special", "race", "ethnicity", "sex", "age", "admission"),
        *("lab", "lab", "lab", "assessment", "assessment", "special"),
    ]
    assert table["event"].to_list() == [0, 1, 2, 3, 4, 5, 6, 6, 7, 8, 8, 9]
    assert table["bin"].to_list() == [None, None, None, None, 3, None, None, 9, None, None, None, None]


def test_subjects_of_timelines_laid_end_to_end_are_those_of_each_alone() -> None:
    timelines = [
        [*PREFIX, "lab/k", "Q9", "lab/k", "assessment/sbt", "answer/pass", "UNK"],
        [*PREFIX, "Q1"],
        ["Q2", "lab/k", "Q2"],  # no start: a value may not be given to the timeline before
        ["TL_START"],
    ]
    names = subject_table(VOCABULARY)
    for age_position in (AGE_POSITION, None):
        flat = np.array([i for timeline in timelines for i in ids(timeline)])
        positions = np.concatenate([np.arange(len(timeline)) for timeline in timelines])
        got = subjects(flat, positions, VOCABULARY, age_position=age_position)
        alone = [
            decode(ids(timeline), [0.0] * len(timeline), VOCABULARY, age_position=age_position)
            for timeline in timelines
        ]
        frame = pl.DataFrame({"subject": got}).join(names, on="subject", how="left", maintain_order="left")
        assert_frame_equal(frame.drop("subject"), pl.concat(alone).select("family", "name"))
    assert alone[2]["family"].to_list() == ["special", "lab", "lab"]
