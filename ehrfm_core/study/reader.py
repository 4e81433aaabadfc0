"""Read a study: every file checked against its hash and the contract, every error one sentence."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ehrfm_core.errors import UserError
from ehrfm_core.outcomes import Outcome, with_own
from ehrfm_core.parquet_size import check_size
from ehrfm_core.study.files import fingerprint, known_sha256, read_json
from ehrfm_core.study.layout import (
    MANIFEST,
    MAPS,
    MODEL,
    MORE_RESULT_FILES,
    RESULT_FILES,
    TOKENIZER,
    Schema,
    result_file,
    site_file,
    site_schema,
)
from ehrfm_core.study.manifest import Manifest, read_manifest
from ehrfm_core.study.maps_json import wrong_part
from ehrfm_core.tokens.tokenizer import Tokenizer


@dataclass(frozen=True)
class Study:
    """A study opened for reading. Frames are read when asked for and never joined by position."""

    folder: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def sites(self) -> list[str]:
        """Names of the sites, source first."""
        rest = [site for site in self.manifest.sites if site != self.source]
        return [self.source, *rest]

    @property
    def source(self) -> str:
        """The site whose training split everything was fitted on."""
        return self.manifest.source

    @property
    def outcomes(self) -> dict[str, Outcome]:
        """The paper's outcomes, then those that the study's user has defined, by name."""
        done = self.manifest.stages.get("tokenize")
        return with_own(done.settings.get("outcomes", []) if done else [])

    @property
    def digest(self) -> str:
        """First ten hex digits over all file hashes: names this version of the study (cache keys)."""
        files = {path: sha for stage in self.manifest.stages.values() for path, sha in stage.files.items()}
        return fingerprint(files)[:10]

    def has(self, stage: str) -> bool:
        """Whether a stage (tokenize, pretrain, embed, evaluate) has finished."""
        return stage in self.manifest.stages

    def site_table(self, site: str, name: str) -> pl.DataFrame:
        """A site's table by name (see layout.SITE_FILES and MORE_SITE_FILES)."""
        if site not in self.manifest.sites:
            raise UserError(
                f"Study {self.name} has no site {site!r}; it has {', '.join(self.manifest.sites)}."
            )
        return self._read(site_file(site, name), site_schema(name, self.outcomes))

    def result(self, name: str) -> pl.DataFrame:
        """A result table: metrics, predictions, … (see layout.RESULT_FILES and MORE_RESULT_FILES)."""
        return self._read(result_file(name), (RESULT_FILES | MORE_RESULT_FILES)[name])

    def states(self, site: str) -> tuple[list[str], np.ndarray]:
        """Ids (n) and 24 h representations (n × hidden size, float32) of a site, in the same order."""
        frame = self.site_table(site, "states")
        return frame["hospitalization_id"].to_list(), frame["state"].to_numpy()

    def tokenizer(self) -> dict[str, Any]:
        """The content of `tokenizer.json`."""
        value: dict[str, Any] = read_json(self.file(TOKENIZER))
        Tokenizer.from_json(value)  # a UserError where it is none
        return value

    def maps(self) -> dict[str, Any]:
        """Axis ranges, parameters and quality of the two maps (`results/maps.json`)."""
        value: dict[str, Any] = read_json(self.file(MAPS))
        if wrong := wrong_part(value):
            raise UserError(
                f"{self.folder / MAPS}: {wrong} is missing or of another kind; run "
                f"`python -m train embed {self.folder}` again."
            )
        return value

    def model(self) -> Path:
        """The folder of the checkpoint."""
        done = self.manifest.stages.get("pretrain")
        for relative in done.files if done else ():
            self.file(relative)
        return self.folder / MODEL

    def file(self, relative: str) -> Path:
        """A file of the study, which is as it was written: its hash is that of the manifest.

        Hashed at the first reading, and again where size or time of the file has changed. Raises UserError
        where it is missing, was changed, or comes from another run.
        """
        path = self.folder / relative
        recorded = [sha for stage in self.manifest.stages.values() if (sha := stage.files.get(relative))]
        if not path.is_file():
            raise UserError(
                f"{path} is missing: the stage that writes it has not run. "
                f"Run `python -m train study {self.folder}` again."
            )
        if not recorded:
            raise UserError(
                f"{path} belongs to no finished stage of this study. Run `python -m train study "
                f"{self.folder}` again."
            )
        if known_sha256(path) != recorded[-1]:
            raise UserError(
                f"{path} is not as it was written: its hash differs from {MANIFEST}. Run `python -m train "
                f"study {self.folder}` again, which makes it anew, or copy it again from where it is whole."
            )
        return path

    def _read(self, relative: str, schema: Schema) -> pl.DataFrame:
        path = self.file(relative)
        check_size(path)
        try:
            frame = pl.read_parquet(path, glob=False)  # a folder may be called [a]
        except (pl.exceptions.PolarsError, OSError) as error:
            raise UserError(
                f"{path} is not readable as parquet ({str(error)[:80]}); make the study again."
            ) from None
        wrong = [column for column, dtype in schema.items() if frame.schema.get(column) != dtype]
        if wrong:
            raise UserError(
                f"{path}: column {wrong[0]!r} is missing or has another type; make the study again."
            )
        return frame


def open_study(folder: Path | str) -> Study:
    """Open the study in `folder`; a UserError says what is wrong with it."""
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder} does not exist or is not a folder.")
    check_links(folder)
    return Study(folder, read_manifest(folder))


def check_links(folder: Path) -> None:
    """Raise UserError where a symbolic link within a study leads out of it: its files would be another's."""
    home = folder.resolve()
    for place, folders, files in os.walk(folder):
        for path in (Path(place, name) for name in (*folders, *files)):
            if path.is_symlink() and not path.resolve().is_relative_to(home):
                raise UserError(
                    f"{path} is a symbolic link that leads out of the study; put the file itself there."
                )


def list_studies(folder: Path | str) -> dict[str, Study | UserError]:
    """Every study directly inside `folder` (or `folder` itself), by name; broken ones as their error."""
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder} does not exist or is not a folder: --studies needs a folder of studies.")
    if (folder / MANIFEST).is_file():
        candidates = [folder]
    else:
        candidates = sorted(path.parent for path in folder.glob(f"*/{MANIFEST}"))
    found: dict[str, Study | UserError] = {}
    for candidate in candidates:
        try:
            if not candidate.resolve().is_relative_to(folder.resolve()):
                raise UserError(
                    f"{candidate} is a symbolic link that leads out of {folder}; put the study itself "
                    "there, or give --studies the folder in which it lies."
                )
            found[candidate.name] = open_study(candidate)
        except UserError as error:
            found[candidate.name] = error
    return found
