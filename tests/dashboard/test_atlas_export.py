"""The stays as a Parquet file: all of a row, nobody beside the cohort, and only where they may leave."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
import streamlit as st

from dashboard import atlas_export, cohorts, patient_level, stamp
from ehrfm_core.cohorts import Region
from ehrfm_core.study import open_study
from tests.dashboard.test_cohorts import WHOLE_MAP, words
from tests.dashboard.test_pages import Open, fine, text

WOMEN = {"sex": ["Female", "female"]}


@pytest.fixture
def allowed() -> Iterator[None]:
    before = st.get_option("client.disableDataExport")
    st.config.set_option("client.disableDataExport", False)
    yield
    st.config.set_option("client.disableDataExport", before)


def labels(app: object) -> list[str]:
    return [e.proto.label for e in app.get("download_button") if "stay" in e.proto.label]  # type: ignore[attr-defined]


def test_the_file_has_a_row_a_stay_with_its_last_place_and_what_is_known(studies: Path) -> None:
    study = open_study(studies / "two")
    found = pl.read_parquet(io.BytesIO(atlas_export.parquet(study, None)))
    sizes = {site: len(study.site_table(site, "stays")) for site in study.sites}
    assert dict(found.group_by("site").len().rows()) == sizes
    assert {"hospitalization_id", "umap_x", "umap_y", "pca_x", "pca_y", *atlas_export.MEASURED} <= set(
        found.columns
    )
    assert {f"{prefix}{name}" for name in study.outcomes for prefix in ("", "counts_", "risk_")} <= set(
        found.columns
    )
    paths = study.site_table("ucmc", "paths")
    last = paths.filter(pl.col("hour") == pl.col("hour").max())
    both = found.filter(site="ucmc").join(last, on="hospitalization_id", how="inner")
    assert len(both) == len(last)
    for column in ("umap_x", "pca_y", "risk_death"):
        assert both[column].equals(both[f"{column}_right"])
    assert found[stamp.COLUMN].unique().to_list() == [stamp.WORD.lower()]
    assert "patient_id" not in found.columns


def test_a_cohort_is_its_members_and_named_in_the_file(studies: Path) -> None:
    study = open_study(studies / "two")
    women = cohorts.made_here(study, levels=WOMEN)
    content = atlas_export.parquet(study, women)
    found = pl.read_parquet(io.BytesIO(content))
    assert found["hospitalization_id"].sort().equals(cohorts.ids(study, women)["hospitalization_id"].sort())
    assert set(found["sex"]) <= set(WOMEN["sex"])
    about = pl.read_parquet_metadata(io.BytesIO(content))
    assert (about["study"], about["version"], about["cohort"]) == ("two", study.digest, women.text())


def test_synthetic_stays_may_leave_and_each_time_is_logged(
    studies: Path, open_page: Open, caplog: pytest.LogCaptureFixture
) -> None:
    study = open_study(studies / "two")
    link = words(study)
    app = open_page(studies, "map", b="two", a=link["women"], z=link["elsewhere"])
    fine(app)
    n = len(cohorts.ids(study, cohorts.decode(link["women"])))
    assert labels(app) == ["All 300 stays", f"Cohort A: {n} stays"], "B is of another map"
    logger = logging.getLogger(atlas_export.__name__)
    logger.addHandler(caplog.handler)
    atlas_export._made(study, cohorts.decode(link["women"]))()
    logger.removeHandler(caplog.handler)
    assert f"cohort {cohorts.decode(link['women']).id} of study two" in caplog.text


def test_real_stays_stay_and_the_page_says_how_that_is_changed(studies: Path, open_page: Open) -> None:
    app = open_page(studies, "map", b="one")
    fine(app)
    assert labels(app) == []
    assert "single stays do not leave it" in text(app)
    assert patient_level.HOW in text(app)


def test_real_stays_leave_where_the_server_lets_them(studies: Path, open_page: Open, allowed: None) -> None:
    app = open_page(studies, "map", b="one")
    fine(app)
    assert labels(app) == ["All 120 stays"]
    assert patient_level.HOW not in text(app)
    found = pl.read_parquet(io.BytesIO(atlas_export.parquet(open_study(studies / "one"), None)))
    assert stamp.COLUMN not in found.columns


def test_a_study_before_its_evaluation_has_places_and_no_risks(studies: Path) -> None:
    study = open_study(studies / "unevaluated")
    found = atlas_export.table(study, cohorts.made_here(study, regions=(Region("pca", WHOLE_MAP, "any"),)))
    assert len(found)
    assert found["risk_death"].null_count() == len(found)
    assert found["pca_x"].null_count() < len(found)
