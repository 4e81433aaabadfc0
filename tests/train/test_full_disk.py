"""A disk that is full, a folder nobody may write, an input that goes: one sentence, and nothing is lost."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from ehrfm_core.dynamics.map_file import save_maps
from ehrfm_core.dynamics.maps import Maps
from ehrfm_core.dynamics.projection import fit_projection
from ehrfm_core.study import open_study
from ehrfm_core.study.files import write_json, write_parts, write_table
from ehrfm_core.study.layout import FITTED_MAPS
from ehrfm_core.study.manifest import read_manifest
from ehrfm_core.study.writer import StageResult
from tests.make_clif import make_tables, write_tables
from train import tokenize as stage
from train.__main__ import main
from train.stages import run_stage

RNG = np.random.default_rng(0)


@contextmanager
def at_most(n_bytes: int) -> Iterator[None]:
    """A file may grow no further; as on a full disk, a write fails in the midst of it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def clif(tmp_path: Path) -> Path:
    return write_tables(make_tables(patients=12), tmp_path / "clif")


@pytest.fixture
def study(clif: Path, tmp_path: Path) -> Path:
    assert main(["tokenize", str(tmp_path / "study"), "--site", f"a={clif}"]) == 0
    return tmp_path / "study"


def contents(study: Path) -> dict[str, bytes]:
    return {str(path.relative_to(study)): path.read_bytes() for path in study.rglob("*") if path.is_file()}


def one_sentence(capsys: pytest.CaptureFixture[str], *parts: str) -> None:
    captured = capsys.readouterr()
    assert captured.err.startswith("Error: ")
    assert captured.err.count("\n") == 1, captured.err
    assert all(part in captured.err for part in parts), captured.err


def test_tokenizing_anew_on_a_full_disk_leaves_the_study_as_it_was(
    study: Path, clif: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(study)
    capsys.readouterr()
    again = ["tokenize", str(study), "--site", f"a={clif}", "--n-bins", "5"]
    for limit in (300, 2_000, 4_000):
        with at_most(limit):
            assert main(again) == 1
        one_sentence(capsys, str(study), "what was finished is kept", "run the same command")
        assert contents(study) == before
    assert main(again) == 0
    assert open_study(study).tokenizer()["n_bins"] == 5


def test_a_first_study_on_a_full_disk(clif: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = tmp_path / "new"
    with at_most(20):
        assert main(["tokenize", str(study), "--site", f"a={clif}"]) == 1
    one_sentence(capsys, "File too large", str(study))
    assert not [path for path in study.rglob("*") if path.is_file()]
    assert main(["tokenize", str(study), "--site", f"a={clif}"]) == 0


def table(folder: Path) -> None:
    write_table(folder / "a.parquet", pl.DataFrame({"x": RNG.random(20_000)}), {"x": pl.Float64()})


def repeated(folder: Path) -> None:
    lists = pl.DataFrame(
        {"x": pl.Series(RNG.random((400, 50)), dtype=pl.Array(pl.Float32, 50)).arr.to_list()}
    )
    write_table(folder / "a.parquet", lists, {"x": pl.List(pl.Float32())}, few_values=["x"])


def parts(folder: Path) -> None:
    frames = (pl.DataFrame({"x": RNG.random(20_000)}) for _ in range(3))
    write_parts(folder / "a.parquet", frames, {"x": pl.Float64()})


def words(folder: Path) -> None:
    write_json(folder / "a.json", list(range(20_000)))


def maps(folder: Path) -> None:
    states = RNG.random((4_000, 8)).astype(np.float32)
    projection = fit_projection(states)
    save_maps(folder, Maps(projection, projection.points(states), None, 0, versions={}))


@pytest.mark.parametrize("write", [table, repeated, parts, words, maps])
def test_whoever_writes_the_disk_refuses_in_the_same_words(
    study: Path, write: Callable[[Path], None]
) -> None:
    before = contents(study)

    def work(staged: Path) -> StageResult:
        (staged / "first.txt").write_text("fits")
        with at_most(8_000):
            write(staged)
        return StageResult(["first.txt"])

    with pytest.raises(OSError, match="File too large") as raised:
        run_stage(study, read_manifest(study), "pretrain", settings={}, inputs={}, work=work)
    assert Path(raised.value.filename).name in ("a.parquet", "a.json", Path(FITTED_MAPS).name)
    assert contents(study) == before
    assert not list(study.glob(".*"))


def test_a_table_that_goes_while_it_is_read(
    study: Path, clif: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before, real = contents(study), stage.read_site

    def gone(*arguments: Any, **options: Any) -> Any:
        (clif / "clif_labs.parquet").unlink()
        return real(*arguments, **options)

    monkeypatch.setattr(stage, "read_site", gone)
    capsys.readouterr()
    assert main(["tokenize", str(study), "--site", f"a={clif}", "--n-bins", "5"]) == 1
    one_sentence(capsys, "clif_labs.parquet", "No such file")
    assert contents(study) == before


def test_a_file_of_the_study_that_goes_while_it_is_read(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from train import pretrain

    real = pretrain.write_token_arrays

    def gone(*arguments: Any, **options: Any) -> None:
        (study / "sites" / "a" / "timelines.parquet").unlink()
        real(*arguments, **options)

    monkeypatch.setattr(pretrain, "write_token_arrays", gone)
    capsys.readouterr()
    assert main(["pretrain", str(study), "--steps", "1"]) == 1
    one_sentence(capsys, "timelines.parquet is missing", "again")
    assert not (study / "study.lock").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="to the superuser everything is writable")
def test_a_folder_nobody_may_write(study: Path, clif: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["tokenize", str(study), "--site", f"a={clif}"]
    study.chmod(0o555)
    try:
        assert main(command) == 0, "there is nothing to do"
        assert main([*command, "--n-bins", "5"]) == 1
        one_sentence(capsys, "Permission denied", str(study))
    finally:
        study.chmod(0o755)


def test_a_second_run_is_refused_in_one_sentence(
    study: Path, clif: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from ehrfm_core.study.lock import locked

    before = contents(study)
    with locked(study):
        capsys.readouterr()
        assert main(["tokenize", str(study), "--site", f"a={clif}", "--n-bins", "5"]) == 1
        one_sentence(capsys, f"is being written by process {os.getpid()} on ")
        assert main(["pretrain", str(study), "--steps", "1"]) == 1
        one_sentence(capsys, f"is being written by process {os.getpid()} on ")
        assert main(["tokenize", str(study), "--explain", "labs potassium 5.5"]) == 0, "reading is free"
    assert contents(study) == before


def test_a_stage_that_was_finished_but_not_moved_is_there_in_the_next_run(
    study: Path, clif: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ehrfm_core.study import staging

    other = shutil.copytree(study, study.parent / "other")
    again = ["--site", f"a={clif}", "--n-bins", "5"]
    assert main(["tokenize", str(other), *again]) == 0
    with monkeypatch.context() as patch:
        patch.setattr(staging, "_move", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert main(["tokenize", str(study), *again]) == 130
    capsys.readouterr()
    assert main(["tokenize", str(study), *again]) == 0
    assert "nothing to do" in capsys.readouterr().out
    ours, theirs = ({k: v for k, v in contents(s).items() if k != "log.jsonl"} for s in (study, other))
    assert ours == theirs
