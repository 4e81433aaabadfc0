"""The notes of a study on the page: the first in full, the many of one kind under a heading with a count."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from dashboard import ui
from ehrfm_core.cell_words import in_words
from ehrfm_core.study.notes import Group, grouped


def draw(notes: Sequence[str]) -> None:
    """Every note, grouped."""
    groups = grouped(notes)
    st.markdown(_list([note for group in groups if not group.kind.folded for note in group.notes]))
    for group in groups:
        if group.kind.folded:
            _folded(group)


def _folded(group: Group) -> None:
    with st.expander(group.heading, type="compact"):
        st.markdown(_list(group.notes))


def _list(notes: Sequence[str]) -> str:
    return "\n".join(f"- {ui.plain(in_words(note))}" for note in notes)
