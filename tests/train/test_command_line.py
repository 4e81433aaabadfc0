from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from tests.make_clif import make_tables, write_tables
from train.__main__ import main, parser


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return write_tables(make_tables(), tmp_path / "clif")


def error_of(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main([str(argument) for argument in arguments]) == 1
    captured = capsys.readouterr().err
    assert captured.startswith("Error: ")
    assert captured.count("\n") == 1, "one sentence on one line"
    assert "Traceback" not in captured
    return captured


def test_bad_input_is_one_sentence_and_writes_nothing(
    site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = tmp_path / "study"
    cases = {
        "does not exist": ["study", study, "--site", f"a={tmp_path}/nowhere"],
        "not of the form NAME=DIR": ["study", study, "--site", site],
        "Two sites are called 'a'": ["study", study, "--site", f"a={site}", "--site", f"a={site}"],
        "are the same folder": ["study", study, "--site", f"a={site}", "--site", f"b={site}/../clif"],
        "none of the sites": ["study", study, "--site", f"a={site}", "--source", "b"],
        "cannot be a site's name": ["study", study, "--site", f"../a={site}"],
        "holds no clif_hospitalization.parquet": ["study", study, "--site", f"a={tmp_path}"],
        "is not a study": ["pretrain", study],
    }
    for message, arguments in cases.items():
        assert message in error_of(capsys, *arguments)
        assert not study.exists()


def test_an_existing_folder_that_is_no_study(
    site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("…")
    assert "is not a study" in error_of(capsys, "study", tmp_path / "mine", "--site", f"a={site}")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_a_column_that_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables = make_tables()
    tables["vitals"] = tables["vitals"].drop("vital_value")
    folder = write_tables(tables, tmp_path / "clif")
    assert "column 'vital_value' is missing" in error_of(
        capsys, "tokenize", tmp_path / "s", "--site", f"a={folder}"
    )


def test_no_stay_of_24_hours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables = make_tables()
    tables["hospitalization"] = tables["hospitalization"].with_columns(
        (pl.col("admission_dttm") + pl.duration(hours=2)).alias("discharge_dttm")
    )
    folder = write_tables(tables, tmp_path / "clif")
    assert "lasts 24 h or more" in error_of(capsys, "tokenize", tmp_path / "s", "--site", f"a={folder}")


def test_the_stages_must_run_in_order(site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tokenize", str(tmp_path / "s"), "--site", f"a={site}"]) == 0
    capsys.readouterr()
    assert "The stage pretrain has not run" in error_of(capsys, "embed", tmp_path / "s")


def test_a_table_cut_short_after_its_header(
    site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = site / "clif_vitals.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[:4] + bytes(len(whole) // 2) + whole[4 + len(whole) // 2 :])
    assert "Error" in error_of(capsys, "tokenize", tmp_path / "s", "--site", f"a={site}")


def test_a_read_only_place(site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert "Error" in error_of(capsys, "tokenize", tmp_path / "file" / "s", "--site", f"a={site}")


def test_one_hospital_under_two_names(site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    twin = write_tables(make_tables(), tmp_path / "twin")
    assert "one hospital under two names" in error_of(
        capsys, "tokenize", tmp_path / "s", "--site", f"a={site}", "--site", f"b={twin}"
    )


def test_a_site_that_cannot_be_used_costs_a_finished_study_nothing(
    site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = tmp_path / "s"
    assert main(["tokenize", str(study), "--site", f"a={site}"]) == 0
    before = {path: path.read_bytes() for path in study.rglob("*") if path.is_file()}
    tables = make_tables(seed=1)
    tables["hospitalization"] = tables["hospitalization"].with_columns(pl.lit(3).alias("age_at_admission"))
    bad = write_tables(tables, tmp_path / "bad")
    capsys.readouterr()
    error_of(capsys, "tokenize", study, "--site", f"a={site}", "--site", f"b={bad}")
    error_of(capsys, "tokenize", study, "--site", f"b={bad}")
    assert {path: path.read_bytes() for path in study.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("seed", ["-1", "4294967296", "x", "9" * 30])
def test_a_seed_that_no_library_takes(site: Path, tmp_path: Path, seed: str) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["study", str(tmp_path / "s"), "--site", f"a={site}", f"--seed={seed}"])
    assert stop.value.code == 2


def test_help_tells_the_whole_story() -> None:
    text = parser().format_help()
    for command in ("import", "study", "tokenize", "pretrain", "embed", "evaluate", "verify"):
        assert command in text


def test_tokenizing_and_the_study_reader_do_without_torch() -> None:
    code = (
        "import sys, ehrfm_core.tokens.timelines, ehrfm_core.tokens.decode, ehrfm_core.cohort, "
        "ehrfm_core.study, train.tokenize; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_training_and_state_extraction_do_without_polars() -> None:
    code = (
        "import sys, ehrfm_core.model.pretrain, ehrfm_core.model.checkpoint, ehrfm_core.model.entropy, "
        "ehrfm_core.dynamics.states; sys.exit(any(m in sys.modules for m in ('polars', 'sklearn', 'umap')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
