"""How a study was made: stages with seeds, versions and settings, the hash of every file, packages."""

from __future__ import annotations

import polars as pl
import streamlit as st

from dashboard import notes, ui
from ehrfm_core.study import Study

_SHORT = 10  # hex digits of a fingerprint, as of the study's version
_STAGES = {"Stage": pl.String(), "Seed": pl.Int64(), "Program": pl.String(), "Fingerprint": pl.String()}


def draw(study: Study) -> None:
    """The section of the Methods page."""
    manifest = study.manifest
    ui.section(
        "How this study was made",
        f"Version {study.digest}, in {ui.plain(str(study.folder))}. `python -m train verify` checks "
        "every hash, and that the numbers follow from each other.",
    )
    ui.table(
        stages(study),
        height="content",
        alt="Stages that have run, with seed, version of the program, fingerprint and number of files",
        column_config={
            "Seed": st.column_config.NumberColumn(format="%d"),
            "Program": st.column_config.TextColumn(help="Version of this program that ran the stage"),
            "Fingerprint": st.column_config.TextColumn(
                help="Over settings and inputs: a stage is run again when it changes"
            ),
        },
    )
    st.caption(
        f"Format {manifest.format_version} · sites {', '.join(map(ui.plain, study.sites))}, source "
        f"{ui.plain(study.source)} · "
        + ("SYNTHETIC" if manifest.synthetic else "not marked as synthetic")
        + ". A stage without a seed draws nothing at random, or is of an earlier version."
    )
    for name, stage in manifest.stages.items():
        with st.expander(f"{name}: {ui.count(len(stage.files), 'file')}", icon=":material/inventory_2:"):
            if stage.notes:
                notes.draw(stage.notes)
            st.markdown("**Settings**")
            st.json(stage.settings, expanded=True)
            ui.table(
                pl.DataFrame({"File": list(stage.files), "SHA-256": list(stage.files.values())}),
                alt=f"Files of stage {name} with their hashes",
            )
    with st.expander("Packages", icon=":material/deployed_code:"):
        packages = manifest.packages
        ui.table(
            pl.DataFrame({"Package": list(packages), "Version": list(packages.values())}),
            alt="Versions of the packages that made the study",
        )


def stages(study: Study) -> pl.DataFrame:
    """One row a stage that has run: Stage, Seed, Program, Fingerprint, Files, Notes; null is unknown."""
    rows = []
    for name, stage in study.manifest.stages.items():
        seed, version = stage.settings.get("seed"), stage.settings.get("version")
        rows.append(
            (
                name,
                seed if isinstance(seed, int) else None,
                None if version is None else str(version),
                stage.fingerprint[:_SHORT],
                len(stage.files),
                len(stage.notes),
            )
        )
    return pl.DataFrame(rows, schema=_STAGES | {"Files": pl.Int64(), "Notes": pl.Int64()}, orient="row")
