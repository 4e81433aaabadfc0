"""The study that ships with the project is whole, opens, and says under which licence it comes."""

from __future__ import annotations

from pathlib import Path

from transformers import AutoModelForCausalLM

from ehrfm_core.study import open_study
from ehrfm_core.study.verify import verify

SAMPLES = Path(__file__).parents[1] / "data_samples"
STUDY = SAMPLES / "studies" / "mimic-iv-demo"


def test_it_is_as_it_was_made() -> None:
    assert verify(open_study(STUDY)) == []


def test_its_model_beats_token_frequencies_clearly() -> None:
    summary = open_study(STUDY).manifest.stages["pretrain"].summary
    assert summary["tuning_loss"] < 0.6 * summary["bigram_nats"] < 0.6 * summary["unigram_nats"]


def test_its_weights_open_as_any_other() -> None:
    model = AutoModelForCausalLM.from_pretrained(STUDY / "model", local_files_only=True)
    assert 0.9e6 < sum(p.numel() for p in model.parameters()) < 1.5e6


def test_it_is_small_and_carries_its_licence() -> None:
    size = sum(path.stat().st_size for path in STUDY.rglob("*") if path.is_file())
    assert size < 15e6
    readme = (SAMPLES / "README.md").read_text(encoding="utf-8")
    assert "Open Database License" in readme
    assert "10.13026/dp1f-ex47" in readme
    assert "ODC Open Database License" in (SAMPLES / "LICENSE-ODbL.txt").read_text(encoding="utf-8")
