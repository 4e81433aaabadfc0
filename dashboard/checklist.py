"""TRIPOD+AI on the screen: how much of it the study fills in, the items, and the whole of it as a file."""

from __future__ import annotations

import polars as pl
import streamlit as st

from dashboard import controls, data, state, ui
from ehrfm_core.evaluation import tripod
from ehrfm_core.study import Study

ALL = "all"
COLOURS = {"filled": "green", "partly": "orange", "by the author": "gray"}


def draw(study: Study) -> None:
    """The section of the Methods page."""
    ui.section(
        "TRIPOD+AI",
        "What a report of a prediction model should tell (Collins et al., BMJ 2024;385:e078378), filled in "
        "from this study; the questions are in words of our own.",
    )
    rows, document = _rows(str(study.folder), study.digest)
    found = tripod.counts(rows)
    for column, (status, meaning) in zip(st.columns(len(found)), tripod.STATUSES.items(), strict=True):
        column.metric(
            status.capitalize(), f"{found[status]} of {rows.height}", help=f"{meaning.capitalize()}."
        )
    choice, button = st.columns([3, 1], vertical_alignment="bottom")
    with choice:
        shown = controls.choose(
            "Items",
            {ALL: "All"} | {name: name.capitalize() for name in found},
            key=state.ITEMS,
            what="status",
        )
    with button:
        ui.download("Download as Markdown", document, name="tripod-ai", ending="md", mime="text/markdown")
    items = rows if shown == ALL else rows.filter(pl.col("status") == shown)
    # folded up: a box that scrolls within the page cannot be scrolled from the keyboard
    with st.expander(f"Read the {ui.count(len(items), 'item')}"), st.container(key="checklist"):
        if items.is_empty():
            st.caption("No item has this status.")
        else:
            st.table(_table(items), hide_index=True, border="horizontal")


@st.cache_resource(max_entries=8, show_spinner="Filling in the checklist …")
def _rows(folder: str, digest: str) -> tuple[pl.DataFrame, str]:
    study = data.open_study(folder)
    rows = tripod.checklist(study)
    return rows, tripod.markdown(study, rows)


def _table(rows: pl.DataFrame) -> pl.DataFrame:
    """Cells are Markdown: what comes from the study is escaped, an answer is a list of its lines."""
    items = [
        f"**{row['item']} {row['topic']}** :{COLOURS[row['status']]}-badge[{row['status']}]  \n{row['asked']}"
        for row in rows.iter_rows(named=True)
    ]
    answers = ["\n".join(f"- {ui.plain(line)}" for line in answer.split("\n")) for answer in rows["answer"]]
    return pl.DataFrame({"Item and question": items, "Answer": answers})
