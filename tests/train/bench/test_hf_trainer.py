from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from ehrfm_core.model.attention import IMPLEMENTATION
from ehrfm_core.model.packing import NOT_SCORED, Pack, Pieces, make_pack
from ehrfm_core.model.scorer import Scorer, to_tensors
from ehrfm_core.model.sizes import SIZES, llama_config
from ehrfm_core.ragged import Ragged
from ehrfm_core.tokens.vocabulary import build
from train.bench.hf_trainer import collate
from train.bench.packs import read_packs, write_packs

VOCABULARY = build({"lab/sodium"}, n_bins=10)


@pytest.fixture
def packs() -> list[Pack]:
    lengths = np.array([5, 3, 7, 2])
    tokens = np.random.default_rng(0).integers(1, len(VOCABULARY), lengths.sum())
    pieces = Pieces.of(Ragged.from_lengths(tokens, lengths), max_tokens=8)
    return [make_pack(pieces, np.array(chosen), pad=0) for chosen in ([0, 1], [2], [3])]


def test_packs_come_back_as_they_were(packs: list[Pack], tmp_path: Path) -> None:
    config = llama_config(SIZES["tiny"], vocabulary=VOCABULARY, max_tokens=8).to_dict()
    write_packs(tmp_path / "packs.safetensors", packs, config)
    examples, read = read_packs(tmp_path / "packs.safetensors")
    assert LlamaConfig(**read).to_dict() == LlamaConfig(**config).to_dict()
    for pack, example in zip(packs, examples, strict=True):
        assert example["input_ids"].tolist() == pack.tokens.tolist()
        assert example["position_ids"].tolist() == pack.positions.tolist()
        assert example["stays"].tolist() == pack.bounds.tolist()
        firsts = example["labels"][pack.bounds[:-1]]
        assert (firsts == NOT_SCORED).all(), "the first of a stay is not predicted from the stay before"
        assert (example["labels"] == pack.tokens).sum() == pack.n_scored


def test_the_loss_of_transformers_on_a_pack_is_ours(packs: list[Pack], tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = llama_config(SIZES["tiny"], vocabulary=VOCABULARY, max_tokens=8)
    model = LlamaForCausalLM(config)
    write_packs(tmp_path / "packs.safetensors", packs, config.to_dict())
    examples, _ = read_packs(tmp_path / "packs.safetensors")
    for pack, example in zip(packs, examples, strict=True):
        model.set_attn_implementation(IMPLEMENTATION)
        theirs = model(**collate([example])).loss * pack.n_scored
        ours = Scorer(model)(*to_tensors(pack, "cpu", fixed=False))
        torch.testing.assert_close(theirs, ours)
