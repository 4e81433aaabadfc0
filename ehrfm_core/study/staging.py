"""A stage is on disk whole or not at all: written beside the study, then put in its place.

A stage writes into a folder of its own within the study. When the new manifest lies there too, flushed to the
disk, the stage is finished; moving its files is then repeated until it is done, by the next run if need be.
So a study that is killed, or whose disk is full, is the one before the stage or the one after it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ehrfm_core.errors import UserError
from ehrfm_core.study.files import flush
from ehrfm_core.study.layout import ALL_STAGES, CARD, MANIFEST, MODEL
from ehrfm_core.study.manifest import Manifest, read_manifest, write_manifest


def staged_folder(folder: Path, stage: str) -> Path:
    """Where a stage writes until it is finished."""
    return folder / f".{stage}.partial"


@contextmanager
def staging(folder: Path, stage: str) -> Iterator[Path]:
    """Yield an empty folder for what a stage writes, laid out as the study; gone after the block."""
    staged = staged_folder(folder, stage)
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir(parents=True)
    try:
        yield staged
    except BaseException:
        if not (staged / MANIFEST).is_file():  # else the stage is finished, and moved by the next run
            shutil.rmtree(staged, ignore_errors=True)
        raise


def commit(folder: Path, stage: str, manifest: Manifest) -> None:
    """Make what was staged, with its manifest, the study."""
    staged = staged_folder(folder, stage)
    for path in sorted(staged.rglob("*"), reverse=True):  # files before the folders that hold them
        flush(path)
    write_manifest(staged, manifest)
    _move(staged, folder)


def recover(folder: Path) -> None:
    """Move what a finished stage has left to be moved, and remove what an unfinished one has written.

    Only for who has the study to itself (`lock.locked`).
    """
    for stage in ALL_STAGES:
        staged = staged_folder(folder, stage)
        if (staged / MANIFEST).is_file():
            _move(staged, folder)
        elif staged.is_dir():
            shutil.rmtree(staged)


def _move(staged: Path, folder: Path) -> None:
    """Every file to its place, the manifest last; what no stage has on record any longer goes."""
    manifest = read_manifest(staged)
    recorded = _recorded(manifest)
    for left in sorted(_on_record(folder) - recorded):
        (folder / left).unlink(missing_ok=True)
    if "pretrain" not in manifest.stages:
        (folder / CARD).unlink(missing_ok=True)
    for path in (folder / "sites").glob("*"):
        if path.is_dir() and path.name not in manifest.sites:
            shutil.rmtree(path)
    touched = {folder}
    for path in sorted(staged.rglob("*")):
        target = folder / path.relative_to(staged)
        if path.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        elif path != staged / MANIFEST:
            path.replace(target)
        touched |= {target.parent}
    for path in touched:
        flush(path)
    (staged / MANIFEST).replace(folder / MANIFEST)
    flush(folder)
    if (folder / MODEL).is_dir() and not any((folder / MODEL).iterdir()):
        (folder / MODEL).rmdir()
    shutil.rmtree(staged, ignore_errors=True)


def _recorded(manifest: Manifest) -> set[str]:
    return {path for stage in manifest.stages.values() for path in stage.files}


def _on_record(folder: Path) -> set[str]:
    """The files of the manifest that lies in the study; none where it cannot be read."""
    try:
        return _recorded(read_manifest(folder))
    except UserError:
        return set()
