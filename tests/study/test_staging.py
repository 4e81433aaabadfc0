"""A stage is in the study whole or not at all, whenever it is killed."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from ehrfm_core.errors import UserError
from ehrfm_core.study import open_study
from ehrfm_core.study import staging as module
from ehrfm_core.study.layout import CARD
from ehrfm_core.study.manifest import read_manifest
from ehrfm_core.study.staging import recover, staging
from ehrfm_core.study.writer import StageResult, create_or_open, finish

FIRST = {"tokenizer.json": "1", "sites/a/stays.parquet": "1", "sites/b/stays.parquet": "1", "old.txt": "1"}
SECOND = {"tokenizer.json": "2", "sites/a/stays.parquet": "2", "sites/a/new.parquet": "2"}


class KilledError(BaseException):
    """As sudden as a kill: nothing is tidied up."""


def stage(folder: Path, name: str, files: dict[str, str], sites: tuple[str, ...] = ("a", "b")) -> None:
    manifest = create_or_open(folder, sites=sites, source="a", synthetic=False)
    with staging(folder, name) as staged:
        for path, text in files.items():
            (staged / path).parent.mkdir(parents=True, exist_ok=True)
            (staged / path).write_text(text)
        finish(folder, manifest, name, {"of": text}, {}, StageResult(list(files)), run={})


@pytest.fixture
def study(tmp_path: Path) -> Path:
    stage(tmp_path / "s", "tokenize", FIRST)
    stage(tmp_path / "s", "pretrain", {"model/weights": "1", "model/config.json": "1"})
    (tmp_path / "s" / CARD).write_text("the model of the first tokens")
    return tmp_path / "s"


def contents(study: Path) -> dict[str, str]:
    files = (path for path in study.rglob("*") if path.is_file())
    return {
        path.relative_to(study).as_posix(): path.read_text() for path in files if path.name != "log.jsonl"
    }


def refused(study: Path) -> int:
    """How many files of the study are refused; every other is as the manifest says."""
    opened, count = open_study(study), 0
    for done in opened.manifest.stages.values():
        for path in done.files:
            try:
                opened.file(path)
            except UserError:
                count += 1
    return count


def after_second(tmp_path: Path, study: Path) -> dict[str, str]:
    """The study as it is where nothing happens."""
    import shutil

    other = shutil.copytree(study, tmp_path / "other")
    stage(other, "tokenize", SECOND, ("a",))
    return contents(other)


def test_what_no_stage_has_on_record_any_longer_goes(study: Path, tmp_path: Path) -> None:
    assert set(after_second(tmp_path, study)) == {*SECOND, "study.json"}


@pytest.mark.parametrize("step", range(40))
def test_killed_at_any_step_it_is_the_study_before_or_after(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    before, after = contents(study), after_second(tmp_path, study)
    left = [step]

    def counted(name: str) -> None:
        real = getattr(Path, name)

        def call(self: Path, *arguments: object, **options: object) -> object:
            left[0] -= 1
            if left[0] < 0:
                raise KilledError
            return real(self, *arguments, **options)

        monkeypatch.setattr(Path, name, call)

    with monkeypatch.context() as patch:
        patch.setattr(module.shutil, "rmtree", lambda *_, **__: None)  # a kill tidies nothing
        for name in ("replace", "unlink", "mkdir"):
            counted(name)
        with suppress(KilledError):
            stage(study, "tokenize", SECOND, ("a",))
    monkeypatch.undo()
    finished = (study / ".tokenize.partial" / "study.json").is_file()
    assert refused(study) == 0 or finished
    recover(study)
    assert contents(study) in (before, after)
    assert (contents(study) == after) == (finished or left[0] >= 0)
    assert not list(study.glob(".*"))


def test_work_that_fails_costs_nothing(study: Path) -> None:
    before = contents(study)

    def work() -> None:
        with staging(study, "tokenize") as staged:
            (staged / "tokenizer.json").write_text("half")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        work()
    assert contents(study) == before
    assert "pretrain" in read_manifest(study).stages
