"""Part of the page Map: the stays as one Parquet file, for Embedding Atlas and other tools."""

from __future__ import annotations

import io
from collections.abc import Callable

import polars as pl
import streamlit as st
from streamlit.logger import get_logger

from dashboard import cohorts, data, patient_level, stamp, ui
from ehrfm_core.cohorts import Cohort
from ehrfm_core.study import Study

ID = "hospitalization_id"
MIME = "application/vnd.apache.parquet"
MEASURED = ("path_length", "event_max_jump", "anomaly_score", "n_tokens", "age", "sex")
_LOG = get_logger(__name__)


def draw(study: Study) -> None:
    """A button for everyone and for each cohort; where single stays may not leave, how that is changed."""
    with st.expander("Take the stays to other tools", icon=":material/table:"):
        if not patient_level.allowed_of(study):
            st.markdown(
                "A row a stay, with its place on both maps, outcomes and risks, for Embedding Atlas and "
                "other tools. **As this server is set up, single stays do not leave it.** Where they may, "
                "start it with:"
            )
            st.code(patient_level.HOW, language="bash", wrap_lines=True)
            return
        whose: dict[str, Cohort | None] = {"all": None}
        whose |= {side: made for side in cohorts.SIDES if (made := cohorts.usable(study, side)) is not None}
        for place, (name, cohort) in zip(st.columns(3, gap="medium"), whose.items(), strict=False):
            with place:
                n = len(cohorts.everyone(study) if cohort is None else cohorts.ids(study, cohort))
                who = "All" if cohort is None else f"Cohort {name.upper()}:"
                ui.download(
                    f"{who} {ui.count(n, 'stay')}",
                    _made(study, cohort),
                    name=f"stays_{name if cohort is None else cohort.id}",
                    ending="parquet",
                    mime=MIME,
                )
        st.caption(
            "One row a stay: its place on both maps at the end of the window, outcomes (and whether it "
            "counts for each), the probe's risks, path length, largest jump at an event, anomaly score, "
            "tokens, age and sex. Then, on your own machine:"
        )
        st.code("embedding-atlas FILE.parquet --x umap_x --y umap_y", language="bash", wrap_lines=True)


def table(study: Study, cohort: Cohort | None) -> pl.DataFrame:
    """One row a stay of every site, members only where there is a cohort.

    Columns: hospitalization_id, site, <map>_x and <map>_y at the last hour of the window (null without a
    state), each outcome, counts_<outcome> and risk_<outcome>, and `MEASURED`; a synthetic study's last column
    says so in every row.
    """
    stays = cohorts.everyone(study) if cohort is None else cohorts.stays(study, cohort)
    places = [f"{kind}_{axis}" for kind in ("umap", "pca") for axis in "xy"]
    ends = pl.concat(
        data.paths(study, site)
        .filter(pl.col("hour") == pl.col("hour").max())
        .unique(ID, keep="first")
        .select(pl.lit(site).alias("site"), ID, *places)
        for site in study.sites
    )
    told = [f"{prefix}{name}" for name in study.outcomes for prefix in ("", "counts_", "risk_")]
    frame = stays.join(ends, on=["site", ID], how="left", maintain_order="left").select(
        ID, "site", *places, *told, *MEASURED
    )
    return stamp.on_table(frame) if study.manifest.synthetic else frame


def parquet(study: Study, cohort: Cohort | None) -> bytes:
    """`table` as a Parquet file that names study, version and cohort in its metadata."""
    about = {"study": study.name, "version": study.digest, "cohort": "" if cohort is None else cohort.text()}
    file = io.BytesIO()
    table(study, cohort).write_parquet(file, metadata=about)
    return file.getvalue()


def _made(study: Study, cohort: Cohort | None) -> Callable[[], bytes]:
    """Makes the file when the button is pressed, and leaves a line in the server's log."""

    def make() -> bytes:
        content = parquet(study, cohort)
        whose = "all stays" if cohort is None else f"cohort {cohort.id}"
        _LOG.info("Stays taken away: %s of study %s, version %s", whose, study.name, study.digest)
        return content

    return make
