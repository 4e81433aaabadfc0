"""The audit log: a line of JSON for each visit, view and export, appended to the file `--audit-log` names.

A line says who, when and which page or file of which study: names that people gave to studies and pages,
never a stay, a cohort's rule or a value. Where a line cannot be written, nothing is shown and nothing leaves.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import streamlit as st

from dashboard import options
from dashboard.options import Options, outside_studies
from ehrfm_core.errors import UserError

_LAST = "audited"  # in the session: what was last written of it
_WHO = "who"
_MOST = 200  # characters of a name


def check(started: Options) -> None:
    """Raise UserError where there is to be a log and it cannot be written, or would not be complete."""
    if started.audit_log is None:
        return
    if not st.get_option("client.disableDataExport"):
        raise UserError(
            "--audit-log and client.disableDataExport false exclude each other: the tables' own CSV is made "
            "in the browser and would leave no line. Give --export-stays in its place."
        )
    path = outside_studies(started.audit_log, started, option="--audit-log")
    try:
        os.close(_open(path))
    except OSError as error:
        raise UserError(f"--audit-log {path} cannot be written ({error.strerror}).") from None


def opened(who: str | None, *, subject: str | None = None) -> None:
    """Keep who is before the screen, None where nobody signs in; a line where that has changed.

    `subject` is what the provider knows the person by, whatever the name may become.
    """
    before = st.session_state.get(_WHO)
    st.session_state[_WHO] = who
    if who is not None and who != before and options.current().audit_log is not None:
        _write("open", who=who, subject=subject)


def refused() -> None:
    """A visit that was shown nothing, once a session."""
    seen("refused")


def seen(action: str, *, study: str | None = None, page: str | None = None) -> None:
    """A view, written where it is another one than the last of this session."""
    if options.current().audit_log is None:
        return
    what = [action, study, page]
    if st.session_state.get(_LAST) != what:
        _write(action, who=st.session_state.get(_WHO), study=study, page=page)
        st.session_state[_LAST] = what


def exporting(
    content: str | Callable[[], str | bytes], *, study: str, file: str
) -> Callable[[], str | bytes]:
    """The content of a file as a button hands it over, with a line in the log before it leaves.

    Called in the run that draws the button: the click itself comes in a thread that knows no session.
    """
    who = st.session_state.get(_WHO)

    def leave() -> str | bytes:
        made = content() if callable(content) else content
        if options.current().audit_log is not None:
            _write("export", who=who, study=study, file=file)
        return made

    return leave


def _write(action: str, *, who: str | None, **what: str | None) -> None:
    """One line, in one write to a file opened for appending: lines of several visitors do not mix."""
    path = options.current().audit_log
    assert path is not None, "asked for where there is a log"
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    line = {"at": at, "who": None if who is None else who[:_MOST], "action": action}
    line |= {name: value[:_MOST] for name, value in what.items() if value is not None}
    try:
        handle = _open(path.expanduser())
        try:
            text = (json.dumps(line) + "\n").encode()
            if os.write(handle, text) < len(text):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(handle)
    except OSError as error:
        raise UserError(
            f"--audit-log {path} cannot be written ({error.strerror}): nothing is shown."
        ) from None


def _open(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
