"""The controlled shift from synthesis to report, on hospitals of a few hundred stays."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from ehrfm_core.evaluation.oracle_figures import estimates, monte_carlo, transfer_gaps
from ehrfm_core.outcomes import OUTCOMES
from ehrfm_core.study import open_study
from ehrfm_core.study.layout import STAGES
from ehrfm_core.study.verify import verify
from tests.evaluation.made_truth import make_world
from train.recipes.controlled_shift import main
from train.recipes.shift_report import verdict
from train.recipes.shift_tables import markdown

OPTIONS = [
    "--stays",
    "240",
    "--draws",
    "4",
    "--steps",
    "4",
    "--bootstrap",
    "120",
    "--device",
    "cpu",
    "--shifts",
    "none",
    "coverage,time",
]


@pytest.mark.slow
def test_the_whole_way_and_then_nothing_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), *OPTIONS]) == 0
    printed = capsys.readouterr().out
    study = open_study(tmp_path / "studies" / "controlled-shift")
    assert study.sites == ["mimic", "none", "coverage-time"]
    assert study.manifest.synthetic
    assert verify(study) == []

    report = json.loads((tmp_path / "controlled_shift.json").read_text())
    assert report["shifts"] == {"none": [], "coverage-time": ["coverage", "time"]}
    assert str(tmp_path) not in json.dumps(report)
    metrics = study.result("metrics").filter(
        metric="roc_auc",
        model="probe",
        arm="zero_shot",
        test_site="none",
        subgroup="all",
        train_site=study.source,
    )
    for row in metrics.iter_rows(named=True):
        figure = f"{row['estimate']:.3f} [{row['ci_low']:.3f}–{row['ci_high']:.3f}]"
        label = OUTCOMES[row["outcome"]].label
        section = printed.split(f"## {label}")[1].split("\n## ")[0]
        own = next(line for line in section.splitlines() if line.startswith("| none"))
        assert f"| {row['n']:,} ({row['n_events']:,}) |" in own
        assert f"| {figure} |" in own
    assert len(report["monte_carlo"]) == 3 * len(OUTCOMES)
    assert [row["target"] for row in report["site_classifier"]] == ["none", "coverage-time"]
    assert any(line.startswith("none: ") for line in report["verdict"])
    assert all(not line.startswith("coverage") for line in report["verdict"])

    assert main([str(tmp_path), *OPTIONS, "--json"]) == 0
    again = capsys.readouterr()
    assert json.loads(again.out) == report
    assert again.err.count("nothing to do") == 3 + len(STAGES)

    assert main([str(tmp_path), *OPTIONS, "--seed", "1"]) == 1
    assert "made with other options (seed 0, not 1)" in capsys.readouterr().err

    truth = tmp_path / "none" / "truth" / "ucmc" / "stays.parquet"
    pl.read_parquet(truth).head(20).write_parquet(truth)
    assert main([str(tmp_path), *OPTIONS]) == 1
    assert "have no true risk (death at none: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("shifts", "told"),
    [
        (["weather"], "'weather' is none of population"),
        (["coverage,time", "time,coverage"], "are the same shift"),
        (["population,coverage,policy,measurement,time"], "too long a name"),
    ],
)
def test_a_wrong_shift_is_told_before_anything_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], shifts: list[str], told: str
) -> None:
    assert main([str(tmp_path / "work"), "--shifts", *shifts]) == 1
    assert told in capsys.readouterr().err
    assert not (tmp_path / "work").exists()


def test_a_gap_where_nothing_differs_is_called_a_bug() -> None:
    alike = {"home": {"in_distribution": 0.5}, "none": {"zero_shot": 0.5}}
    worse = {"home": {"in_distribution": 0.3}, "none": {"zero_shot": 2.5}}
    found = [make_world(n=1500, noise=noise, seed=1).tested(n_bootstrap=400) for noise in (alike, worse)]
    apart = [{"target": "none", "estimate": 0.7, "ci_low": 0.6, "ci_high": 0.8}]
    good, bad = ("\n".join(verdict(tested, apart, "home", "none")) for tested in found)
    assert "0 of 4 intervals exclude 0" in good
    assert "BUG" not in good
    assert "4 of 4 intervals exclude 0" in bad
    assert bad.count("A BUG IN THE METHOD") == 4
    assert "0.700 [0.600, 0.800] excludes 0.5, WHERE IT MUST NOT" in bad


def test_tables_have_as_many_cells_as_columns_also_where_models_are_missing() -> None:
    tested = make_world(n=50, noise={"home": {"in_distribution": 0.5}, "none": {"zero_shot": 0.5}}).tested()
    report = {
        "source": "home",
        "shifts": {"none": []},
        "estimates": estimates(tested).to_dicts(),
        "gaps": transfer_gaps(tested, source="home").to_dicts(),
        "monte_carlo": monte_carlo(tested, seed=0)[0].to_dicts(),
        "site_classifier": [],
        "verdict": [],
        "notes": ["A note."],
    }
    text = markdown(report)
    assert text.endswith("A note.")
    for block in text.split("\n\n"):
        assert len({line.count("|") for line in block.splitlines() if line.startswith("|")}) <= 1
