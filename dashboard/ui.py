"""Pieces every page is made of: headings, charts with their captions, and panels for what is missing."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import polars as pl
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboard import audit, data, figure_text, options, patient_level, plotted, stamp, state, theme
from ehrfm_core.outcomes import Outcome
from ehrfm_core.study import Study

_STAGE_SENTENCE = {
    "tokenize": "The tables have not been turned into tokens yet.",
    "pretrain": "The model has not been trained yet.",
    "embed": "The model has not read the stays yet: there are no states, paths or maps.",
    "evaluate": "Nothing has been evaluated yet: there are no predictions or associations.",
}


def header(title: str, question: str) -> None:
    """A page's title and the question it answers."""
    st.title(title, anchor=False)
    st.markdown(f":gray[{question}]")


def other_window(tokenizer: dict[str, Any]) -> None:
    """Say so where a model saw another window than the paper's 24 hours, which captions name, or more."""
    hours = tokenizer.get("window_hours", 24)
    if tokenizer.get("history"):
        st.info(
            "**The model of this study has read earlier stays.** The patient's stays before a window stood "
            "in front of it; what is drawn and measured is the window alone.",
            icon=":material/history:",
        )
    if hours != 24:
        st.info(
            f"**The window of this study is {hours:g} h.** Where a page says 24 h or first day, read "
            f"{hours:g} h: the model saw that much of each stay, and outcomes count after it.",
            icon=":material/schedule:",
        )


def strip() -> None:
    """The mark above every page of a synthetic study; it stays in sight while the page scrolls."""
    with st.container(key="synthetic"):
        st.markdown(f"**{stamp.WORD} DATA** &nbsp;·&nbsp; {stamp.SHORT}")


def section(title: str, explanation: str | None = None) -> None:
    """A heading within a page, with one sentence under it."""
    st.header(title, anchor=False)
    if explanation:
        st.markdown(f":gray[{explanation}]")


def chart(
    figure: go.Figure,
    *,
    key: str,
    alt: str,
    caption: str,
    synthetic: Sequence[bool] | None = None,
    widget: str | None = None,
    single: bool = False,
    on_select: Callable[[], None] | None = None,
) -> None:
    """A figure with its caption (n, events, space, interval) and its text for screen readers.

    `synthetic` has a mark for each study it shows, where that is not the current one alone. With `on_select`
    regions can be drawn on it; neither figure nor `alt` may then depend on what is drawn, or the browser
    forgets it and the zoom. `widget` is its key in the session where that differs from `key`. `single`: it
    is about one stay, whatever surrounds it.
    """
    study = data.current_study()
    figure_text.harmless(figure)
    word = stamp.word([study.manifest.synthetic] if synthetic is None else synthetic)
    config = theme.CONFIG if on_select is None else theme.DRAWING
    picture = config["toImageButtonOptions"] | {"filename": stamp.file_name(study, key, word)}
    if options.current().view_only:
        config = config | {"modeBarButtonsToRemove": [*config["modeBarButtonsToRemove"], "toImage"]}
    st.plotly_chart(
        stamp.on_figure(figure, word) if word else figure,
        key=widget or key,
        config=config | {"toImageButtonOptions": picture},
        alt=alt,
        theme="streamlit",
        on_select=on_select or "ignore",
        selection_mode=("box", "lasso"),
    )
    with st.container(gap="xxsmall"):
        st.caption(caption)
        _numbers(figure, study, key, word, single=single)


def _numbers(figure: go.Figure, study: Study, key: str, word: str | None, *, single: bool) -> None:
    """A button that hands over what the figure shows; single stays only where exports are allowed at all."""
    stays = patient_level.allowed_of(study)
    if options.current().view_only or (single and not stays):
        return  # what surrounds the stay is not what the figure shows
    if plotted.has_numbers(figure, stays=stays):
        file = f"{stamp.file_name(study, key, word)}.csv"
        st.download_button(
            "Data",
            audit.exporting(
                lambda: plotted.csv(figure, study, word=word, stays=stays), study=study.name, file=file
            ),
            file_name=file,
            mime="text/csv",
            icon=":material/csv:",
            type="tertiary",
            on_click="ignore",
            key=f"data-{key}",
            help="The numbers of this chart as CSV",
        )


def table(
    frame: pl.DataFrame,
    *,
    alt: str,
    column_config: Mapping[str, Any] | None = None,
    synthetic: Sequence[bool] | None = None,
    **more: Any,
) -> None:
    """A table with its text for screen readers; `more` goes to `st.dataframe`.

    `synthetic` has a mark for each row, where the rows are of several studies.

    Streamlit exports the columns that are shown, headed by their names in the frame, into a file that it
    names by the time: a column is all that can carry the mark.
    """
    columns = dict(column_config or {})
    if any([data.current_study().manifest.synthetic] if synthetic is None else synthetic):
        frame = stamp.on_table(frame, synthetic)
        columns[stamp.COLUMN] = st.column_config.TextColumn("Data", width=74, help=stamp.SHORT.capitalize())
    more.setdefault("placeholder", "—")
    # Streamlit's own export writes the cells as they are
    st.dataframe(plotted.harmless_table(frame), alt=alt, column_config=columns, hide_index=True, **more)


