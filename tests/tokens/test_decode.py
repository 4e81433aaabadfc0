from __future__ import annotations

from ehrfm_core.tokens.decode import decode
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
