"""The Patient page: a second stay pinned beside, what is usual, and the hours after the window."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from streamlit.testing.v1 import AppTest

from dashboard import population, state, theme
from dashboard.charts import maps, paths, patient
from dashboard.charts.whole_stay import whole_stay
from dashboard.whole_stay import joined
from ehrfm_core.outcomes import OUTCOMES
from ehrfm_core.study import open_study
from ehrfm_core.study.files import sha256
from ehrfm_core.study.layout import site_file
from tests.dashboard.test_charts import INFO, path, tokens
from tests.dashboard.test_pages import charts, fine, text
from tests.make_study import make_study
from tests.reseal import reseal

Open = Callable[..., AppTest]
BAND = pl.DataFrame(
    {
        "group": ["without"] * 25 + ["with"] * 25,
        "hour": [*range(25)] * 2,
        "low": [0.1] * 50,
        "middle": [0.2] * 25 + [0.6] * 25,
        "high": [0.3] * 25 + [0.9] * 25,
        "n": [20] * 50,
    }
)


def lanes(**more: object) -> object:
    largest = tokens().tail(3).sort("jump", descending=True).with_row_index("rank", offset=1)
    return patient.lanes(tokens(), largest, path(), outcome="long_los", **more)  # type: ignore[arg-type]


def test_another_stay_hangs_below_on_the_same_axes() -> None:
    other = patient.Other("Pinned stay", tokens().with_columns(pl.col("jump") * 2), path())
    figure = lanes(other=other)
    stems = [t for t in figure.data if t.mode == "lines" and t.yaxis == "y2"]  # type: ignore[attr-defined]
    assert np.nanmin(stems[0].y) == -18.0
    assert np.nanmax(stems[1].y) == 9.0
    assert stems[0].line.color == theme.PIN
    low, high = figure.layout.yaxis2.range  # type: ignore[attr-defined]
    assert low < -18
    assert high > 18
    ticks = figure.layout.yaxis2  # type: ignore[attr-defined]
    assert list(ticks.tickvals) == [-x for x in reversed(ticks.tickvals)]
    assert not any("-" in label for label in ticks.ticktext)
    above, below = [t for t in figure.data if t.mode == "markers" and t.yaxis == "y"][::-1]  # type: ignore[attr-defined]
    assert np.all(np.array(above.y) < np.array(below.y)), "the axis runs from the top"
    assert any("Pinned stay" in (note.text or "") for note in figure.layout.annotations)  # type: ignore[attr-defined]


def test_the_current_outcome_stands_out_over_what_is_usual() -> None:
    figure = lanes(band=BAND)
    risks = [t for t in figure.data if t.yaxis == "y3"]  # type: ignore[attr-defined]
    filled = [t for t in risks if t.fill == "toself"]
    assert [t.name for t in filled] == ["10–90 %, without", "10–90 %, with"]
    assert max(t.line.width for t in risks) == risks[-1].line.width > 3
    assert figure.layout.yaxis3.range[1] >= 0.9  # type: ignore[attr-defined]
    assert any("test stays with" in note.text for note in figure.layout.annotations)  # type: ignore[attr-defined]
    assert not [t for t in lanes(band=BAND.clear()).data if t.fill]  # type: ignore[attr-defined]


def test_a_second_path_is_drawn_in_the_second_ink() -> None:
    figure = maps.density_map(np.ones((10, 10)), INFO, "pca", colour="#0072B2", height=300)
    paths.add_other_path(figure, path(), "pca", "Pinned stay")
    line, end = figure.data[1:]
    assert line.line.color == theme.PIN
    assert line.marker.symbol[0] == "diamond-open"
    assert (end.x[0], end.marker.color) == (line.x[-1], theme.PIN)
    assert len(paths.add_other_path(figure, path().clear(), "pca", "x").data) == 3


def test_what_is_usual_is_told_of_eleven_stays_or_more(studies: Path) -> None:
    study = open_study(studies / "two")
    band = population.risk_band(study, "mimic", OUTCOMES["long_los"])
    assert band["n"].min() >= 11  # type: ignore[operator]
    assert set(band["group"]) in ({"with", "without"}, {"all"})
    assert (band["low"] <= band["middle"]).all()
    assert (band["middle"] <= band["high"]).all()
    assert population.risk_band(open_study(studies / "tiny"), "mimic", OUTCOMES["death"]).is_empty()
    one = population.risk_band(open_study(studies / "one"), "mimic", OUTCOMES["imv"])
    assert set(one["group"]) <= {"all"}, "nobody has it: there is one group"


def test_a_link_pins_a_stay_and_p_lets_it_go(studies: Path, open_page: Open) -> None:
    app = open_page(studies, "patient", b="two", f="mimic/m10000001", p="ucmc/u10000007")
    fine(app)
    assert not app.toast
    assert "u10000007" in text(app)
    assert any("Pinned stay" in json.dumps(figure) for figure in charts(app))
    app.button(key="unpin").click().run()
    assert state.PIN not in app.query_params
    assert not any("Pinned stay" in json.dumps(figure) for figure in charts(app))
    app.button(key="pin-focused").click().run()
    assert app.query_params["p"] == "mimic/m10000001"
    assert "It is the stay in focus" in text(app)
    app.button(key="next").click().run()
    fine(app)
    assert "The pinned stay hangs below" in text(app)
    app.button(key="pin-focused").click().run()
    assert app.query_params["p"] == app.query_params["f"]
    app.button(key="pin-focused").click().run()
    assert state.PIN not in app.query_params


@pytest.mark.parametrize("study", ["two", "one", "tiny", "unevaluated", "older"])
def test_every_shape_of_study_takes_a_pinned_stay(studies: Path, open_page: Open, study: str) -> None:
    ids = open_study(studies / study).site_table("mimic", "stays")["hospitalization_id"]
    fine(open_page(studies, "patient", b=study, f=f"mimic/{ids[0]}", p=f"mimic/{ids[1]}"))


@pytest.mark.parametrize(
    "pin", ["mimic/nobody", "nowhere/u1", "////", "x", "<b>/</b>", "mimic/" + "9" * 5000]
)
def test_an_unknown_pin_is_told_and_forgotten(studies: Path, open_page: Open, pin: str) -> None:
    app = open_page(studies, "patient", b="two", p=pin)
    fine(app)
    assert "a pinned stay that is not in this study" in app.toast[0].value
    assert state.PIN not in app.query_params


def test_the_keys_are_those_of_the_buttons(studies: Path, open_page: Open) -> None:
    app = open_page(studies, "patient", b="two")
    keys = {button.key: button.proto.shortcut for button in app.button if button.proto.shortcut}
    assert {"next": "j", "previous": "k", "pin-focused": "p"}.items() <= keys.items()


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that has read the whole of one stay."""
    folder = tmp_path_factory.mktemp("followed")
    made = make_study(folder / "whole", sites={"mimic": 60}, seed=9)
    paths = pl.read_parquet(made / site_file("mimic", "paths"))
    stay = paths["hospitalization_id"][0]
    hours = paths.filter(pl.col("hospitalization_id") == stay).with_columns(pl.col("hour") + 25)
    name = site_file("mimic", "later")
    hours.with_columns(step=pl.when(pl.col("hour") != 30).then("step")).write_parquet(made / name)
    content = json.loads((made / "study.json").read_text())
    content["stages"]["embed"]["files"][name] = sha256(made / name)
    (made / "study.json").write_text(json.dumps(content))
    reseal(made)
    return folder


