from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ehrfm_core.model.card import model_card
from ehrfm_core.model.checkpoint import save
from ehrfm_core.model.word_tokenizer import tokenizer_files
from tests.model.made import VOCABULARY, llama

FIGURES: dict[str, Any] = {
    "title": "demo",
    "source": "mimic",
    "synthetic": False,
    "date": "2030-01-02",
    "parameters": 1_072_640,
    "starts_from": None,
    "data": {"stays": 1_400, "tuning stays": None},
    "settings": {"size": "tiny", "learning_rate": 0.002, "tied": True},
    "losses": {"this model": 1.23456, "guessing": None},
    "notes": ["It was stopped early."],
}


def card(**changes: Any) -> str:
    return model_card(**(FIGURES | changes))


def test_it_says_what_the_weights_are_and_how_well_they_predict() -> None:
    text = card()
    for said in (
        "# demo",
        "1,072,640 parameters",
        "from a random start",
        "timelines of mimic on 2030-01-02",
        "| stays | 1,400 |",
        "| tuning stays | – |",
        "| learning_rate | 0.002 |",
        "| tied | True |",
        "| this model | 1.2346 |",
        "| guessing | – |",
        "- It was stopped early.",
        "no medical device",
        "Treat them as you treat the data.",
    ):
        assert said in text
    assert "SYNTHETIC" not in text
    assert "{" not in text


def test_it_says_where_the_weights_come_from() -> None:
    assert "SYNTHETIC data: no real patient is in it" in card(synthetic=True)
    assert "further from the checkpoint of first" in card(starts_from="first")
    assert "random start" not in card(starts_from="first")


def test_the_hub_can_read_its_head() -> None:
    head = yaml.safe_load(card().split("---")[1])
    assert head["library_name"] == "transformers"
    assert "llama" in head["tags"]


def test_its_example_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = card()
    save(llama(), tmp_path / "model", tokenizer_files(VOCABULARY, max_tokens=64) | {"README.md": text})
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0], names)
    tokens = names["tokenizer"]("TL_START lab/3 Q7", return_tensors="pt")["input_ids"]
    assert tokens.tolist() == [[VOCABULARY[name] for name in ("TL_START", "lab/3", "Q7")]]
    assert names["model"](tokens).logits.shape == (1, 3, len(VOCABULARY))
