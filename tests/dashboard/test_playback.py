"""Paths that are played: frames hold the path and nothing else, and the whole path is what stands there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import polars as pl

from dashboard import plotted, presenter, theme
from dashboard.charts import maps, paths, playback
from tests.dashboard.test_charts import INFO, path
from tests.dashboard.test_pages import Open, charts, fine


def drawn(*, other: pl.DataFrame | None = None, bins: int = 10) -> go.Figure:
    figure = maps.density_map(np.ones((bins, bins)), INFO, "pca", colour="#0072B2", height=330)
    if other is not None:
        paths.add_other_path(figure, other, "pca", "Pinned stay")
    return paths.add_path(figure, path(), "pca", jump_minute=7 * 60 + 30.0)


def at(figure: go.Figure, hour: int) -> dict[str, go.Scatter]:
    """The traces of a frame by the names of those they change."""
    (frame,) = (frame for frame in figure.frames if frame.name == str(hour))
    return {figure.data[i].name: trace for i, trace in zip(frame.traces, frame.data, strict=True)}


def test_a_frame_is_the_path_up_to_its_hour() -> None:
    figure = playback.play(drawn(), button=0.2)
    assert [frame.name for frame in figure.frames] == [str(hour) for hour in range(25)]
    whole = np.asarray(next(trace for trace in figure.data if trace.name == "path").x)
    for hour in (0, 5, 24):
        shown = at(figure, hour)
        np.testing.assert_allclose(shown["path"].x, whole[: hour + 1], atol=1e-4)
        np.testing.assert_allclose(shown["end"].x, whole[hour : hour + 1], atol=1e-4)
        assert list(shown["end"].marker.color) == [hour]
        assert list(shown["end"].text) == [f"{hour} h"]
        assert len(shown["start"].x) == 1
    jump = "hour of the largest jump"
    assert [len(at(figure, hour)[jump].x) for hour in (6, 7, 8)] == [0, 1, 2], "a line from hour 8 on"


def test_the_pinned_stay_moves_along_and_stops_where_it_ends() -> None:
    figure = playback.play(drawn(other=path().head(10)), button=0.2)
    assert len(at(figure, 4)["Pinned stay"].x) == 5
    late = at(figure, 20)
    assert len(late["Pinned stay"].x) == 10
    assert list(late["Pinned stay, end"].x) == list(late["Pinned stay"].x[-1:])
    assert len(late["path"].x) == 21


def test_frames_leave_the_density_alone_and_are_small() -> None:
    still = drawn(bins=110)
    size = len(still.to_json())
    figure = playback.play(still, button=0.2)
    assert {trace.type for frame in figure.frames for trace in frame.data} == {"scatter"}
    assert len(figure.to_json()) < size + 80_000
    assert len(figure.to_json()) < 600_000


def test_the_whole_path_stands_there_until_it_is_played() -> None:
    still, figure = drawn(), playback.play(drawn(), button=0.2)
    assert plotted.table(figure, stays=True).equals(plotted.table(still, stays=True))
    slider = figure.layout.sliders[0]
    assert slider.active == len(slider.steps) - 1
    names = [frame.name for frame in figure.frames]
    assert [list(step.args[0]) for step in slider.steps] == [[name] for name in names]
    assert figure.layout.height > still.layout.height


def test_what_does_not_move_has_no_controls() -> None:
    figure = maps.density_map(np.ones((4, 4)), INFO, "pca", colour="#0072B2", height=330)
    for rows in (path().clear(), path().head(1)):
        paths.add_path(figure, rows, "pca", jump_minute=None)
        playback.play(figure, button=0.2)
        assert not figure.frames
        assert not figure.layout.sliders


def test_a_figure_for_the_projector_plays_as_large_as_it_stands() -> None:
    figure = presenter.enlarge(playback.play(drawn(), button=0.2))
    assert all(trace.marker.size is None for frame in figure.frames for trace in frame.data)
    assert {trace.meta for trace in figure.data[1:]} == {theme.STAY}


def test_the_patient_and_the_story_can_be_played(studies: Path, open_page: Open) -> None:
    app = open_page(studies, "patient", b="two", p="ucmc/u10000007")
    fine(app)
    playing = [figure for figure in charts(app) if figure.get("frames")]
    assert len(playing) == 2
    for figure in playing:
        assert len(json.dumps(figure)) < 600_000
        names = [trace["name"] for trace in figure["data"] if trace.get("meta") == theme.STAY]  # type: ignore[attr-defined]
        assert "Pinned stay" in names
    (figure,) = charts(open_page(studies, "story", b="two"))
    assert len(figure["frames"]) == 25  # type: ignore[arg-type]
    assert not [figure for figure in charts(open_page(studies, "map", b="two")) if figure.get("frames")]
