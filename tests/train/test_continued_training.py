"""`--from`: training goes on from the first study's checkpoint."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.make_clif import make_tables, write_tables
from tests.make_continued import second_hospital
from tests.train.mini import mini_sizes
from train.__main__ import main

__all__ = ["mini_sizes"]
STEPS = ("--steps", 60, "--batch-tokens", 512, "--precision", "fp32")
pytestmark = pytest.mark.usefixtures("mini_sizes")


def pretrain(study: Path, *options: object) -> int:
    return main(["pretrain", str(study), *map(str, options)])


def tokenize(study: Path, clif: Path, *options: object) -> int:
    return main(["tokenize", str(study), "--site", f"ucmc={clif}", "--max-tokens", "64", *map(str, options)])


def stage(study: Path) -> dict[str, Any]:
    return json.loads((study / "study.json").read_text())["stages"]["pretrain"]


@pytest.fixture
def first(tmp_path: Path) -> Path:
    clif = write_tables(make_tables(), tmp_path / "first-clif")
    study = tmp_path / "first"
    assert main(["tokenize", str(study), "--site", f"mimic={clif}", "--max-tokens", "64"]) == 0
    assert pretrain(study, *STEPS, "--steps", 300) == 0
    return study


@pytest.fixture
def clif(tmp_path: Path) -> Path:
    return write_tables(second_hospital(), tmp_path / "second-clif")


@pytest.mark.parametrize("new_codes", ["unk", "append"])
def test_it_goes_on_where_the_first_study_ended(
    new_codes: str, first: Path, clif: Path, tmp_path: Path
) -> None:
    study, fresh = tmp_path / "second", tmp_path / "fresh"
    assert tokenize(study, clif, "--from", first, "--new-codes", new_codes) == 0
    assert pretrain(study, "--from", first, *STEPS, "--steps", 20) == 0
    assert tokenize(fresh, clif) == 0
    assert pretrain(fresh, *STEPS, "--steps", 20) == 0
    continued, random = (stage(folder)["summary"]["curve"][0]["train_loss"] for folder in (study, fresh))
    assert continued < random - 0.3, "the first steps already know what the first hospital taught"
    model = AutoModelForCausalLM.from_pretrained(study / "model", local_files_only=True)
    assert model.config.vocab_size == len(json.loads((study / "tokenizer.json").read_text())["vocabulary"])
    assert stage(study)["settings"]["from"]["name"] == "first"
    assert "further from the checkpoint of first" in (study / "model" / "README.md").read_text()


def test_a_finished_study_needs_the_first_one_no_more(
    first: Path, clif: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = tmp_path / "second"
    assert tokenize(study, clif, "--from", first) == 0
    assert pretrain(study, "--from", first, *STEPS) == 0
    shutil.rmtree(first)
    assert pretrain(study) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert (
        pretrain(study, "--steps", 5) == 1
    )  # it would have to be trained again, and not from a random start
    assert "--from" in capsys.readouterr().err


def test_the_size_is_the_checkpoints(first: Path, clif: Path, tmp_path: Path) -> None:
    assert pretrain(first, "--size", "small", *STEPS) == 0
    study = tmp_path / "second"
    assert tokenize(study, clif, "--from", first) == 0
    assert pretrain(study, "--from", first, *STEPS) == 0
    assert stage(study)["settings"]["size"] == "small"
    assert pretrain(study, "--from", first, "--size", "tiny", *STEPS) == 1


def test_another_study_than_the_tokens_came_from_is_refused(
    first: Path, clif: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study, other = tmp_path / "second", tmp_path / "other"
    assert tokenize(study, clif, "--from", first) == 0
    shutil.copytree(first, other)
    assert pretrain(other, *STEPS, "--seed", 5) == 0
    assert pretrain(study, "--from", other, *STEPS) == 1
    assert "its model is not the one of study first" in capsys.readouterr().err


def test_before_the_first_step_old_tokens_mean_what_they_meant(
    first: Path, clif: Path, tmp_path: Path
) -> None:
    study = tmp_path / "second"
    assert tokenize(study, clif, "--from", first, "--new-codes", "append") == 0
    assert pretrain(study, "--from", first, *STEPS, "--steps", 1, "--learning-rate", 1e-12) == 0
    old, new = (
        AutoModelForCausalLM.from_pretrained(
            folder / "model", local_files_only=True
        ).model.embed_tokens.weight
        for folder in (first, study)
    )
    assert torch.allclose(new[: len(old)], old, atol=1e-6)
    assert torch.allclose(new[len(old) :], old.mean(dim=0).expand(len(new) - len(old), -1), atol=1e-6)
