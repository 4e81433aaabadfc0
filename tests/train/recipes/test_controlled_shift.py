"""The controlled shift from synthesis to report, on hospitals of a few hundred stays."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from ehrfm_core.evaluation.oracle_figures import estimates, monte_carlo, parts_alone, transfer_gaps
from ehrfm_core.outcomes import OUTCOMES
from ehrfm_core.study import open_study
from ehrfm_core.study.layout import STAGES
from ehrfm_core.study.verify import verify
from ehrfm_core.synthesis.hospital import PARTS
from tests.evaluation.made_truth import make_world
from train.recipes.controlled_shift import main, shifts_of
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


def test_parts_stand_for_each_part_alone_between_none_and_all() -> None:
    sites = shifts_of(["parts"])
    assert list(sites) == ["none", *PARTS, "all"]
    assert [len(parts) for parts in sites.values()] == [0, 1, 1, 1, 1, 1, 5]
    assert list(shifts_of(["parts", "institution"]))[-1] == "institution"


def test_what_each_part_costs_and_whether_they_add_up() -> None:
    """Two parts cost the model some of its signal, the others nothing."""
    shifts = shifts_of(["parts"])
    noise = dict.fromkeys(shifts, 0.3) | {"coverage": 1.5, "policy": 1.5, "all": 2.5}
    world = make_world(
        n=1500,
        noise={"home": {"in_distribution": 0.3}}
        | {site: {"zero_shot": size} for site, size in noise.items()},
    )
    tested = world.tested()
    rows = parts_alone(tested, source="home", shifts=shifts, parts=PARTS)
    assert rows.height == len(OUTCOMES) * (len(PARTS) + 3)
    found = {
        (q, p): tuple(rest) for q, p, *rest in rows.filter(outcome="death").drop("outcome", "model").rows()
    }
    gaps = transfer_gaps(tested, source="home").filter(quantity="gap_beyond_oracle", outcome="death")
    beyond = dict(gaps.select("target", "estimate").rows())
    for part in PARTS:
        estimate, low, high = found["cost", part]
        assert estimate == pytest.approx(beyond[part] - beyond["none"])
        assert low < estimate < high
        assert (low > 0) == (part in ("coverage", "policy"))
    total, whole, interaction = (found[quantity, None][0] for quantity in ("sum", "all", "interaction"))
    assert total == pytest.approx(sum(found["cost", part][0] for part in PARTS))
    assert interaction == pytest.approx(whole - total)

    report = {
        "source": "home",
        "shifts": {site: sorted(parts) for site, parts in shifts.items()},
        "estimates": estimates(tested).to_dicts(),
        "gaps": transfer_gaps(tested, source="home").to_dicts(),
        "parts": rows.to_dicts(),
        "monte_carlo": [],
        "site_classifier": [],
        "verdict": [],
        "notes": [],
    }
    section = markdown(report).split("## The gap by part of the shift")[1].split("\n## ")[0]
    table = section.split("### In-hospital death")[1].split("###")[0]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.strip().splitlines()]
    own = [row[1:] for row in cells if row[0] == "the foundation model"]
    assert [row[0] for row in own] == ["none", *PARTS, "all", "sum of the parts", "interaction"]
    assert own[0][2] == own[-1][1] == "–"
    for label, part in zip(PARTS, own[1:], strict=False):
        assert part[1].startswith(f"{beyond[label]:+.3f} [")
        assert part[2].startswith(f"{found['cost', label][0]:+.3f} [")
    assert own[-1][2].startswith(f"{interaction:+.3f} [")

    some = {site: parts for site, parts in shifts.items() if site != "policy"}
    assert parts_alone(tested, source="home", shifts=some, parts=PARTS).is_empty()