def download(
    label: str,
    content: str | Callable[[], str | bytes],
    *,
    name: str,
    ending: str,
    mime: str,
    help: str | None = None,
) -> None:
    """A button that hands over a file about the current study; `content` has to carry the mark itself.

    Nothing where the server is for viewing alone.
    """
    if options.current().view_only:
        return
    study = data.current_study()
    file = f"{stamp.file_name(study, name, stamp.word([study.manifest.synthetic]))}.{ending}"
    st.download_button(
        label,
        audit.exporting(content, study=study.name, file=file),
        file_name=file,
        mime=mime,
        icon=":material/download:",
        on_click="ignore",  # nothing is drawn anew
        help=help,
        width="stretch",
    )


def editor(frame: pl.DataFrame, *, alt: str, column_config: Mapping[str, Any], **more: Any) -> pl.DataFrame:
    """A table whose rows can be changed, added and deleted; what it has become, in the frame's own columns.

    In a synthetic study it carries the mark as a column that cannot be changed; `more` goes to
    `st.data_editor`.
    """
    shown, columns, fixed = frame, dict(column_config), []
    if data.current_study().manifest.synthetic:
        shown, fixed = stamp.on_table(frame), [stamp.COLUMN]
        columns[stamp.COLUMN] = st.column_config.TextColumn(
            "Data", width=74, help=stamp.SHORT.capitalize(), default=stamp.WORD.lower()
        )
    edited: pl.DataFrame = st.data_editor(
        shown, alt=alt, column_config=columns, disabled=fixed, hide_index=True, **more
    )
    return edited.select(frame.columns)


def current() -> tuple[Study, Outcome]:
    """The study and the outcome chosen in the sidebar."""
    study = data.current_study()
    return study, study.outcomes[st.session_state[state.OUTCOME]]


class StageMissingError(Exception):
    """A page stands on a stage that has not run; caught in `app.py`, which draws a panel instead."""


def needs(study: Study, *stages: str) -> None:
    """Give up the page where a stage it stands on has not run."""
    missing = [stage for stage in stages if not study.has(stage)]
    if missing:
        raise StageMissingError(
            _STAGE_SENTENCE[missing[0]],
            "This page needs the stage " + " and ".join(f"`{stage}`" for stage in missing) + ". Run it with:",
            f"python -m train {missing[0]} {study.folder}",
        )


def absent(
    title: str, explanation: str, command: str | None = None, icon: str = ":material/hourglass_empty:"
) -> None:
    """A panel in place of something that is not there: what, why, and the way out."""
    with st.container(border=True):
        st.markdown(f"**{icon} {title}**")
        st.markdown(explanation)
        if command:
            st.code(command, language="bash", wrap_lines=True)


def grid(n: int) -> list[DeltaGenerator]:
    """Places for `n` things of equal width, at most three beside each other."""
    rows = math.ceil(n / 3)
    return [place for _ in range(rows) for place in st.columns(math.ceil(n / rows), gap="medium")]


_FOUND_LATER = re.compile(r":(?=//|[\w+/-]+:)|\bwww(?=\.)|@(?=\w)", re.IGNORECASE)


def plain(text: str) -> str:
    r"""Text from a file as it is, on one line: nothing in it is read as markup.

    Addresses and names of icons are found after the markup is read, so that only a sign of no width in
    their middle keeps them text.

    >>> print(plain("a_b ![x](y)"))
    a\_b \!\[x\]\(y\)
    """
    apart = _FOUND_LATER.sub("\\g<0>\u2060", " ".join(text.split()))
    return re.sub(r"([\\`*_{}\[\]()#+!|~$:<>&-])", r"\\\1", apart)


def inline(label: str) -> str:
    """A label within a sentence: its first letter small, unless it begins an abbreviation.

    >>> inline("Long stay"), inline("ICU after 24 h")
    ('long stay', 'ICU after 24 h')
    """
    return label if label[1:2].isupper() else label[:1].lower() + label[1:]


def count(n: int, one: str, many: str | None = None) -> str:
    """A number with its noun.

    >>> count(1, "stay"), count(2, "stay"), count(1234, "stay")
    ('1 stay', '2 stays', '1,234 stays')
    """
    return f"{n:,} {one if n == 1 else many or one + 's'}"
