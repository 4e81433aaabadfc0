from __future__ import annotations

import pytest

from ehrfm_core.clif.event_map import load_map
from ehrfm_core.errors import UserError
from ehrfm_core.tokens.explain import explain, stay_table
from ehrfm_core.tokens.settings import TokenSettings
from ehrfm_core.tokens.tokenizer import Tokenizer
from ehrfm_core.tokens.vocabulary import build

CUTS = {
    "age": [40.0, 60.0],
    "lab/potassium": [3.5, 4.0, 5.0],
    "medication/norepinephrine": [0.1, 0.2],
    "assessment/rass": [-1.0, 0.0],
    "lab/esr": [],
}
CODES = {*CUTS, "assessment/cam_total", "answer/positive", "respiratory/hfnc", "location/icu"} - {"age"}
PAPER = Tokenizer(TokenSettings(), CUTS, build(CODES, n_bins=4), load_map("paper"))
ALL = Tokenizer(
    TokenSettings(bins="reference"),
    CUTS,
    build(CODES | {"lab/pt", "lab_order/potassium"}, n_bins=4, more=("LOW", "NORMAL", "HIGH")),
    load_map("all"),
    {"lab/pt": [10.0, 13.0]},
    {"medication/norepinephrine": "mcg/kg/min"},
)


def tokens(tokenizer: Tokenizer, text: str) -> list[list[str]]:
    return [[token for token, _ in found.tokens] for found in explain(tokenizer, text)]


def reasons(tokenizer: Tokenizer, text: str) -> str:
    return " ".join(reason for found in explain(tokenizer, text) for reason in found.reasons)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("labs potassium 5.5", ["lab/potassium", "Q3"]),
        ("clif_labs Potassium 4.0", ["lab/potassium", "Q2"]),
        ("labs potassium", ["lab/potassium"]),
        ("labs potassium hemolyzed", ["lab/potassium"]),
        ("labs esr 2", ["lab/esr", "Q0"]),
        ("patient_assessments RASS -2", ["assessment/rass", "Q0"]),
        ("patient_assessments cam_total Positive", ["assessment/cam_total", "answer/positive"]),
        ("respiratory_support High Flow NC", ["respiratory/hfnc"]),
        ("age 50", ["Q1"]),
        ("adt nowhere", ["UNK"]),
    ],
)
def test_the_tokens_of_an_event(text: str, expected: list[str]) -> None:
    assert tokens(PAPER, text) == [expected]


def test_why_they_are_what_they_are() -> None:
    assert "at or above 3 of 3 cut points: 3.5 | 4 | 5 | [5.5]" in reasons(PAPER, "labs potassium 5.5")
    assert "Near it: potassium" in reasons(PAPER, "labs potasium 5")
    assert "no finite number" in reasons(PAPER, "labs potassium hemolyzed")
    assert "one value of it only" in reasons(PAPER, "labs esr 2")
    assert "10 to 13, both ends within" in reasons(ALL, "labs pt 13")
    assert tokens(ALL, "labs pt 13") == [["lab/pt", "NORMAL"]]
    assert tokens(ALL, "labs potassium 3") == [["lab_order/potassium"], ["lab/potassium", "Q0"]]


def test_doses_are_converted_as_in_tables() -> None:
    event = "medication_admin_continuous norepinephrine"
    assert tokens(ALL, f"{event} 9 mcg/kg/hour") == [["medication/norepinephrine", "Q1"]]
    assert "0.15 mcg/kg/min" in reasons(ALL, f"{event} 9 mcg/kg/hour")
    assert tokens(ALL, f"{event} 5 mg/hour") == [["medication/norepinephrine"]]
    assert "last weight" in reasons(ALL, f"{event} 5 mg/hour")
    assert "cannot be converted" in reasons(ALL, f"{event} 5 spoons")


@pytest.mark.parametrize("text", ["labs", "", "nowhere potassium 5", "age old"])
def test_what_cannot_be_explained(text: str) -> None:
    with pytest.raises(UserError, match="--explain"):
        explain(PAPER, text)


def test_a_stay_as_a_table() -> None:
    prefix = ["TL_START", "location/icu", "location/icu", "location/icu", "Q1", "location/icu"]
    events = ["lab/potassium", "Q3", "assessment/cam_total", "answer/positive", "UNK", "TL_END"]
    ids = [PAPER.vocabulary[name] for name in (*prefix, *events)]
    table = stay_table(PAPER, ids, [0] * 6 + [30, 30, 60, 60, 90, 600])
    assert table["hour"].to_list() == [0] * 6 + [0.5, 1, 1.5, 10]
    shown = dict(zip(table["event"], table["value"], strict=True))
    assert shown["age"] == "40 to < 60"
    assert shown["lab/potassium"] == "≥ 5"
    assert shown["assessment/cam_total"] == "positive"
    assert table["event"].to_list()[-2:] == ["UNK", "TL_END"]
    assert " ".join(table["tokens"]).split() == [*prefix, *events]


def test_a_fine_code_in_full_is_itself_alone() -> None:
    codes = ("lab/potassium:blood:bmp", "lab/potassium:urine:unknown")
    cuts = {"age": [50.0], **{code: [4.0] for code in codes}}
    tokenizer = Tokenizer(TokenSettings(labs="fine", n_bins=2), cuts, build(set(codes), n_bins=2))
    (found,) = explain(tokenizer, "lab potassium:urine:unknown 5")
    assert [token for token, _ in found.tokens] == [codes[1], "Q1"]
    assert len(explain(tokenizer, "lab potassium 5")) == 2
