"""Whether single stays may be taken away: off as it is shipped."""

from __future__ import annotations

import streamlit as st

from dashboard import options
from ehrfm_core.study import Study

HOW = "streamlit run dashboard/app.py -- --studies DIR --export-stays"


def allowed() -> bool:
    """Whether this server lets rows of stays go, whatever the study."""
    started = options.current()
    if started.view_only:
        return False
    return started.export_stays or not st.get_option("client.disableDataExport")


def allowed_of(study: Study) -> bool:
    """Whether it lets those of a study go: synthetic patients may, where anything may."""
    return allowed() or (study.manifest.synthetic and not options.current().view_only)
