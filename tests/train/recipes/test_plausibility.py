from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from tests.make_clif import make_tables, write_tables
from train.recipes.plausibility import main


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """What stands in for two synthetic hospitals."""
    for seed, site in enumerate(("mimic", "ucmc")):
        write_tables(make_tables(patients=30, seed=seed), tmp_path / "out" / site)
    return tmp_path / "out"


def test_tables_beside_the_demo(out: Path, capsys: pytest.CaptureFixture) -> None:
    assert main([str(out)]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert "test splits" in shown[0]
    assert "## ucmc and the paper's UCMC" in shown
    for head in ("| pair | real | synthetic |", "| category | where | n real |", "| female | "):
        assert sum(line.startswith(head) for line in shown) in (1, 2)
    (sodium,) = (line for line in shown if line.startswith("| sodium | all | "))
    assert "128 · 134 · 137 · 141 · 146" in sodium  # of the demo
    assert len({line.count("|") for line in shown if line.startswith("| ") and " · " in line}) == 2
    assert any(line.startswith("Of 30 pairs ") for line in shown)


def test_json_alone_on_the_output(out: Path, capsys: pytest.CaptureFixture) -> None:
    assert main([str(out), "--real", str(out / "ucmc"), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert set(content) == {"split", "paper", "values", "gaps", "early", "signs", "verdict", "notes"}
    stays = {row["characteristic"]: row for row in content["paper"]["ucmc"]}
    # 30 patients, every third with two stays; 90 % of them are in the test split
    assert stays["n_stays"]["n"] == pytest.approx(36, abs=3)
    assert stays["n_stays"]["published"] == 53991
    assert {row["category"] for row in content["values"]} == {
        *("heart_rate", "sbp", "spo2", "potassium", "lactate", "sodium")
    }


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("no folder", "holds no folder mimic"),
        ("real", "does not exist or is not a folder"),
        ("column", "column 'vital_value' is missing"),
    ],
)
def test_mistakes_are_one_sentence(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture, broken: str, message: str
) -> None:
    folder, real = out, out / "ucmc"
    if broken == "no folder":
        folder = tmp_path
    elif broken == "real":
        real = tmp_path / "nowhere"
    else:
        vitals = out / "mimic" / "clif_vitals.parquet"
        pl.read_parquet(vitals).drop("vital_value").write_parquet(vitals)
    assert main([str(folder), "--real", str(real)]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    last = told.err.splitlines()[-1]
    assert last.startswith("Error: ")
    assert message in last
    assert "Traceback" not in told.err
