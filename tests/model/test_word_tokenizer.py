from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from ehrfm_core.model.word_tokenizer import tokenizer_files
from ehrfm_core.tokens.vocabulary import build

ODD = {
    "lab/potassium=Q7",
    "lab/a.b",
    "lab/a,b;c:d",
    "lab/(1->3)-β-d-glucan",
    "lab/größe",
    "lab/日本語",
    "lab/🫀",
    "lab/ⅷ",
    "lab/e\u0301",  # two characters that look like one
    "lab/\u00e9",
    "lab/Q1",
    "lab/LAB",
    "time/1w+",
    "time/5m-15m",
    "answer/unk",
    "respiratory/UNK",
    "UNK/x",
    "PAD-2",
    "device/PAD",
    "a/TL_END/b",
    "TL_STARTED",
    "lab/'\"\\",
    "lab/<unk>",
    "lab/[MASK]",
    "##lab",
    "▁lab",
    "Ġlab",
}


def opened(vocabulary: dict[str, int], folder: Path) -> PreTrainedTokenizerBase:
    for name, text in tokenizer_files(vocabulary, max_tokens=1024).items():
        (folder / name).write_text(text, encoding="utf-8")
    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, int], PreTrainedTokenizerBase]:
    vocabulary = build(ODD, n_bins=10, more=("LOW", "NORMAL", "HIGH"))
    return vocabulary, opened(vocabulary, tmp_path_factory.mktemp("tokenizer"))


def test_every_name_has_its_id_and_every_id_its_name(
    odd: tuple[dict[str, int], PreTrainedTokenizerBase],
) -> None:
    vocabulary, tokenizer = odd
    assert len(tokenizer) == len(vocabulary)
    assert dict(tokenizer.get_vocab()) == vocabulary
    for name, i in vocabulary.items():
        assert tokenizer(name)["input_ids"] == [i], name
        assert tokenizer.convert_ids_to_tokens(i) == name
        assert tokenizer.decode([i]) == name


@given(st.data())
@settings(max_examples=50, deadline=None)
def test_a_timeline_comes_back(
    odd: tuple[dict[str, int], PreTrainedTokenizerBase], data: st.DataObject
) -> None:
    vocabulary, tokenizer = odd
    names = data.draw(st.lists(st.sampled_from(sorted(vocabulary)), min_size=1, max_size=12))
    found = tokenizer(" ".join(names))
    assert found["input_ids"] == [vocabulary[name] for name in names]
    assert tokenizer.decode(found["input_ids"]) == " ".join(names)


def test_special_tokens_are_known_as_such(odd: tuple[dict[str, int], PreTrainedTokenizerBase]) -> None:
    vocabulary, tokenizer = odd
    assert tokenizer.pad_token_id == vocabulary["PAD"]
    assert tokenizer.unk_token_id == vocabulary["UNK"]
    assert tokenizer.bos_token_id == vocabulary["TL_START"]
    assert tokenizer.eos_token_id == vocabulary["TL_END"]
    assert tokenizer.model_max_length == 1024
    assert tokenizer("lab/never_seen")["input_ids"] == [vocabulary["UNK"]]
    padded = tokenizer(["lab/Q1", "lab/Q1 lab/Q1"], padding=True)
    assert padded["input_ids"][0][-1] == vocabulary["PAD"]
    assert padded["attention_mask"][0] == [1, 0]
