from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from ehrfm_core.errors import UserError
from ehrfm_core.sources.challenge_files import Findings, files_of
from ehrfm_core.sources.challenge_rows import body_of
from tests.sources.make_challenges import as_folder, as_tar, as_zip

FILES = {"set-a/1.txt": b"one\n", "set-a/deep/2.txt": b"two\n", "notes.md": b"three\n"}


def read(*sources: Path) -> tuple[dict[str, bytes], list[str]]:
    findings = Findings()
    found = [(file.name, file.data) for file in files_of(sources, findings)]
    assert len(found) == len(dict(found)), "a file was read twice"
    return dict(found), findings.tell()


WANTED = {"1.txt": b"one\n", "2.txt": b"two\n", "notes.md": b"three\n"}


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tar.xz"])
def test_an_archive(tmp_path: Path, name: str) -> None:
    make = as_zip if name.endswith("zip") else as_tar
    assert read(make(tmp_path / name, FILES)) == (WANTED, [])


def test_a_folder_at_any_depth_without_hidden_files(tmp_path: Path) -> None:
    folder = as_folder(
        tmp_path / "a" / "b", FILES | {".hidden/3.txt": b"", "set-a/._1.txt": b"", ".DS_Store": b""}
    )
    assert read(folder.parent) == (WANTED, [])


def test_an_archive_within_an_archive(tmp_path: Path) -> None:
    inner = as_tar(tmp_path / "set-a.tar.gz", FILES)
    assert read(as_zip(tmp_path / "all.zip", {"1.0.0/set-a.tar.gz": inner.read_bytes()})) == (WANTED, [])


def test_what_lies_unpacked_beside_its_archives_is_read_once(tmp_path: Path) -> None:
    as_folder(tmp_path, FILES)
    packed = {path: data for path, data in FILES.items() if path.startswith("set-a/")}
    as_zip(tmp_path / "set-a.zip", packed)
    as_tar(tmp_path / "set-a.tar.gz", packed)
    assert read(tmp_path) == (WANTED, [])


def test_the_whole_archive_counts_where_its_twin_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "set-a.tar.gz").write_bytes(b"\x1f\x8b nothing")
    as_zip(tmp_path / "set-a.zip", FILES)
    found, told = read(tmp_path)
    assert found == WANTED
    assert len(told) == 1
    assert told[0].startswith("set-a.tar.gz: damaged, or no archive (")


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tar.xz"])
def test_a_damaged_archive_gives_what_came_before_the_damage(tmp_path: Path, name: str) -> None:
    many = {f"{i}.txt": bytes(str(i), "ascii") * 4_000 for i in range(200)}
    path = (as_zip if name.endswith("zip") else as_tar)(tmp_path / name, many)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.6)])
    found, told = read(path)
    assert all(data == many[name] for name, data in found.items())
    assert len(found) < len(many)
    assert len(told) >= 1
    assert told[0].startswith(f"{name}: damaged, or no archive (")
    assert f"{len(found)} files were read before the damage" in told[0]


def test_links_and_paths_that_lead_out_are_only_names(tmp_path: Path) -> None:
    path = tmp_path / "evil.tar"
    as_tar(path, {"../../out.txt": b"x", "/etc/out2.txt": b"y"})
    with tarfile.open(path, "a") as archive:
        link = tarfile.TarInfo("link.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    before = sorted(tmp_path.parent.rglob("*"))
    assert read(path)[0] == {"out.txt": b"x", "out2.txt": b"y"}
    assert sorted(tmp_path.parent.rglob("*")) == before


def test_an_empty_folder_and_one_that_is_not_there(tmp_path: Path) -> None:
    assert read(tmp_path) == ({}, [f"{tmp_path}: holds no file that could be read."])
    with pytest.raises(UserError, match="nowhere is not there"):
        read(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("text", "body", "lines", "broken"),
    [
        (b"a,b\n1,2\n3,4\n", b"1,2\n3,4\n", 2, 0),
        (b"a,b\r\n1,2\r\n", b"1,2\n", 1, 0),
        (b"a,b\n1,2\n3,", b"1,2\n", 1, 1),
        (b"a,b\n1\n3,4\n5,6,7\n", b"3,4\n", 1, 2),
        (b"a,b\n1\n5,6,7\n", b"", 0, 2),  # as many commas as two whole rows would have
        (b"a,b\n\n1,2\n\n", b"1,2\n", 1, 0),
        (b"a,b\n", b"", 0, 0),
        (b"a,b", b"", 0, 0),
    ],
)
def test_rows_that_are_cut_off(text: bytes, body: bytes, lines: int, broken: int) -> None:
    assert body_of(text, b",", 2) == (body, lines, broken)
