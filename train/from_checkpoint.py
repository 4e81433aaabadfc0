"""`--from`: the checkpoint that training goes on from, and whether it is the one the tokens came from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ehrfm_core.errors import UserError
from ehrfm_core.study.files import sha256
from ehrfm_core.study.layout import TOKENIZER, WEIGHTS
from ehrfm_core.study.manifest import Manifest, read_manifest


@dataclass(frozen=True)
class Checkpoint:
    """The model of a first study. `folder` and `size` are None where --from does not say where it is."""

    name: str
    model_sha256: str
    synthetic: bool  # whether it has seen synthetic data
    folder: Path | None = None
    size: str | None = None

    @property
    def recorded(self) -> dict[str, str]:
        """What a study made from it keeps of it."""
        return {"name": self.name, "model_sha256": self.model_sha256}


def find_checkpoint(manifest: Manifest, start_from: Path | None) -> Checkpoint | None:
    """The checkpoint that the model of this study begins as; None for a random start.

    Which one that is, the tokens say: `tokenize` recorded the study that they came from. Raises UserError
    where --from names another study, or one that has changed since.
    """
    tokenized = manifest.stages.get("tokenize")
    made: dict[str, Any] | None = tokenized.settings.get("from") if tokenized else None
    if start_from is None:
        return Checkpoint(made["name"], made["model_sha256"], made["synthetic"]) if made else None
    first = read_manifest(start_from)
    trained = first.stages.get("pretrain")
    if trained is None:
        raise UserError(f"--from {start_from}: its model has not been trained; finish that study first.")
    if made is None:
        raise UserError(
            f"--from {start_from}: the tokens of this study are not those of that one; tokenize with --from "
            "as well, or run `study`, which does."
        )
    for path, key, other in (
        (TOKENIZER, "tokenizer_sha256", "its tokens are not those"),
        (WEIGHTS, "model_sha256", "its model is not the one"),
    ):
        file = start_from / path
        if not file.is_file() or sha256(file) != made[key]:
            raise UserError(
                f"--from {start_from}: {other} of study {made['name']} when this study was tokenized from "
                "it; name that one, or tokenize again with this --from."
            )
    size = trained.settings.get("size", "tiny")
    return Checkpoint(made["name"], made["model_sha256"], made["synthetic"], start_from, size)
