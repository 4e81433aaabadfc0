"""`study.json`: what a study is, how it was made, and the hash of every file, stage by stage."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from ehrfm_core.clif.outcome_file import FILE, LABEL, MARKUP, NAME, TAKEN
from ehrfm_core.errors import UserError, brief
from ehrfm_core.study.files import fingerprint, read_json, write_json
from ehrfm_core.study.layout import ALL_STAGES, FORMAT_VERSION, MANIFEST, SITE_NAME

MOST_SITES = 200
SEAL = "sha256"  # of everything else in the file


@dataclass
class Stage:
    """One finished stage.

    `fingerprint` covers its settings and inputs, `files` maps each file written to its sha256,
    `notes` are sentences a reader of the results must know, `summary` holds its key figures.
    """

    fingerprint: str
    settings: dict[str, Any]
    files: dict[str, str]
    notes: list[str] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)


@dataclass
class Manifest:
    """The content of `study.json`."""

    source: str
    sites: list[str]
    synthetic: bool = False
    packages: dict[str, str] = field(default_factory=dict)
    stages: dict[str, Stage] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    @property
    def notes(self) -> list[str]:
        """Every note of every stage, in order."""
        return [note for stage in self.stages.values() for note in stage.notes]


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `study.json` into the study's folder, its own hash at its end."""
    value: dict[str, Any] = json.loads(json.dumps(asdict(manifest)))  # as it will be read
    value = {"format_version": value.pop("format_version")} | value
    write_json(folder / MANIFEST, value | {SEAL: fingerprint(value)}, lasting=True)


def read_manifest(folder: Path) -> Manifest:
    """Read `study.json`.

    Raises UserError where the file is missing, broken, or of another format version.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise UserError(
            f"{folder} is not a study: it holds no {MANIFEST}. Give a new or empty folder to make one, "
            "or the folder of a study."
        )
    value = read_json(path)
    version = value.get("format_version") if isinstance(value, dict) else None
    if version != FORMAT_VERSION:
        newer = isinstance(version, int) and version > FORMAT_VERSION
        way_out = (
            "open it with the version that wrote it, or a newer one"
            if newer
            else "make the study again in a new folder with `python -m train study`, or open it with the "
            "version that wrote it"
        )
        raise UserError(
            f"{path} has format version {repr(version)[:40]}, this program reads {FORMAT_VERSION}: {way_out}."
        )
    seal = value.pop(SEAL, None)  # of studies made before there was one, nothing is known
    if seal is not None and seal != fingerprint(value):
        raise UserError(
            f"{path} is not as it was written: its content differs from its own hash. Copy it again from "
            "where it is whole, or delete it and make the study again."
        )
    try:
        stages = {name: Stage(**stage) for name, stage in value.pop("stages").items()}
        manifest = Manifest(**value, stages=stages)
        _check(manifest)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(
            f"{path} is not a complete manifest ({brief(error)}); make the study again."
        ) from None
    return manifest


def _check(manifest: Manifest) -> None:
    """Raise ValueError or TypeError where a part has another type or a path leaves the study's folder."""
    if not (isinstance(manifest.sites, list) and manifest.source in manifest.sites):
        raise ValueError("the source is none of its sites")
    if bad := [name for name in manifest.sites if not SITE_NAME.fullmatch(name)]:
        raise ValueError(f"{bad[0][:60]!r} cannot be a site's name")
    if len(set(manifest.sites)) < len(manifest.sites) or len(manifest.sites) > MOST_SITES:
        raise ValueError(f"a site stands twice, or there are more than {MOST_SITES}")
    if not isinstance(manifest.synthetic, bool):
        raise ValueError("`synthetic` is neither true nor false")
    if not (isinstance(manifest.packages, dict) and _all_text(manifest.packages.values())):
        raise ValueError("`packages` are no versions")
    for name, stage in manifest.stages.items():
        parts = (stage.settings, stage.files, stage.summary)
        whole = all(isinstance(part, dict) for part in parts) and isinstance(stage.notes, list)
        if name not in ALL_STAGES or not whole or not isinstance(stage.fingerprint, str):
            raise ValueError(f"stage {name[:60]!r} is not whole")
        if not (_all_text(stage.files.values()) and _all_text(stage.notes)):
            raise ValueError(f"files or notes of stage {name!r} are not text")
        if any(_leaves(path) for path in stage.files):
            raise ValueError(f"stage {name!r} names a file outside the study")
    if done := manifest.stages.get("tokenize"):
        _check_outcomes(done.settings.get("outcomes", []))


def _all_text(values: Iterable[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


def _leaves(path: str) -> bool:
    return "\0" in path or "\\" in path or PurePosixPath(path).is_absolute() or ".." in path.split("/")


def _check_outcomes(outcomes: Any) -> None:
    """Outcomes of the user's own, as `outcome_file` would have let them pass."""
    if not isinstance(outcomes, list):
        raise ValueError("`outcomes` is no list")
    for own in outcomes:
        name, label, definition = (own[key] for key in ("name", "label", "definition"))
        if not _all_text((name, label, definition)) or not NAME.fullmatch(name) or name in TAKEN:
            raise ValueError("an outcome has no name, label and definition that can be shown")
        if MARKUP.search(label) or len(label) > LABEL or not label.strip() or not label.isprintable():
            raise ValueError(f"the outcome {name!r} has a label that cannot stand on a page")
        if any(not FILE.fullmatch(own.get(key) or "none") for key in ("table", "file")):
            raise ValueError(f"the outcome {name!r} is read from a file that is none of the site's folder")
    names = [own["name"] for own in outcomes]
    if len(set(names)) < len(names):
        raise ValueError("two outcomes have the same name")
