"""Files of a distribution, wherever they lie: in folders, in archives, in archives within these.

Archives are read as streams; nothing is unpacked to disk, and no path of an archive is used but to be named.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, cast

from ehrfm_core.errors import UserError

ENDINGS = (".tar.gz", ".tar.xz", ".tar.bz2", ".tgz", ".txz", ".tar", ".zip")
LARGEST = 8 << 20  # bytes: a record is a few kilobytes, a list of outcomes a few hundred
LARGEST_INNER = 1 << 30  # of an archive within an archive
DEPTH = 2
BROKEN = (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError, OSError, RuntimeError)
NAMED = 3


@dataclass(frozen=True)
class File:
    """A file of the distribution: its plain name, where it lies for the user to find it, and its bytes."""

    name: str
    place: str
    data: bytes


@dataclass
class Findings:
    """What is wrong with files, sentence by sentence: each names up to three files and counts them all."""

    seen: dict[str, list[str]] = field(default_factory=dict)
    amounts: dict[str, int] = field(default_factory=dict)
    others: int = 0

    def add(self, sentence: str, name: str, amount: int = 0) -> None:
        """Take a file; `{amount}` in the sentence becomes the sum of the amounts."""
        self.seen.setdefault(sentence, []).append(name)
        self.amounts[sentence] = self.amounts.get(sentence, 0) + amount

    def tell(self) -> list[str]:
        """The sentences, each with the names of the first files it is true of."""
        out = []
        for sentence, seen in self.seen.items():
            names = list(dict.fromkeys(seen))
            more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
            text = sentence.format(amount=f"{self.amounts[sentence]:,}")
            out.append(f"{', '.join(names[:NAMED])}{more}: {text}")
        if self.others:
            out.append(f"{self.others:,} files are no records (licences, lists and the like); passed over.")
        return out


def nothing_read(
    sources: Sequence[Path], findings: Findings, *, year: int, strangers: int, other: int, shape: str
) -> str:
    """The sentence for sources that hold no record of a year; `shape` tells what its files look like.

    `strangers` files are of the `other` year.
    """
    named = ", ".join(str(source) for source in sources[:3])
    if strangers:
        command = f"python -m train import cinc{other}"
        return f"{named}: {strangers:,} files are of the Challenge {other}; use `{command}`."
    told = " ".join(findings.tell())
    return f"{named} holds no record of the Challenge {year} ({shape}) as PhysioNet has them. {told}".rstrip()


def files_of(sources: Sequence[Path], findings: Findings) -> Iterator[File]:
    """Every plain file of the sources, in order of their paths; hidden files and links are passed over.

    A source is a folder, an archive or a single file. In a folder an archive whose content lies beside it,
    unpacked (`set-a` beside `set-a.zip`) or in another archive (`set-a.tar.gz`), is not read again. Damaged
    archives are told in `findings`. Raises UserError where a source is not there.
    """
    for source in sources:
        if not source.exists():
            raise UserError(f"{source} is not there; give the folder or archive of the distribution.")
    for source in sources:
        n = 0
        for file in _of_path(source, findings):
            n += 1
            yield file
        if not n:
            findings.add("holds no file that could be read.", str(source))


def _of_path(source: Path, findings: Findings) -> Iterator[File]:
    if source.is_dir():
        yield from _of_folder(source, findings)
    elif ending_of(source.name):
        with source.open("rb") as stream:
            yield from _of_archive(stream, source.name, findings)
    else:
        yield from _whole(source, findings)


def ending_of(name: str) -> str | None:
    """The ending of an archive's name.

    >>> ending_of("set-a.tar.xz"), ending_of("132539.txt")
    ('.tar.xz', None)
    """
    return next((ending for ending in ENDINGS if name.lower().endswith(ending)), None)


def _of_folder(folder: Path, findings: Findings) -> Iterator[File]:
    unpacked: set[Path] = set()
    archives = []
    for at, names, files in os.walk(folder):
        names[:] = sorted(name for name in names if not name.startswith("."))
        unpacked |= {Path(at) / name for name in names}
        for name in sorted(files):
            path = Path(at) / name
            if name.startswith(".") or path.is_symlink():
                continue
            if ending_of(name):
                archives.append(path)
            else:
                yield from _whole(path, findings)
    for path in archives:
        content = path.with_name(path.name[: -len(ending_of(path.name) or "")])
        if content in unpacked:
            continue
        before = len(findings.seen)
        with path.open("rb") as stream:
            yield from _of_archive(stream, path.name, findings)
        if len(findings.seen) == before:  # else the same content may lie whole in another archive
            unpacked.add(content)


def _whole(path: Path, findings: Findings) -> Iterator[File]:
    if path.stat().st_size > LARGEST:
        findings.add("larger than any file of the distribution; left out.", path.name)
        return
    yield File(path.name, str(path), path.read_bytes())


def _of_archive(stream: IO[bytes], place: str, findings: Findings, depth: int = 1) -> Iterator[File]:
    n = 0
    try:
        inside = _of_zip(stream) if place.lower().endswith(".zip") else _of_tar(stream)
        for path, size, content in inside:
            name = PurePosixPath(path.replace("\\", "/")).name
            if not name or name.startswith("."):
                continue
            inner = ending_of(name) is not None
            if size > (LARGEST_INNER if inner else LARGEST) or (inner and depth == DEPTH):
                findings.add("larger or deeper than any file of the distribution; left out.", name)
                continue
            data = content.read(size + 1)
            if inner:
                yield from _of_archive(io.BytesIO(data), f"{place}: {name}", findings, depth + 1)
            else:
                n += 1
                yield File(name, f"{place}: {path}", data)
    except BROKEN as error:
        reason = " ".join(str(error).split())[:80] or type(error).__name__
        findings.add(
            f"damaged, or no archive ({reason}); {n:,} files were read before the damage. Download it again.",
            place,
        )


def _of_zip(stream: IO[bytes]) -> Iterator[tuple[str, int, IO[bytes]]]:
    with zipfile.ZipFile(stream) as archive:
        for info in sorted(archive.infolist(), key=lambda info: info.filename):
            if not info.is_dir():
                with archive.open(info) as content:
                    yield info.filename, info.file_size, content


def _unpacked(stream: IO[bytes]) -> IO[bytes]:
    """The stream without its compression; unlike tarfile, these readers tell of an end that is missing."""
    start = stream.read(6)
    stream.seek(0)
    if start.startswith(b"\x1f\x8b"):
        return cast(IO[bytes], gzip.open(stream))
    if start == b"\xfd7zXZ\x00":
        return lzma.open(stream)
    return bz2.open(stream) if start.startswith(b"BZh") else stream


def _of_tar(stream: IO[bytes]) -> Iterator[tuple[str, int, IO[bytes]]]:
    with _unpacked(stream) as plain, tarfile.open(fileobj=plain, mode="r|") as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isfile() else None
            if content is not None:
                yield member.name, member.size, content
