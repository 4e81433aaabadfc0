"""Fine-tuning as part of stage 4, by the command line, on two small sites."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from ehrfm_core.clif.tables import ID
from ehrfm_core.evaluation.adaptation import entries
from ehrfm_core.evaluation.tripod import markdown
from ehrfm_core.outcomes import OUTCOMES
from ehrfm_core.study import Study, open_study
from ehrfm_core.study.verify import verify
from tests.make_clif import make_tables, write_tables
from train import evaluate as stage
from train import finetune as part
from train.__main__ import main

OPTIONS = ["--bootstrap", "100", "--device", "cpu", "--repeats", "2", "--local-training", "none"]
TUNE = ["--finetune", "lora", "--finetune-epochs", "2", "--finetune-rate", "0.003"]
RUN = ["model", "arm", "test_site", "adapt_method", "adapt_fraction", "repeat", "outcome"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("finetune")
    sites = []
    for seed, name in enumerate(("here", "there")):
        clif = write_tables(make_tables(patients=60, seed=seed), place / name)
        sites += ["--site", f"{name}={clif}"]
    study = place / "study"
    assert main(["study", str(study), *sites, "--steps", "12", *OPTIONS, *TUNE]) == 0
    return study


@pytest.fixture(scope="module")
def study(folder: Path) -> Study:
    return open_study(folder)


def test_the_fine_tuned_model_stands_in_every_arm(study: Study) -> None:
    assert verify(study) == []
    tuned = study.result("predictions").filter(model="finetuned")
    arms = set(tuned.select("arm", "test_site", "adapt_method").rows())
    assert arms == {
        ("in_distribution", "here", "none"),
        ("zero_shot", "there", "none"),
        ("adapted", "there", "finetune"),
    }
    assert tuned.filter(adapt_fraction=1.0)["repeat"].unique().to_list() == [0]
    for (site, name), part_ in tuned.group_by("test_site", "outcome"):
        stays = study.site_table(str(site), "stays").filter(split="test")
        expected = stays.filter(OUTCOMES[str(name)].counts()).sort(ID)
        for _, one in part_.group_by(RUN):
            assert one.sort(ID)[ID].to_list() == expected[ID].to_list()
            assert one.sort(ID)["label"].to_list() == expected[str(name)].to_list()
            assert one["probability"].is_between(0, 1).all()
    summary = study.manifest.stages["evaluate"].summary["finetuned"]
    assert summary["curve"][0]["epoch"] == 0
    assert len(summary["curve"]) > 1


def test_the_draws_are_those_of_the_probe(study: Study) -> None:
    drawn = study.result("subsamples")
    training = study.site_table("there", "stays").filter(split="train")
    wanted = entries(training, site="there", repeats=2, seed=0)
    assert drawn.select(wanted.columns).equals(wanted)
    runs = (
        study.result("predictions").filter(arm="adapted").select("model", "adapt_fraction", "repeat").unique()
    )
    probe, tuned = (set(runs.filter(model=m).drop("model").rows()) for m in ("probe", "finetuned"))
    assert tuned >= probe  # where no stay counts for an outcome a probe is not adapted
    assert len(tuned) > 2


def test_what_was_finished_is_not_run_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupted after two draws: the source's model and these are kept, and the result is the same."""
    before = pl.read_parquet(folder / "results/predictions.parquet")
    (folder / "results/predictions.parquet").unlink()
    tune, calls = part.finetune, []

    def counting(*given: Any, **options: Any) -> Any:
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(1)
        return tune(*given, **options)

    monkeypatch.setattr(part, "finetune", counting)
    command = ["evaluate", str(folder), *OPTIONS, *TUNE]
    assert main(command) != 0
    assert len(list((folder / stage.KEPT).iterdir())) == 3
    first = len(calls)
    monkeypatch.setattr(part, "finetune", lambda *given, **o: (calls.append(1), tune(*given, **o))[1])
    assert main(command) == 0
    assert not (folder / stage.KEPT).exists()
    n_draws = before.filter(model="finetuned", arm="adapted").select("adapt_fraction", "repeat").n_unique()
    assert len(calls) - first <= n_draws - 2
    assert pl.read_parquet(folder / "results/predictions.parquet").equals(before)


def test_settings_are_remembered_and_fine_tuning_can_be_left_out(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(folder)]) == 0
    assert "evaluate: nothing to do" in capsys.readouterr().out
    assert "thinning" not in open_study(folder).manifest.stages["evaluate"].settings["finetuning"]
    each = ["--finetune-models", "each", "--finetune-epochs", "1", "--repeats", "1"]
    assert main(["evaluate", str(folder), *each, "--finetune-thinning", "0.4"]) == 0
    study = open_study(folder)
    assert study.manifest.stages["evaluate"].settings["finetuning"]["thinning"] == 0.4
    outcomes = study.result("predictions").filter(model="finetuned")["outcome"].unique()
    summary = study.manifest.stages["evaluate"].summary["finetuned"]
    assert set(summary) == set(outcomes)  # a curve each, where one for all has one
    assert len({tuple(found["curve"][-1].items()) for found in summary.values()}) > 1
    assert verify(study) == []
    assert "Fine-tuned for each outcome by itself" in markdown(study)
    assert main(["evaluate", str(folder), "--finetune", "none"]) == 0
    assert open_study(folder).result("predictions").filter(model="finetuned").is_empty()
    capsys.readouterr()
    assert main(["evaluate", str(folder)]) == 0
    assert "evaluate: nothing to do" in capsys.readouterr().out


def test_the_checklist_is_printed_whole(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(folder), "--checklist"]) == 0
    printed = capsys.readouterr().out
    assert printed.rstrip().endswith(markdown(open_study(folder)).rstrip())


def test_the_report_stands_beside_the_published(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(folder), "--report"]) == 0
    printed = capsys.readouterr().out
    for words in (
        "arXiv 2504.10422",
        "Associations:",
        "ROC-AUC [95 %]",
        "(0.902)",
        "here → there",
        "of all stays",
    ):
        assert words in printed
    probe = (
        open_study(folder)
        .result("metrics")
        .filter(model="probe", arm="in_distribution", metric="roc_auc", subgroup="all")
    )
    for value in probe["estimate"].drop_nulls():
        assert f"{value:.3f} [" in printed
    assert np.isfinite(probe["estimate"].drop_nulls().to_numpy()).all()
