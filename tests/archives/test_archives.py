"""Studies of earlier versions, kept as they were: each opens, or says what to do."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest

from ehrfm_core.errors import UserError
from ehrfm_core.study import Study, list_studies, open_study
from ehrfm_core.study.layout import FORMAT_VERSION
from ehrfm_core.study.verify import verify

FOLDER = Path(__file__).parent
ARCHIVES = sorted(FOLDER.glob("format-*.zip"))
MANIFESTS = sorted(FOLDER.glob("format-*.json"))


@pytest.fixture(params=ARCHIVES, ids=lambda path: path.stem)
def archived(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    with zipfile.ZipFile(request.param) as archive:
        archive.extractall(tmp_path / request.param.stem)
    return tmp_path / request.param.stem


def test_the_present_format_is_among_them() -> None:
    assert FOLDER / f"format-{FORMAT_VERSION}.zip" in ARCHIVES
    assert sum(path.stat().st_size for path in FOLDER.iterdir() if path.is_file()) < 2e6


def test_it_opens_or_says_what_to_do(archived: Path) -> None:
    found = list_studies(archived)[archived.name]
    if isinstance(found, UserError):
        assert "again with `python -m train study`" in str(found)
        return
    assert verify(found) == []
    for done in found.manifest.stages.values():
        for path in done.files:
            folder, *rest = Path(path).with_suffix("").parts
            if folder == "sites":
                assert found.site_table(*rest).height
            elif folder == "results" and path.endswith(".parquet"):
                found.result(*rest)
            else:
                assert found.file(path).stat().st_size
    assert found.maps()
    assert found.tokenizer()["vocabulary"]


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_a_manifest_of_a_format_that_is_no_longer_read_says_what_to_do(path: Path, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    shutil.copy(path, tmp_path / "old" / "study.json")
    with zipfile.ZipFile(FOLDER / f"format-{FORMAT_VERSION}.zip") as archive:
        archive.extractall(tmp_path / "new")
    found = list_studies(tmp_path)
    assert "make the study again in a new folder with `python -m train study`" in str(found["old"])
    assert isinstance(found["new"], Study), "the others still open"
    with pytest.raises(UserError, match="has format version 0, this program reads"):
        open_study(tmp_path / "old")
