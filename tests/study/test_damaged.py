"""A study whose files are not as they were written is refused by name, and costs others nothing."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
from pathlib import Path

import polars as pl
import pytest

from ehrfm_core.errors import UserError
from ehrfm_core.study import Study, list_studies, open_study
from ehrfm_core.study import files as module
from ehrfm_core.study.files import known_sha256
from ehrfm_core.study.layout import MAPS, TOKENIZER
from tests.make_study import make_study

READS = re.compile(r"(read|scan)_(parquet|json)\(|load_file\(|safe_open\(")
DAMAGES = {
    "a bit flipped": lambda content, at: content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :],
    "cut": lambda content, at: content[:at],
    "bytes lost": lambda content, at: content[:at] + content[at + 3 :],
    "emptied": lambda content, at: b"",
    "bytes too many": lambda content, at: content + b"\n",
}


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studies")
    make_study(folder / "whole", sites={"mimic": 12, "ucmc": 10}, seed=1)
    make_study(folder / "other", sites={"mimic": 12, "ucmc": 10}, seed=2)
    return folder


def read(study: Study, path: str) -> object:
    """Read a file as whoever asks for what it holds."""
    if path == TOKENIZER:
        return study.tokenizer()
    if path == MAPS:
        return study.maps()
    folder, *rest = Path(path).with_suffix("").parts
    if folder == "sites":
        return study.site_table(*rest)
    return study.result(rest[0]) if path.endswith(".parquet") else study.file(path)


def paths_of(study: Study) -> list[str]:
    return [path for stage in study.manifest.stages.values() for path in stage.files]


@pytest.mark.parametrize("how", DAMAGES)
def test_whatever_happens_to_a_file_it_is_named_and_not_read(studies: Path, how: str) -> None:
    study, rng = open_study(studies / "whole"), random.Random(how)
    assert len(paths_of(study)) > 30
    for path in paths_of(study):
        file = studies / "whole" / path
        content = file.read_bytes()
        read(study, path)
        file.write_bytes(DAMAGES[how](content, rng.randrange(len(content))))
        with pytest.raises(UserError, match=f"{file} is not as it was written"):
            read(study, path)
        file.unlink()
        with pytest.raises(UserError, match=f"{file} is missing"):
            read(study, path)
        file.write_bytes(content)
        read(study, path)
    assert not [found for found in list_studies(studies).values() if isinstance(found, UserError)]


def test_a_number_that_decodes_to_another_is_not_shown(studies: Path, tmp_path: Path) -> None:
    """The damage that no reader of parquet notices."""
    study = Path(shutil.copytree(studies / "whole", tmp_path / "study"))
    file = study / "sites" / "mimic" / "stays.parquet"
    frame = pl.read_parquet(file)
    frame.with_columns(pl.col("age") + 1).write_parquet(file)
    with pytest.raises(UserError, match="stays.parquet is not as it was written"):
        open_study(study).site_table("mimic", "stays")


def test_the_screen_reads_no_file_past_the_check() -> None:
    screen = Path(__file__).parents[2] / "dashboard"
    reads = [
        line for path in screen.rglob("*.py") for line in path.read_text().splitlines() if READS.search(line)
    ]
    assert reads, "the pattern finds what is read"
    assert [line for line in reads if "study.file(" not in line] == []


def test_a_file_of_another_run_is_recognised(studies: Path, tmp_path: Path) -> None:
    shutil.copytree(studies, tmp_path, dirs_exist_ok=True)
    for path in paths_of(open_study(tmp_path / "other")):
        mine, theirs = (tmp_path / name / path for name in ("whole", "other"))
        if mine.read_bytes() == theirs.read_bytes():
            continue
        kept = mine.read_bytes()
        shutil.copy2(theirs, mine)
        with pytest.raises(UserError, match=f"{mine} is not as it was written"):
            read(open_study(tmp_path / "whole"), path)
        read(open_study(tmp_path / "other"), path)
        mine.write_bytes(kept)


def test_a_manifest_is_what_was_written_or_refused(studies: Path, tmp_path: Path) -> None:
    content, rng = (studies / "whole" / "study.json").read_bytes(), random.Random(0)
    wanted = open_study(studies / "whole").manifest
    for name in ("changed", "good"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "study.json").write_bytes(content)
    changed, refused = tmp_path / "changed" / "study.json", 0
    for _ in range(400):
        change = DAMAGES[rng.choice(list(DAMAGES)[:3])]
        changed.write_bytes(change(content, rng.randrange(len(content))))
        found = list_studies(tmp_path)
        assert isinstance(found["good"], Study)
        if isinstance(found["changed"], Study):  # between the words
            assert found["changed"].manifest == wanted
        else:
            assert str(changed) in str(found["changed"])
            refused += 1
    assert refused > 300


def test_a_figure_of_the_manifest_that_was_changed(studies: Path, tmp_path: Path) -> None:
    study = Path(shutil.copytree(studies / "whole", tmp_path / "study"))
    content = json.loads((study / "study.json").read_text())
    content["synthetic"] = False
    (study / "study.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="its content differs from its own hash"):
        open_study(study)


@pytest.mark.parametrize(
    ("version", "way_out"),
    [(0, "make the study again in a new folder"), (2, "or a newer one"), ("x", "again")],
)
def test_another_format_says_what_to_do(studies: Path, tmp_path: Path, version: object, way_out: str) -> None:
    content = json.loads((studies / "whole" / "study.json").read_text()) | {"format_version": version}
    (tmp_path / "study.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=f"has format version {version!r}, .*{way_out}"):
        open_study(tmp_path)


def test_a_file_is_hashed_once_and_again_where_it_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, hashed = tmp_path / "a", []
    real = module.sha256
    monkeypatch.setattr(module, "sha256", lambda path: hashed.append(path) or real(path))
    file.write_text("one")
    first = known_sha256(file)
    assert known_sha256(file) == first
    assert len(hashed) == 2, "a file so young may change and keep its time"
    os.utime(file, (0, 0))
    for _ in range(3):
        assert known_sha256(file) == first
    assert len(hashed) == 3
    file.write_text("two")
    assert known_sha256(file) != first
