"""Whether the server is set up as its options say: where it is not, nobody is shown anything."""

from __future__ import annotations

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from dashboard import audit, opaque_ids, options, sign_in
from dashboard.options import Options
from ehrfm_core.errors import UserError


def ready() -> Options:
    """The options of this server, checked anew at every visit; UserError where one does not hold."""
    try:
        started = options.current()
    except SystemExit:  # --help has been printed
        if get_script_run_ctx(suppress_warning=True) is None:
            raise
        raise UserError("--help is for the terminal: `python dashboard/app.py --help`.") from None
    if started.view_only and (started.export_stays or not st.get_option("client.disableDataExport")):
        raise UserError(
            "--view-only excludes --export-stays and client.disableDataExport false: leave one of them out."
        )
    sign_in.check(started)
    opaque_ids.key(started)
    audit.check(started)
    return started
