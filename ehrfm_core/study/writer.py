"""Write a study stage by stage; a finished stage whose inputs have not changed is not run again."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ehrfm_core.errors import UserError
from ehrfm_core.study.files import fingerprint, sha256
from ehrfm_core.study.layout import LOG, MANIFEST, STAGES
from ehrfm_core.study.manifest import Manifest, Stage, read_manifest, write_manifest

PACKAGES = ("torch", "transformers", "scikit-learn", "umap-learn", "polars", "numpy", "clifpy")
SITE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")


@dataclass
class StageResult:
    """What a stage leaves: relative paths written, notes for the reader, key figures."""

    files: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)


def create_or_open(folder: Path, *, sites: Sequence[str], source: str, synthetic: bool) -> Manifest:
    """Open the study in `folder` for writing, or begin one in a new or empty folder.

    A study whose sites or source differ from these begins anew: the tables of sites that are no longer in it
    go at once, its other files stay until they are replaced.
    Raises UserError where the folder holds something else or a name cannot be a folder's name.
    """
    for name in sites:
        if not SITE_NAME.fullmatch(name):
            raise UserError(f"{name!r} cannot be a site's name: use letters, digits, - and _, at most 40.")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; give a new or empty folder for the study.")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MANIFEST).is_file():
        raise UserError(
            f"{folder} holds files but no {MANIFEST}, so it is not a study; give a new or empty folder."
        )
    if (folder / MANIFEST).is_file():
        manifest = read_manifest(folder)
        if manifest.sites == list(sites) and manifest.source == source and manifest.synthetic == synthetic:
            return manifest
        for name in set(manifest.sites) - set(sites):
            if SITE_NAME.fullmatch(name):
                shutil.rmtree(folder / "sites" / name, ignore_errors=True)
    manifest = Manifest(source=source, sites=list(sites), synthetic=synthetic)
    write_manifest(folder, manifest)
    return manifest


def inputs_of(manifest: Manifest, stage: str) -> dict[str, str]:
    """Hashes of every file that the stages before this one wrote; UserError where one has not run."""
    before = STAGES[: STAGES.index(stage)]
    missing = [name for name in before if name not in manifest.stages]
    if missing:
        raise UserError(f"The stage {missing[0]} has not run: run `python -m train {missing[0]}` first.")
    return {path: sha for name in before for path, sha in manifest.stages[name].files.items()}


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
    """Record a finished stage; later stages count as not run, since their inputs may have changed.

    `run` (date, seconds, memory) goes to the log and not to the manifest, which is the same for the same
    data, settings and seed.
    """
    files = {path: sha256(folder / path) for path in sorted(result.files)}
    manifest.stages[stage] = Stage(
        fingerprint([settings, inputs]), settings, files, result.notes, result.summary
    )
    for later in STAGES[STAGES.index(stage) + 1 :]:
        manifest.stages.pop(later, None)
    manifest.packages = _versions()
    write_manifest(folder, manifest)
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
