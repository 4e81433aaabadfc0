"""Story: five minutes through the study, a page state a step, also for a projector."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboard import controls, presenter, state, story, story_results, story_steps, ui
from ehrfm_core.outcomes import Outcome
from ehrfm_core.study import Study

DRAW: tuple[Callable[[Study, Outcome], None], ...] = (
    story_steps.patient,
    story_steps.pictures,
    story_steps.movement,
    story_steps.hospital,
    story_results.travels,
    story_results.price,
    story_steps.take_away,
)


def main() -> None:
    """Draw the page."""
    study, outcome = ui.current()
    present = bool(st.session_state.get(state.PRESENT)) or st.query_params.get(state.PRESENT) == "true"
    if present:
        st.html(presenter.CSS)
    else:
        ui.header("Story", "Five minutes through this study, in its own numbers. ← and → turn the pages.")
    ui.needs(study, "tokenize", "pretrain", "embed")
    step = turn()
    ui.section(f"{step}  {story.STEPS[step - 1]}")
    DRAW[step - 1](study, outcome)


def turn() -> int:
    """Back, the steps, Next, and presenter mode; the step, from 1."""
    numbers = {str(i): str(i) for i in range(1, len(story.STEPS) + 1)}
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        back, pages, following = (st.container(width="content") for _ in range(3))
        with pages:
            step = int(controls.choose("Step", numbers, key=state.STEP, what="step", hidden=True))
        button(back, "Back", "chevron_left", "Left", step - 1)
        button(following, "Next", "chevron_right", "Right", step + 1)
        st.space("stretch")
        st.toggle(
            "Presenter mode",
            key=state.PRESENT,
            bind="query-params",
            help="For a projector: larger type, full contrast, no sidebar",
        )
    return step


def button(place: DeltaGenerator, label: str, icon: str, key: str, to: int) -> None:
    """A button that turns to a step, also on the keyboard."""

    def go_there() -> None:
        st.session_state[state.STEP] = str(to)

    place.button(
        label,
        icon=f":material/{icon}:",
        icon_position="right" if key == "Right" else "left",
        shortcut=key,
        on_click=go_there,
        disabled=not 1 <= to <= len(story.STEPS),
        key=f"story_{label.lower()}",
        type="primary" if key == "Right" else "secondary",
    )


main()
