"""The recipe on open hospitals, from the distribution's files to its tables."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from ehrfm_core.study import open_study
from tests.sources.make_challenges import Files, as_folder, record_2019, row_2019
from train.recipes import raw_values
from train.recipes.open_hospitals import main

QUICK = ("--epochs", "1", "--finetune-epochs", "1", "--repeats", "1", "--bootstrap", "50", "--device", "cpu")


def hospitals(n: int) -> Files:
    """Two hospitals of n stays each: half become septic at hour 30, with faster hearts before."""
    files: Files = {}
    for letter in "AB":
        for i in range(n):
            draw = random.Random(f"{letter}{i}")
            septic = i % 2 == 0
            own = draw.gauss(95 if septic else 80, 12)
            rows = [
                row_2019(
                    hour,
                    int(septic and hour >= 30),
                    HR=round(draw.gauss(own, 8)),
                    Resp=round(draw.gauss(18, 3)),
                    Age=round(draw.uniform(20, 90)),
                )
                for hour in range(1, 37)
            ]
            files[f"training_set{letter}/p{'AB'.index(letter)}{i + 1:05d}.psv"] = record_2019(*rows)
    return files


@pytest.mark.slow
def test_two_hospitals_in_both_directions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raw_values, "SETTINGS", ({"max_iter": 20}, {"max_iter": 20, "max_leaf_nodes": 8}))
    source = as_folder(tmp_path / "src", hospitals(170))
    assert main(["cinc2019", str(tmp_path / "work"), str(source), *QUICK]) == 0
    text = (tmp_path / "work/report.md").read_text()
    assert capsys.readouterr().out.rstrip().endswith(text.rstrip()[-200:])
    for heading in (
        "## Sepsis: hospital_a → hospital_a",
        "## Sepsis: hospital_a → hospital_b",
        "## Sepsis: hospital_b → hospital_a",
        "## Sepsis: hospital_a → hospital_b against a model of all of hospital_b",
    ):
        assert heading in text
    for model in ("fine-tuned", "probe, mean states", "boosting, charted values", "boosting, binned values"):
        assert f"| {model} | hospital_a | at home |" in text
    home = next(
        line for line in text.splitlines() if line.startswith("| boosting, charted values | hospital_a | at")
    )
    assert float(home.split("|")[4].split()[0]) > 0.6, "hearts that beat 15 faster tell them apart"
    # the whole training split is what the model at home was fitted on
    against = text.split("## Sepsis: hospital_a → hospital_b against")[1].split("## ")[0].splitlines()
    everything = next(line for line in against if line.startswith("| 100.0% |"))
    at_home = next(
        line for line in against if line.startswith("| boosting, charted values | hospital_b | at")
    )
    assert everything.split("|")[4].strip() == at_home.split("|")[4].split()[0]
    half = next(line for line in against if line.startswith("| 50.0% |"))
    assert 0 < float(half.split("|")[6]) <= 1, "beside it, averaged with the model that was brought"
    for there in ("hospital_a | at home", "hospital_a | unchanged", "hospital_b | at home"):
        assert f"| boosting of both kinds, averaged | {there} |" in text
        assert f"| fine-tuned and boosting, averaged | {there} |" in text
    studies = [
        open_study(tmp_path / "work/studies" / name)
        for name in ("hospital_a-to-hospital_b", "hospital_b-to-hospital_a")
    ]
    assert [study.source for study in studies] == ["hospital_a", "hospital_b"]


def test_the_wrong_collection_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = as_folder(tmp_path / "src", hospitals(2))
    assert main(["cinc2012", str(tmp_path / "work"), str(source)]) == 1
    assert "cinc2019" in capsys.readouterr().err
