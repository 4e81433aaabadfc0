from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from ehrfm_core.clif.event_map import MAPS
from ehrfm_core.study import open_study
from tests.make_clif import make_tables, write_tables
from train.__main__ import main


@pytest.fixture
def clif(tmp_path: Path) -> Path:
    return write_tables(make_tables(), tmp_path / "clif")


def tokenizer(study: Path) -> dict:
    return json.loads((study / "tokenizer.json").read_text())


def test_options_are_stored_and_remembered(clif: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    study = tmp_path / "study"
    command = ["tokenize", str(study), "--site", f"a={clif}"]
    options = ["--preset", "fused", "--n-bins", "4", "--spacing", "--window", "24", "48", "all"]
    assert main([*command, *options]) == 0
    written = tokenizer(study)
    stored = {key: written[key] for key in ("scheme", "n_bins", "spacing", "window_hours", "more_windows")}
    assert stored == {
        "scheme": "fused",
        "n_bins": 4,
        "spacing": True,
        "window_hours": 24.0,
        "more_windows": [48.0, None],
    }
    windows = pl.read_parquet(study / "sites" / "a" / "windows.parquet")
    assert windows["window_hours"].unique().sort().to_list() == [None, 24.0, 48.0]
    capsys.readouterr()
    assert main(command) == 0  # nothing said: as the study was made
    assert "nothing to do" in capsys.readouterr().out
    assert main([*command, "--preset", "paper"]) == 0
    assert tokenizer(study)["scheme"] == "paper"
    assert "lab/potassium=Q0" not in tokenizer(study)["vocabulary"]


def test_a_map_of_ones_own(clif: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    study, own = tmp_path / "study", tmp_path / "own.yaml"
    own.write_text((MAPS / "paper.yaml").read_text().replace("family: vital,", "family: bedside,"))
    command = ["tokenize", str(study), "--site", f"a={clif}"]
    assert main([*command, "--events", str(own)]) == 0
    assert "bedside/heart_rate" in tokenizer(study)["vocabulary"]
    assert tokenizer(study)["events"]["name"] == "own"
    own.unlink()
    capsys.readouterr()
    assert main(command) == 0  # the map lives in the study
    assert "nothing to do" in capsys.readouterr().out
    assert main([*command, "--events", str(own)]) == 1
    assert "own.yaml" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--window", "all"], "the first window is the model's"),
        (["--n-bins", "1"], "1 bins cannot be made"),
        (["--max-tokens", "3"], "3 tokens cannot hold a window"),
        (["--events", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_options_that_cannot_be(
    clif: Path, tmp_path: Path, capsys: pytest.CaptureFixture, options: list[str], message: str
) -> None:
    study = tmp_path / "study"
    assert main(["tokenize", str(study), "--site", f"a={clif}", *options]) == 1
    assert message in capsys.readouterr().err
    assert not study.exists()


def test_outcomes_of_ones_own(clif: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    study, own = tmp_path / "study", tmp_path / "own.yaml"
    own.write_text(
        "format: 1\noutcomes:\n"
        "  - {name: fast, label: Fast, table: vitals, time: recorded_dttm,\n"
        "     among: {column: vital_category, equals: heart_rate},\n"
        "     where: {column: vital_value, at_least: 110}}\n"
        "  - {name: listed, label: Listed, file: mine, unlisted: no}\n"
    )
    hospitalizations = pl.read_parquet(clif / "clif_hospitalization.parquet")
    time = pl.col("admission_dttm") + pl.duration(hours=26)
    late = hospitalizations.head(2).select("hospitalization_id", outcome=pl.lit("listed"), event_time=time)
    late.write_parquet(clif / "mine.parquet")
    command = ["tokenize", str(study), "--site", f"a={clif}"]
    assert main([*command, "--outcomes", str(own)]) == 0
    opened = open_study(study)
    stays = opened.site_table("a", "stays")
    assert list(opened.outcomes)[-2:] == ["fast", "listed"]
    assert stays.filter("listed")["hospitalization_id"].sort().equals(late["hospitalization_id"].sort())
    beats = pl.read_parquet(clif / "clif_vitals.parquet").filter(vital_category="heart_rate")
    high = beats.filter(pl.col("vital_value") >= 110)["hospitalization_id"].unique()
    assert 0 < stays.filter("fast").height < stays.height
    assert stays.filter("fast")["hospitalization_id"].is_in(high.implode()).all()
    assert not set(stays.drop_nulls("fast")["hospitalization_id"]) - set(beats["hospitalization_id"])
    own.unlink()
    capsys.readouterr()
    assert main(command) == 0  # they live in the study
    assert "nothing to do" in capsys.readouterr().out
    late.head(1).write_parquet(clif / "mine.parquet")
    assert main(command) == 0  # the table of outcomes is an input like the others
    assert "nothing to do" not in capsys.readouterr().out
    assert open_study(study).site_table("a", "stays")["listed"].sum() == 1
    assert main([*command, "--outcomes", "none"]) == 0
    assert "listed" not in open_study(study).site_table("a", "stays").columns


def test_nothing_is_left_of_the_work(clif: Path, tmp_path: Path) -> None:
    study = tmp_path / "study"
    (study / ".tokenize.partial" / "events-killed").mkdir(parents=True)
    assert main(["tokenize", str(study), "--site", f"a={clif}"]) == 0
    assert sorted(path.name for path in study.iterdir()) == [
        "log.jsonl",
        "sites",
        "study.json",
        "tokenizer.json",
    ]


def test_a_longer_window_asks_for_longer_stays(clif: Path, tmp_path: Path) -> None:
    study = tmp_path / "study"
    assert main(["tokenize", str(study), "--site", f"a={clif}", "--window", "72"]) == 0
    stays = pl.read_parquet(study / "sites" / "a" / "stays.parquet")
    assert stays["los_hours"].min() >= 72  # type: ignore[operator]


def test_without_a_site_there_is_nothing_to_do(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["tokenize", str(tmp_path / "study")]) == 1
    assert "--site NAME=DIR" in capsys.readouterr().err


def test_validate(clif: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["validate", str(clif)]) == 0
    assert "0 errors" in capsys.readouterr().out
    pl.read_parquet(clif / "clif_vitals.parquet").drop("vital_value").write_parquet(
        clif / "clif_vitals.parquet"
    )
    assert main(["validate", str(clif), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    errors = [finding for finding in report["findings"] if finding["level"] == "error"]
    assert [(finding["table"], finding["column"]) for finding in errors] == [("vitals", "vital_value")]
    assert main(["validate", str(clif / "nowhere")]) == 1


def test_long_work_shows_how_far_it_is(
    clif: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("train.progress.LONG_SECONDS", -1.0)
    assert main(["tokenize", str(tmp_path / "study"), "--site", f"a={clif}"]) == 0
    shown = capsys.readouterr().err
    assert "a: reading: 100 %" in shown
    assert "a: writing: 100 %" in shown