def test_the_hours_after_the_window_follow_where_they_were_read(followed: Path, open_page: Open) -> None:
    ids = open_study(followed / "whole").site_table("mimic", "stays")["hospitalization_id"]
    app = open_page(followed, "patient", b="whole", f=f"mimic/{ids[0]}", y="long_los")
    fine(app)
    assert "After the window" in text(app)
    assert "49 hours; the window that was evaluated ends at hour 24" in text(app)
    other = open_page(followed, "patient", b="whole", f=f"mimic/{ids[1]}")
    fine(other)
    assert "After the window" not in text(other)


def test_a_file_of_later_hours_that_cannot_be_read_is_named(followed: Path, open_page: Open) -> None:
    file = followed / "whole" / site_file("mimic", "later")
    held = file.read_bytes()
    file.write_bytes(b"no parquet")
    app = open_page(followed, "patient", b="whole")
    file.write_bytes(held)
    fine(app)
    assert "later.parquet is not as it was written" in text(app)


def test_a_whole_stay_has_one_row_an_hour_and_gaps_where_nothing_is_known() -> None:
    window = path().with_columns(step=pl.lit(1.0, pl.Float32))
    later = window.with_columns(pl.col("hour") + 24, step=pl.lit(None, pl.Float32))
    hours = joined(window, later, OUTCOMES["death"])
    assert hours["hour"].to_list() == list(range(49))
    assert hours["step"].null_count() == 24
    figure = whole_stay(hours, OUTCOMES["death"], window=24)
    assert list(figure.layout.xaxis.range) == [0, 48]
    assert {shape.x1 for shape in figure.layout.shapes} == {24}
