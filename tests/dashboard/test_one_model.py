from __future__ import annotations

import json
from pathlib import Path

import pytest

from dashboard.arms import ink, runs
from dashboard.one_model import VIEWS, _told_apart
from ehrfm_core.study import open_study
from tests.dashboard.test_pages import Open, charts, fine, text


def line_colours(figure: dict[str, object]) -> dict[str, str]:
    """Colour by the run's name, without what the ROC's legend adds to it."""
    named = [trace for trace in figure["data"] if trace.get("name") and "line" in trace]  # type: ignore[attr-defined]
    return {trace["name"].split("<br>")[0]: trace["line"].get("color", "") for trace in named}


@pytest.mark.parametrize("view", VIEWS)
def test_the_link_opens_a_view_and_only_that_one_is_drawn(studies: Path, open_page: Open, view: str) -> None:
    app = open_page(studies, "transfer", b="three", y="long_los", view=view)
    fine(app)
    # beside the ladder, the baselines, the threshold, local data, what the patients explain, the matrix
    assert len(charts(app)) == 7
    assert app.session_state["view"] == view


def test_an_unknown_view_opens_the_first(studies: Path, open_page: Open) -> None:
    app = open_page(studies, "transfer", b="two", y="long_los", view="Pie")
    fine(app)
    assert "AUC" in json.dumps(charts(app)[1])


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(
    ("study", "outcome"), [("one", "imv"), ("one", "death"), ("tiny", "icu"), ("older", "imv")]
)
def test_every_view_of_every_shape(
    studies: Path, open_page: Open, view: str, study: str, outcome: str
) -> None:
    fine(open_page(studies, "transfer", b=study, y=outcome, view=view))


def test_one_class_has_a_distribution_and_no_curve(studies: Path, open_page: Open) -> None:
    for view in ("ROC", "Calibration", "Net benefit"):
        app = open_page(studies, "transfer", b="one", y="imv", view=view)
        assert "so there is nothing to rank" in text(app)
        assert "curve" not in json.dumps(charts(app))
    app = open_page(studies, "transfer", b="one", y="imv", view="Risk distribution")
    assert "no stay with the event" in json.dumps(charts(app)[1])


def test_the_distribution_says_what_a_reader_needs(studies: Path, open_page: Open) -> None:
    app = open_page(studies, "transfer", b="two", y="long_los", view="Risk distribution")
    figure = json.dumps(charts(app)[1], ensure_ascii=False)
    for words in ("mimic → mimic", "mimic → ucmc, unchanged", "events", "Predicted risk"):
        assert words in figure
    assert "median" in app.get("plotly_chart")[1].proto.alt
    assert "fewer than 11 stays" in text(app)


def test_a_run_has_one_colour_in_every_view(studies: Path, open_page: Open) -> None:
    seen: dict[str, str] = {}
    for view in ("ROC", "Calibration", "Net benefit"):
        found = line_colours(charts(open_page(studies, "transfer", b="three", y="long_los", view=view))[1])
        runs_of = {name: colour for name, colour in found.items() if name.startswith("mimic →")}
        assert len(runs_of) >= 3
        assert len(set(runs_of.values())) >= 3
        for name, colour in runs_of.items():
            assert seen.setdefault(name, colour) == colour, (view, name)


def test_an_adapted_run_that_left_the_model_as_it_is_is_told_not_drawn(studies: Path) -> None:
    study = open_study(studies / "two")
    table = study.result("predictions").filter(model="probe", outcome="long_los", test_site="ucmc", repeat=0)
    (unchanged,) = runs(study, table.filter(arm="zero_shot"))
    same = (
        "mimic → ucmc, re-fitted",
        "#CC79A7",
        "solid",
        unchanged[3].sample(fraction=1, shuffle=True, seed=1),
    )
    kept, words = _told_apart([unchanged, same])
    assert kept == [unchanged]
    assert words == "mimic → ucmc, re-fitted: the same as mimic → ucmc, unchanged. "


def test_adapted_runs_take_no_hospitals_colour(studies: Path) -> None:
    study = open_study(studies / "two")
    row = {"test_site": "ucmc", "adapt_method": "refit"}
    hospitals = {
        ink(study, row | {"arm": "zero_shot"}),
        ink(study, {"test_site": "mimic", "arm": "zero_shot"}),
    }
    ways = ("refit", "local", "recalibrate", "recalibrate_slope", "pretrain", "scratch")
    inks = {ink(study, row | {"arm": "adapted", "adapt_method": way}) for way in ways}
    assert len(inks) == len(ways)
    assert not inks & hospitals
