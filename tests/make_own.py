"""A made study with one outcome of its user's own, which in all its figures is the ICU by another name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import polars as pl

from ehrfm_core.clif.outcome_file import OwnOutcome
from ehrfm_core.study import open_study
from ehrfm_core.study.files import sha256
from ehrfm_core.study.manifest import write_manifest
from tests.make_study import make_study

OWN = OwnOutcome("crrt", "Dialysis after 24 h", "First in crrt_therapy, *none* before.", file="outcomes")


def make_own_study(folder: Path, *, sites: Mapping[str, int] | None = None) -> Path:
    """Write it into `folder` and return it; `sites` as in `make_study`."""
    make_study(folder, sites=sites)
    manifest = open_study(folder).manifest
    for stage, done in manifest.stages.items():
        for path in done.files:
            if path.endswith(".parquet"):
                frame = pl.read_parquet(folder / path, glob=False)
                names = [name for name in frame.columns if "icu" in name]
                frame = frame.with_columns(
                    pl.col(name).alias(name.replace("icu", OWN.name)) for name in names
                )
                if "outcome" in frame.columns:
                    more = frame.filter(outcome="icu").with_columns(pl.lit(OWN.name).alias("outcome"))
                    frame = pl.concat([frame, more])
                frame.write_parquet(folder / path)
        hashes = {path: sha256(folder / path) for path in done.files}
        settings = done.settings | ({"outcomes": [OWN.to_json()]} if stage == "tokenize" else {})
        manifest.stages[stage] = replace(done, files=hashes, settings=settings)
    write_manifest(folder, manifest)
    return folder
