"""Whether single stays may be taken away: a setting of Streamlit's, off as it is shipped."""

from __future__ import annotations

import streamlit as st

from ehrfm_core.study import Study

HOW = "streamlit run dashboard/app.py --client.disableDataExport false -- --studies DIR"


def allowed() -> bool:
    """Whether this server lets rows of stays go, whatever the study."""
    return not st.get_option("client.disableDataExport")


def allowed_of(study: Study) -> bool:
    """Whether it lets those of a study go: synthetic patients always may."""
    return study.manifest.synthetic or allowed()
