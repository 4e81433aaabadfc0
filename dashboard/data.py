"""Reading studies for the screen, with caching.

Cache keys are names and the study's digest, never arrays or frames: Streamlit hashes large ones by a
sample, so that a changed array can return a stale result.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import streamlit as st

from dashboard import opaque_ids, options, state, untold
from ehrfm_core import study as on_disk
from ehrfm_core.errors import UserError
from ehrfm_core.outcomes import Outcome
from ehrfm_core.small_cells import unsafe
from ehrfm_core.study import Study
from ehrfm_core.study.layout import MANIFEST, RUN, RUN_CURVE, result_file, site_file
from ehrfm_core.study.runs import Run, read_run


def studies_folder() -> Path:
    """The folder after `--studies` on the command line; the bundled studies without it."""
    return options.current().studies


def open_study(folder: Path | str) -> Study:
    """The study in `folder` as this server shows it: with opaque ids where it has a key for them."""
    return opaque_ids.hidden(on_disk.open_study(folder), options.current())


def studies(folder: Path) -> dict[str, Study | UserError]:
    """Every study in `folder`, by name; read again only when a manifest has changed on disk."""
    paths = [folder / MANIFEST, *sorted(folder.glob(f"*/{MANIFEST}"))]
    stamp = "|".join(f"{path}:{path.stat().st_mtime_ns}" for path in paths if path.is_file())
    found, started = _studies(str(folder), stamp), options.current()
    return {
        name: opaque_ids.hidden(study, started) if isinstance(study, Study) else study
        for name, study in found.items()
    }


def current_study() -> Study:
    """The study chosen in the sidebar."""
    study = studies(studies_folder())[st.session_state[state.STUDY]]
    if isinstance(study, UserError):
        raise study
    return study


@st.cache_resource(max_entries=8, show_spinner=False)
def _studies(folder: str, stamp: str) -> dict[str, Study | UserError]:
    return on_disk.list_studies(folder)


@st.cache_resource(max_entries=96, show_spinner="Reading the study …")
def _site_table(folder: str, digest: str, site: str, name: str) -> pl.DataFrame:
    return open_study(folder).site_table(site, name)


@st.cache_resource(max_entries=24, show_spinner="Reading the results …")
def _result(folder: str, digest: str, name: str) -> pl.DataFrame:
    study = open_study(folder)
    table = study.result(name)
    if name == "metrics":
        return untold.shares(table)
    if name == "decision_curves":
        return untold.net_benefit(table, study.result("metrics"))
    return untold.flagged(table) if name == "outliers" else table


@st.cache_resource(max_entries=8, show_spinner=False)
def _json(folder: str, digest: str, name: str) -> dict[str, Any]:
    study = open_study(folder)
    return study.maps() if name == "maps" else study.tokenizer()


@st.cache_resource(max_entries=32, show_spinner="Reading the study …")
def _paths(folder: str, digest: str, site: str) -> pl.DataFrame:
    study = open_study(folder)
    if study.has("evaluate"):
        return study.site_table(site, "paths")
    nothing = (pl.lit(None, pl.Float32).alias(f"risk_{name}") for name in study.outcomes)
    return study.site_table(site, "hourly").drop("state").with_columns(nothing)


@st.cache_resource(max_entries=32, show_spinner=False)
def _stays(folder: str, digest: str, site: str) -> pl.DataFrame:
    study = open_study(folder)
    stays = _site_table(folder, digest, site, "stays").with_columns(
        outcome.counts().alias(f"counts_{outcome.name}") for outcome in study.outcomes.values()
    )
    if not study.has("embed"):
        return stays
    paths = _paths(folder, digest, site)
    last = paths.filter(pl.col("hour") == pl.col("hour").max()).select(
        "hospitalization_id", *(f"risk_{name}" for name in study.outcomes)
    )
    dynamics = _site_table(folder, digest, site, "dynamics")
    key = "hospitalization_id"
    return stays.join(dynamics, on=key, how="left", maintain_order="left").join(
        last.unique(key, keep="first"), on=key, how="left", maintain_order="left"
    )


@st.cache_resource(max_entries=64, show_spinner=False)
def _run(folder: str, stamp: str) -> Run | None:
    return read_run(open_study(folder))


def site_table(study: Study, site: str, name: str) -> pl.DataFrame:
    """A table of a site as it lies on disk."""
    return _site_table(str(study.folder), study.digest, site, name)


def told_first(study: Study) -> list[str]:
    """The outcomes, those first whose figures every hospital's test split can show, and last the empty ones.

    A study then opens on curves, where it has an outcome with events enough for them.
    """
    if not study.has("tokenize"):
        return list(study.outcomes)
    try:
        return _told_first(str(study.folder), study.digest)
    except UserError:  # the page says what is wrong with the file
        return list(study.outcomes)


@st.cache_resource(max_entries=32, show_spinner=False)
def _told_first(folder: str, digest: str) -> list[str]:
    study = open_study(folder)
    frames = [site_table(study, site, "stays") for site in study.sites]
    tested = [frame.filter(pl.col("split") == "test") for frame in frames]

    def rank(name: str) -> tuple[bool, bool]:
        outcome = study.outcomes[name]
        empty = not any(len(_happened(frame, outcome)) for frame in frames)
        happened = [_happened(frame, outcome) for frame in tested]
        few = any(not 0 < one.sum() < len(one) or unsafe(int(one.sum()), len(one)) for one in happened)
        return empty, few

    return sorted(study.outcomes, key=rank)


def _happened(stays: pl.DataFrame, outcome: Outcome) -> pl.Series:
    """Whether it happened, of the stays that count."""
    return stays.filter(outcome.counts())[outcome.name]


def paths(study: Study, site: str) -> pl.DataFrame:
    """One row a stay and hour: map coordinates and risks; all risks are null before the evaluate stage."""
    return _paths(str(study.folder), study.digest, site)


def stays(study: Study, site: str) -> pl.DataFrame:
    """One row a stay: `stays`, `dynamics` and the risks at the end of the window, joined by id.

    `counts_<outcome>` is true where the stay counts for the outcome. Without the embed stage the columns of
    `dynamics` and the risks are not there.
    """
    return _stays(str(study.folder), study.digest, site)


def held_out(study: Study, site: str, outcome: str | None = None) -> pl.DataFrame:
    """The test split of `stays`; with an outcome only those that count for it."""
    frame = stays(study, site).filter(pl.col("split") == "test")
    return frame if outcome is None else frame.filter(pl.col(f"counts_{outcome}"))


def later(study: Study, site: str, stay: str) -> pl.DataFrame | None:
    """The hours of one stay after the window (`later.parquet`), by hour; None where the study has none.

    Only this stay's rows are read: whole stays of a hospital are too many to be kept.
    """
    name = site_file(site, "later")
    if not any(name in stage.files for stage in study.manifest.stages.values()):
        return None
    own = _own_id(study, site, stay)
    try:
        columns = ["hour", "step", *(f"risk_{outcome}" for outcome in study.outcomes)]
        rows = pl.scan_parquet(study.file(name), glob=False).filter(pl.col("hospitalization_id") == own)
        return rows.select(columns).sort("hour").collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{study.folder / name} is not readable as parquet ({str(error)[:80]}).") from None


def _own_id(study: Study, site: str, stay: str) -> str:
    """The id by which the files know a stay."""
    if not isinstance(study, opaque_ids.OpaqueStudy):
        return stay
    return str(_own_ids(str(study.folder), study.digest, site).filter(opaque=stay)["own"].item())


@st.cache_resource(max_entries=16, show_spinner=False)
def _own_ids(folder: str, digest: str, site: str) -> pl.DataFrame:
    study = open_study(folder)
    assert isinstance(study, opaque_ids.OpaqueStudy), "asked for where there is a key"
    return study.own_ids(site)


def result(study: Study, name: str) -> pl.DataFrame:
    """A result table (see layout.RESULT_FILES), without what would tell small cells (see `untold`)."""
    return _result(str(study.folder), study.digest, name)


def has_result(study: Study, name: str) -> bool:
    """Whether the study holds a result table; those evaluated by an older version lack some."""
    return result_file(name) in study.manifest.stages["evaluate"].files


def maps(study: Study) -> dict[str, Any]:
    """`results/maps.json`."""
    return _json(str(study.folder), study.digest, "maps")


def tokenizer(study: Study) -> dict[str, Any]:
    """`tokenizer.json`."""
    return _json(str(study.folder), study.digest, "tokenizer")


def run(study: Study) -> Run | None:
    """How the study's model was trained; read again when the run has written more."""
    stamp = []
    for path in (study.folder / name for name in (MANIFEST, RUN, RUN_CURVE)):
        try:
            stat = path.stat()
            stamp.append(f"{stat.st_mtime_ns}:{stat.st_size}")
        except OSError:
            stamp.append("")
    return _run(str(study.folder), "|".join(stamp))
