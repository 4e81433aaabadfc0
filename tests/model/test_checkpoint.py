from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from ehrfm_core.errors import UserError
from ehrfm_core.model.checkpoint import load, save
from ehrfm_core.model.word_tokenizer import tokenizer_files
from tests.model.conftest import fill
from tests.model.made import VOCABULARY, llama

BATCH = torch.arange(5, 25)[None]


@pytest.mark.parametrize(("kv_heads", "tied"), [(4, True), (2, True), (2, False)])
def test_it_is_a_plain_hugging_face_folder(kv_heads: int, tied: bool, tmp_path: Path) -> None:
    model = llama(kv_heads=kv_heads, tied=tied)
    save(model, tmp_path / "model", tokenizer_files(VOCABULARY, max_tokens=64))
    opened = AutoModelForCausalLM.from_pretrained(tmp_path / "model", local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model", local_files_only=True)
    assert {name: tokenizer.convert_tokens_to_ids(name) for name in VOCABULARY} == VOCABULARY
    for again in (opened, load(tmp_path / "model")):
        weights, wanted = again.state_dict(), model.state_dict()
        assert weights.keys() == wanted.keys()
        assert all(torch.equal(weights[name], wanted[name]) for name in wanted)
        assert {p.dtype for p in again.parameters()} == {torch.float32}
        assert config_of(again) == config_of(model)
        assert torch.equal(again(BATCH).logits, model(BATCH).logits)
        assert not again.training
    assert ("lm_head.weight" in load_file(tmp_path / "model" / "model.safetensors")) is not tied


def config_of(model: Any) -> dict[str, Any]:
    """The configuration but for where it was read and what read it."""
    aside = ("_name_or_path", "transformers_version", "dtype", "architectures")
    return {name: value for name, value in model.config.to_dict().items() if name not in aside}


def test_it_takes_the_place_of_the_one_before_and_can_be_read_by_others(tmp_path: Path) -> None:
    save(llama(seed=1), tmp_path / "model", {"README.md": "one", "old.json": "{}"})
    (tmp_path / ".model.partial").mkdir()
    (tmp_path / ".model.partial" / "left").write_text("by a kill")
    save(llama(seed=2), tmp_path / "model", {"README.md": "größer"})
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert {"config.json", "model.safetensors", "README.md"} <= names
    assert names.isdisjoint({"old.json", "left"})
    assert (tmp_path / "model" / "README.md").read_text("utf-8") == "größer"
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "model").iterdir()} == {0o644}
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert torch.equal(load(tmp_path / "model").lm_head.weight, llama(seed=2).lm_head.weight)


def test_one_that_is_missing_or_cut_short_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no checkpoint"):
        load(tmp_path)
    save(llama(), tmp_path / "model")
    weights = tmp_path / "model" / "model.safetensors"
    os.truncate(weights, 1000)
    with pytest.raises(UserError, match="not readable"):
        load(tmp_path / "model")
    weights.unlink()
    with pytest.raises(UserError, match="holds no checkpoint"):
        load(tmp_path / "model")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_full_disk_keeps_the_one_before(small_disk: Path) -> None:
    save(llama(seed=1), small_disk / "model", {"README.md": "one"})
    before = contents(small_disk / "model")
    fill(small_disk)
    with pytest.raises(UserError, match="The disk is full: .*model needs 1 MB"):
        save(llama(seed=2), small_disk / "model")
    assert contents(small_disk / "model") == before
    assert not (small_disk / ".model.partial").exists()
    (small_disk / "filling").unlink()
    with pytest.raises(UserError, match="The disk is full"):  # beside the weights
        save(llama(seed=2), small_disk / "model", {"README.md": "x" * 1_000_000})
    assert contents(small_disk / "model") == before


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_a_failed_write_is_told_in_one_sentence(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = llama()
    save(model, tmp_path / "model")
    before = contents(tmp_path / "model")

    def fail(folder: Path) -> None:
        folder.mkdir()
        (folder / "config.json").write_text("{")
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(model, "save_pretrained", fail)
    reason = "The disk is full" if number == errno.ENOSPC else "Permission denied"
    with pytest.raises(UserError, match=reason):
        save(model, tmp_path / "model")
    assert contents(tmp_path / "model") == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
