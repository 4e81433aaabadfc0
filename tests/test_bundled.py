"""The studies that ship with the project are whole, open, and say what they are and under which licence."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl
import pytest
from transformers import AutoModelForCausalLM

from ehrfm_core.clif.event_map import load_map
from ehrfm_core.clif.validation.check import check_directory
from ehrfm_core.study import open_study
from ehrfm_core.study.reader import list_studies
from ehrfm_core.synthesis.mark import is_synthetic
from train.verify import findings

SAMPLES = Path(__file__).parents[1] / "data_samples"
REAL, SYNTHETIC = "mimic-iv-demo", "demo-two-hospitals"
STUDIES = {name: SAMPLES / "studies" / name for name in (REAL, SYNTHETIC)}
MOST_BYTES = {REAL: 15e6, SYNTHETIC: 25e6}


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", STUDIES)
def test_it_is_as_it_was_made(name: str) -> None:
    study = open_study(STUDIES[name])
    assert findings(study) == []
    assert study.manifest.synthetic == (name == SYNTHETIC)
    assert size(study.folder) < MOST_BYTES[name]


@pytest.mark.parametrize("name", STUDIES)
def test_its_model_beats_simpler_guesses_clearly(name: str) -> None:
    summary = open_study(STUDIES[name]).manifest.stages["pretrain"].summary
    assert summary["tuning_loss"] < 0.8 * summary["bigram_nats"] < 0.8 * summary["unigram_nats"]


@pytest.mark.parametrize("name", STUDIES)
def test_its_weights_open_as_any_other(name: str) -> None:
    model = AutoModelForCausalLM.from_pretrained(STUDIES[name] / "model", local_files_only=True)
    assert 0.9e6 < sum(p.numel() for p in model.parameters()) < 1.5e6


def test_the_two_hospitals_come_first_and_tell_of_transfer() -> None:
    studies = list_studies(SAMPLES / "studies")
    assert list(studies) == [SYNTHETIC, REAL]
    study = open_study(STUDIES[SYNTHETIC])
    assert study.sites == ["mimic", "ucmc"]
    arms = study.result("metrics").filter(pl.col("model") == "probe")["arm"].unique()
    assert {"in_distribution", "zero_shot"} <= set(arms)


@pytest.mark.parametrize("site", ["mimic", "ucmc"])
def test_the_excerpt_is_two_hundred_stays_of_valid_clif(site: str) -> None:
    folder = SAMPLES / "clif" / site
    assert is_synthetic(folder)
    stays = pl.read_parquet(folder / "clif_hospitalization.parquet")["hospitalization_id"]
    assert len(stays) == stays.n_unique() == 200
    own = pl.read_parquet(STUDIES[SYNTHETIC] / "sites" / site / "stays.parquet")["hospitalization_id"]
    assert set(stays) <= set(own), "an excerpt of the very hospitals of the study"
    findings = check_directory(folder, load_map("all")).findings
    assert {finding.level for finding in findings} <= {"info"}
    assert size(folder) < 3e6


def test_licences_are_told() -> None:
    readme = (SAMPLES / "README.md").read_text(encoding="utf-8")
    assert "Open Database License" in readme
    assert "10.13026/dp1f-ex47" in readme
    assert "ODC Open Database License" in (SAMPLES / "LICENSE-ODbL.txt").read_text(encoding="utf-8")


def test_no_file_of_a_sample_names_a_folder_of_the_machine_that_made_it() -> None:
    home = str(SAMPLES.parents[1]) + os.sep
    texts = [path for path in SAMPLES.rglob("*") if path.suffix in {".json", ".jsonl", ".md"}]
    assert texts
    assert [path for path in texts if home in path.read_text(encoding="utf-8")] == []
