"""Write a study stage by stage; a finished stage whose inputs have not changed is not run again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ehrfm_core.errors import UserError
from ehrfm_core.study.files import fingerprint, sha256
from ehrfm_core.study.layout import ALL_STAGES, LOCK, LOG, MANIFEST, SITE_NAME, TOKENIZER
from ehrfm_core.study.manifest import Manifest, Stage, read_manifest, write_manifest
from ehrfm_core.study.staging import commit, staged_folder

PACKAGES = ("torch", "transformers", "scikit-learn", "umap-learn", "polars", "numpy", "clifpy")


@dataclass
class StageResult:
    """What a stage leaves: relative paths written, notes for the reader, key figures."""

    files: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)


def create_or_open(folder: Path, *, sites: Sequence[str], source: str, synthetic: bool) -> Manifest:
    """Open the study in `folder` for writing, or begin one in a new or empty folder.

    Nothing of an existing study changes here: sites may be added to it or taken from it, and what that makes
    stale goes when the tokenize stage has finished (`finish`).
    Raises UserError where the folder holds something else, a study of other hospitals altogether, or a
    name cannot be a folder's name.
    """
    for name in sites:
        if not SITE_NAME.fullmatch(name):
            raise UserError(f"{name!r} cannot be a site's name: use letters, digits, - and _, at most 40.")
    if (folder.exists() or folder.is_symlink()) and not folder.is_dir():
        raise UserError(f"{folder} is not a folder; give a new or empty folder for the study.")
    if (folder / MANIFEST).is_file():
        manifest = read_manifest(folder)
        if not set(manifest.sites) & set(sites):
            raise UserError(
                f"{folder} is a study of {', '.join(manifest.sites)}, not of {', '.join(sites)}; "
                "give another folder."
            )
        if set(manifest.sites) != set(sites):
            manifest.sites = list(sites)
        manifest.source = source
        if manifest.synthetic != synthetic:
            write_manifest(folder, replace(read_manifest(folder), synthetic=synthetic))
            manifest.synthetic = synthetic
        return manifest
    files = list(folder.iterdir()) if folder.is_dir() else []
    held = [path for path in files if path.name != LOCK and not path.name.endswith(".partial")]
    if held:
        raise UserError(
            f"{folder} holds {held[0].name} but no {MANIFEST}: it is not a study; give a new or empty folder."
        )
    manifest = Manifest(source=source, sites=list(sites), synthetic=synthetic)
    write_manifest(folder, manifest)
    return manifest


def inputs_of(folder: Path, manifest: Manifest, stage: str) -> dict[str, str]:
    """Hashes of the files that a stage reads, checked against the disk.

    Pretraining reads the tokenizer and the source's tables; every later stage reads all that came before.
    Raises UserError where an earlier stage has not run or a file is not as it was written.
    """
    for name in ALL_STAGES[: ALL_STAGES.index(stage)]:
        if name not in manifest.stages:
            raise UserError(f"The stage {name} has not run: run `python -m train {name}` first.")
    inputs = _inputs(manifest, stage)
    for path, sha in inputs.items():
        if not (folder / path).is_file() or sha256(folder / path) != sha:
            raise UserError(
                f"{folder / path} is missing or not as it was written; run `python -m train study` again, "
                "which makes it anew."
            )
    return inputs


def _inputs(manifest: Manifest, stage: str) -> dict[str, str]:
    before = ALL_STAGES[: ALL_STAGES.index(stage)]
    files = {
        path: sha
        for name in before
        if name in manifest.stages
        for path, sha in manifest.stages[name].files.items()
    }
    if stage != "pretrain":
        return files
    own = f"sites/{manifest.source}/"
    return {path: sha for path, sha in files.items() if path == TOKENIZER or path.startswith(own)}


def is_current(folder: Path, manifest: Manifest, stage: str, settings: dict[str, Any], inputs: Any) -> bool:
    """Whether a stage is finished with these settings and inputs and its files are as it wrote them."""
    done = manifest.stages.get(stage)
    if done is None or done.fingerprint != fingerprint([settings, inputs]):
        return False
    return all((folder / path).is_file() and sha256(folder / path) == sha for path, sha in done.files.items())


def finish(
    folder: Path,
    manifest: Manifest,
    stage: str,
    settings: dict[str, Any],
    inputs: Any,
    result: StageResult,
    *,
    run: dict[str, Any],
) -> None:
    """Record a finished stage; later stages stay finished where what they read has not changed.

    What was staged (`staging`) becomes the study at once, and files that no stage has on record any longer go
    with it. `run` (date, seconds, memory) goes to the log and not to the manifest, which is the same for the
    same data, settings and seed.
    """
    staged = staged_folder(folder, stage)
    files = {path: sha256(staged / path) for path in sorted(result.files)}
    manifest.stages[stage] = Stage(
        fingerprint([settings, inputs]), settings, files, result.notes, result.summary
    )
    stale = False
    for later in ALL_STAGES[ALL_STAGES.index(stage) + 1 :]:
        done = manifest.stages.get(later)
        stale |= done is None or done.fingerprint != fingerprint([done.settings, _inputs(manifest, later)])
        if stale:
            manifest.stages.pop(later, None)
    manifest.packages = _versions()
    commit(folder, stage, manifest)
    with (folder / LOG).open("a", encoding="utf-8") as log:
        log.write(json.dumps({"stage": stage, **run}) + "\n")


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
