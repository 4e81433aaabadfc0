"""A checkpoint that came from somebody else: nothing it names is run, fetched or built without end."""

from __future__ import annotations

import json
import resource
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given

from ehrfm_core.errors import UserError
from ehrfm_core.model.checkpoint import load, save
from tests.hostile.nasty import VALUES, examples, sentence, spoilt
from tests.model.made import llama

ATTACKS: dict[str, dict[str, Any]] = {
    "code beside it": {"auto_map": {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}},
    "another architecture": {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]},
    "no architecture": {"model_type": None},
    "layers without end": {"num_hidden_layers": 10**9},
    "a vocabulary without end": {"vocab_size": 10**7},
    "width without end": {"hidden_size": 2**24},
    "heads without end": {"head_dim": 2**24, "num_attention_heads": 2**24},
    "nothing": {"num_attention_heads": 0},
    "text": {"vocab_size": "64"},
    "truth": {"num_hidden_layers": True},
    "an activation from elsewhere": {"hidden_act": "os.system"},
    "a rope of code": {"rope_parameters": {"rope_type": "evil", "rope_theta": 1e4}},
}
IGNORED: dict[str, dict[str, Any]] = {
    "a kernel from elsewhere": {"_attn_implementation": "evil/kernel", "attn_implementation": "evil/kernel"},
    "quantised by code": {"quantization_config": {"quant_method": "evil", "load_in_4bit": True}},
    "a place": {"_name_or_path": "/etc/passwd", "_commit_hash": "evil"},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(llama(), tmp_path / "model")
    (tmp_path / "model/evil.py").write_text("from pathlib import Path\nPath('pwned').touch()\n")
    return tmp_path / "model"


def change(folder: Path, **parts: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | parts))


@pytest.mark.parametrize("name", ATTACKS)
def test_a_config_that_is_no_plain_llama_of_these_weights_is_refused(
    folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    change(folder, **ATTACKS[name])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match="config.json"):
        load(folder)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000, "kB"
    assert not (folder / "pwned").exists()


@pytest.mark.parametrize("name", IGNORED)
def test_what_is_no_size_is_not_followed(folder: Path, name: str) -> None:
    plain = load(folder).state_dict()
    change(folder, **IGNORED[name])
    model = load(folder)
    assert all(torch.equal(value, plain[key]) for key, value in model.state_dict().items())
    assert model.config._attn_implementation == "sdpa"


def test_an_adapter_that_names_another_model_is_refused(folder: Path) -> None:
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "/elsewhere"}))
    with pytest.raises(UserError, match="from elsewhere"):
        load(folder)


def test_pickled_weights_are_never_opened(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"model.embed_tokens.weight": torch.zeros(1)}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()

    def opened(*_: Any, **__: Any) -> None:
        raise AssertionError("a pickle was opened")

    monkeypatch.setattr(torch, "load", opened)
    with pytest.raises(UserError, match="holds no checkpoint"):
        load(folder)


def test_a_config_spoilt_anywhere_opens_or_is_one_sentence(folder: Path, tmp_path: Path) -> None:
    whole = json.loads((folder / "config.json").read_text())
    again = Path(shutil.copytree(folder, tmp_path / "again"))

    @examples(15)
    @given(spoilt(whole) | VALUES)
    def check(value: Any) -> None:
        (again / "config.json").write_text(json.dumps(value))
        try:
            load(again)
        except UserError as error:
            sentence(error, most=500)

    check()
