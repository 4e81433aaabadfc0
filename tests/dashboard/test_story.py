"""The story from start to end, on every shape of study: its own numbers, its own links, its own gaps."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import plotly.graph_objects as go
import polars as pl
import pytest
from streamlit.testing.v1 import AppTest

from dashboard import presenter, story, story_results
from ehrfm_core.study import open_study
from tests.dashboard.test_pages import charts, fine, text

Open = Callable[..., AppTest]
STEPS = range(1, len(story.STEPS) + 1)


@pytest.mark.parametrize("study", ["two", "one", "tiny", "unevaluated", "older", "before", "own"])
def test_the_story_is_told_from_start_to_end(studies: Path, open_page: Open, study: str) -> None:
    app = open_page(studies, "story", b=study)
    for step in STEPS:
        fine(app)
        assert f"{step}  {story.STEPS[step - 1]}" in text(app)
        assert app.button(key="story_back").disabled == (step == 1)
        assert all(element.proto.alt for element in app.get("plotly_chart"))
        assert "nan" not in text(app).lower().split()
        if step < len(story.STEPS):
            app.button(key="story_next").click().run()
            assert app.query_params["step"] == str(step + 1)
    assert app.button(key="story_next").disabled
    app.button(key="story_back").click().run()
    assert f"{len(story.STEPS) - 1}  {story.STEPS[-2]}" in text(app)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("present", ["true", "false"])
def test_every_step_has_an_address(studies: Path, open_page: Open, step: int, present: str) -> None:
    app = open_page(studies, "story", b="two", y="long_los", step=str(step), present=present)
    fine(app)
    assert story.STEPS[step - 1] in text(app)
    assert bool(app.title) == (present == "false")
    assert app.toggle(key="present").value == (present == "true")
    assert len(charts(app)) == (1, 2, 2, 2, 1, 1, 0)[step - 1]  # few events: no decision curve
    for figure in charts(app):
        if present == "true":
            assert figure["layout"]["font"]["size"] >= presenter.SMALLEST  # type: ignore[index]


def test_unknown_steps_fall_back_to_the_first(studies: Path, open_page: Open) -> None:
    for value in ("0", "8", "<b>", "-1"):
        app = open_page(studies, "story", b="two", step=value, present="perhaps")
        fine(app)
        assert story.STEPS[0] in text(app)


def test_the_patient_is_the_one_of_the_rule(studies: Path, open_page: Open) -> None:
    study = open_study(studies / "two")
    stays = study.site_table("mimic", "stays").join(
        study.site_table("mimic", "dynamics"), on="hospitalization_id"
    )
    wanted = stays.filter(split="test").sort("event_max_jump", descending=True)["hospitalization_id"][0]
    app = open_page(studies, "story", b="two")
    assert f"Stay **{wanted}**" in text(app)
    assert story.RULE in text(app)


def test_numbers_are_the_studys_own(studies: Path, open_page: Open) -> None:
    study = open_study(studies / "two")
    home = study.result("metrics").filter(
        model="probe", arm="in_distribution", metric="roc_auc", outcome="icu", subgroup="all"
    )["estimate"][0]
    assert f"ICU after 24 h {home:.3f}" in text(open_page(studies, "story", b="two", step="5"))


def test_the_ladder_is_that_of_the_page_transfer(studies: Path, open_page: Open) -> None:
    (told,), page = (
        charts(open_page(studies, name, b="two", y="long_los", step="5")) for name in ("story", "transfer")
    )
    assert told["data"] == page[0]["data"]
    hollow = [trace for trace in told["data"] if str(trace["marker"]["symbol"]).endswith("-open")]  # type: ignore[attr-defined]
    assert {trace["name"] for trace in hollow} == {"Published, MIMIC-IV → UCMC"}


def test_the_papers_figures_are_called_the_papers(studies: Path, open_page: Open) -> None:
    assert "published, MIMIC-IV → UCMC" in text(open_page(studies, "story", b="two", step="5"))
    assert "in the paper" in text(open_page(studies, "story", b="two", step="4"))


def test_one_hospital_skips_what_needs_two_and_says_so(studies: Path, open_page: Open) -> None:
    for step, said in ((4, "nobody new arrives"), (5, "transfer cannot be judged"), (6, "no model adapted")):
        app = open_page(studies, "story", b="one", y="long_los", step=str(step))
        assert said in text(app)
        assert charts(app)


def test_links_lead_to_the_state_that_is_shown(studies: Path, open_page: Open) -> None:
    app = open_page(studies, "story", b="two", y="icu", step="4", present="true")
    (link,) = [e.proto for e in app.get("page_link") if e.proto.label.startswith("Open this view")]
    assert "s=ucmc" in link.query_string
    assert "y=" in link.query_string
    assert "step" not in link.query_string
    assert "present" not in link.query_string


def test_changes_count_losses_and_gains_alike(studies: Path) -> None:
    study = open_study(studies / "two")
    before = pl.DataFrame(
        {"outcome": ["death", "icu"], "estimate": [0.9, 0.6], "ci_low": 0.5, "ci_high": 1.0}
    )
    after = before.with_columns(estimate=pl.Series([0.85, 0.7]))
    assert "Of 2 outcomes 1 lower, 1 higher;" in story_results.changes(study, before, after)


def test_enlarging_leaves_the_data_alone() -> None:
    figure = go.Figure(go.Scatter(x=[1, 2], y=[3, 4], marker={"size": [3, 5]}, line={"width": 2}))
    before = json.loads(figure.to_json())["data"][0]["y"]
    presenter.enlarge(figure)
    assert json.loads(figure.to_json())["data"][0]["y"] == before
    assert list(figure.data[0].marker.size) == [3 * presenter.GROWTH, 5 * presenter.GROWTH]
