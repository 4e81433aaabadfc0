"""Entry point: `streamlit run dashboard/app.py -- --studies DIR`.

Runs before every page, so it stays cheap: navigation, the choice of study and outcome, the footer.
"""

from __future__ import annotations

import sys
from pathlib import Path

import streamlit as st
from streamlit.logger import get_logger
from streamlit.navigation.page import StreamlitPage

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # streamlit puts this file's own folder there, not the repository
    sys.path.insert(0, str(ROOT))

from dashboard import (  # noqa: E402
    audit,
    cohort_bar,
    cohorts,
    controls,
    css,
    data,
    navigation,
    pictures,
    playback_keys,
    service,
    sign_in,
    stamp,
    state,
    ui,
)
from ehrfm_core.errors import UserError  # noqa: E402
from ehrfm_core.outcomes import OUTCOMES  # noqa: E402
from ehrfm_core.study import Study  # noqa: E402

TITLE = "EHR dynamics"
ASSETS = ROOT / "dashboard/assets"


def main() -> None:
    """Draw the frame, then the chosen page inside it; nothing for visitors who may not see anything."""
    try:
        started = service.ready()
        frame()
        who = sign_in.visitor(started) if started.sign_in else None
        if started.sign_in and who is None:
            navigate(hidden=True)
            audit.refused()
            sign_in.draw(started)
            return
        audit.opened(who.name if who else None, subject=who.subject if who else None)
    except UserError as error:
        get_logger(__name__).error("Nothing is shown: %s", error)
        frame()
        navigate(hidden=True)
        ui.absent("This server is not set up rightly", ui.plain(str(error)), icon=":material/error:")
        return
    page = navigate()
    try:
        study = sidebar()
        if who is not None:
            with st.sidebar:
                sign_in.status(started, who)
        audit.seen("view", study=study.name if study else None, page=page.url_path or navigation.HOME)
        if study is not None:
            if study.manifest.synthetic:
                st.set_page_config(page_title=f"{stamp.WORD} · {TITLE}")
                ui.strip()
            if study.has("tokenize"):
                ui.other_window(data.tokenizer(study))
            framed(study, page)
    except ui.StageMissingError as missing:
        ui.absent(*missing.args)
    except UserError as error:
        ui.absent("This page cannot be shown", ui.plain(str(error)), icon=":material/error:")
    footer()


def frame() -> None:
    """What stands around every page."""
    # an icon from a file: Streamlit would fetch a Material icon for the browser tab from fonts.gstatic.com
    st.set_page_config(page_title=TITLE, page_icon=ASSETS / "icon.png", layout="wide")
    st.html(css.CSS)
    st.logo(ASSETS / "logo.svg", size="large")


def navigate(*, hidden: bool = False) -> StreamlitPage:
    """The page that the address names, and the list of all of them beside it, unless hidden."""
    return st.navigation(
        {
            group: [
                st.Page(
                    f"app_pages/{name}.py",
                    title=title,
                    icon=icon,
                    help=help,
                    url_path=navigation.address(name) or None,
                    default=name == navigation.HOME,
                )
                for name, title, icon, help in entries
            ]
            for group, entries in navigation.GROUPS.items()
        },
        position="hidden" if hidden else "sidebar",
        expanded=True,
    )


def framed(study: Study, page: StreamlitPage) -> None:
    """The page, under the bar of cohorts where it has stays."""
    if not study.has("tokenize") or page.url_path in cohort_bar.WITHOUT:
        page.run()
        return
    cohorts.sync()
    bar = st.container(key="cohortbar", horizontal=True, vertical_alignment="center", gap="xsmall")
    with bar:
        finish = cohort_bar.draw(study, page.url_path)
    try:
        page.run()
    finally:
        finish()


def sidebar() -> Study | None:
    """Choose study and outcome; where there is nothing to open, say so in place of the page."""
    folder = data.studies_folder()
    found = data.studies(folder)
    if not found:
        ui.absent(
            "No study here yet",
            f"`{folder}` holds no study. Make one from a CLIF folder, or start the dashboard on the "
            "bundled one:",
            "streamlit run dashboard/app.py -- --studies data_samples/studies",
            icon=":material/folder_open:",
        )
        return None
    with st.sidebar:
        names = {name: _label(name, item) for name, item in found.items()}
        name = controls.pick("Study", names, key=state.STUDY, what="study")
        study = found[name]
        outcomes = study.outcomes if isinstance(study, Study) else OUTCOMES
        order = data.told_first(study) if isinstance(study, Study) else list(outcomes)
        labels = {name: outcomes[name].label for name in order}
        outcome = controls.pick("Outcome", labels, key=state.OUTCOME, what="outcome")
        st.caption(ui.plain(outcomes[outcome].definition))
        if isinstance(study, Study):
            if study.manifest.synthetic:
                st.badge(f"{stamp.WORD} DATA", icon=":material/science:", color="orange")
            st.caption(f"Sites: {', '.join(study.sites)} · version {study.digest}")
    if isinstance(study, UserError):
        title = f"The study “{ui.plain(name)}” cannot be opened"
        ui.absent(title, ui.plain(str(study)), icon=":material/error:")
        return None
    return study


def _label(name: str, study: Study | UserError) -> str:
    """A study in the drop-down, told apart before it is opened."""
    if isinstance(study, UserError):
        return f"{name} (broken)"
    return stamp.label(study)


def footer() -> None:
    """The line under every page."""
    st.divider()
    st.caption(
        "For research only: not a medical device, not for decisions about patients. Every number is "
        "measured in the model's full space; the 2-D maps are only an index."
    )
    pictures.second_camera()
    playback_keys.playback_keys()


main()
