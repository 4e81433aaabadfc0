"""The numbers of a chart as CSV: all that is drawn, nothing that is not, and safe to open."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import polars as pl
import pytest
from streamlit.testing.v1 import AppTest

from dashboard import plotted, stamp, theme
from dashboard.navigation import PAGES
from ehrfm_core.study import open_study

Open = Callable[..., AppTest]


def read(text: str) -> pl.DataFrame:
    return pl.read_csv(io.StringIO(text), infer_schema_length=None)


def decoded(value: Any) -> Any:
    """A figure's JSON with its arrays as lists."""
    if isinstance(value, dict) and "bdata" in value:
        array = np.frombuffer(base64.b64decode(value["bdata"]), dtype=value["dtype"])
        shape = value.get("shape")
        return (array.reshape([int(n) for n in shape.split(",")]) if shape else array).tolist()
    if isinstance(value, dict):
        return {key: decoded(one) for key, one in value.items()}
    return [decoded(one) for one in value] if isinstance(value, list) else value


def test_points_come_with_the_ends_of_their_intervals() -> None:
    figure = go.Figure(
        go.Scatter(
            x=[1, 2],
            y=np.array([0.5, 0.6]),
            error_y=theme.interval([0.5, 0.6], [0.4, 0.5], [0.7, 0.9]),
            name="<b>mimic</b>",
            customdata=[[10, "a"], [20, "b"]],
        )
    ).update_layout(yaxis_title="Rate")
    table = plotted.table(figure)
    assert table["series"].to_list() == ["mimic", "mimic"]
    assert table["y_low"].round(6).to_list() == [0.4, 0.5]
    assert table["y_high"].round(6).to_list() == [0.7, 0.9]
    assert table["y_axis"].to_list() == ["Rate", "Rate"]
    assert table["more_1"].to_list() == [10, 20]
    assert table["more_2"].to_list() == ["a", "b"]


def test_a_heat_map_is_one_row_a_bin_and_empty_bins_stay_empty() -> None:
    figure = go.Figure(go.Heatmap(x=[1, 2], y=["a", "b"], z=[[1.0, np.nan], [3.0, 4.0]]))
    assert plotted.table(figure).select("x", "y", "z").rows() == [(1, "a", 1), (1, "b", 3), (2, "b", 4)]


def test_named_positions_bring_their_names() -> None:
    figure = go.Figure(go.Scatter(x=[0.1, 0.2], y=[-0.1, -0.9], name="probe"))
    figure.update_yaxes(tickvals=[0, -1], ticktext=["death", "long<br>stay"])
    assert plotted.table(figure)["row"].to_list() == ["death", "long stay"]


def test_single_stays_are_left_out_unless_they_may_go(studies: Path) -> None:
    figure = go.Figure(go.Scatter(x=[1], y=[1], meta=theme.STAY, name="path"))
    assert not plotted.has_numbers(figure, stays=False)
    figure.add_scatter(x=[2], y=[2], name="all")
    assert plotted.table(figure)["series"].to_list() == ["all"]
    assert plotted.table(figure, stays=True)["series"].to_list() == ["path", "all"]


def test_cells_are_no_formulas_and_rows_carry_the_mark(studies: Path) -> None:
    study = open_study(studies / "two")
    figure = go.Figure(go.Scatter(x=["=1+1", "@x"], y=[-1, 2], name="+cmd"))
    found = read(plotted.csv(figure, study, word=stamp.WORD))
    assert found["x"].to_list() == ["'=1+1", "'@x"]
    assert found["series"].to_list() == ["'+cmd", "'+cmd"]
    assert found["y"].to_list() == [-1, 2], "a negative number stays one"
    assert found["study"].unique().to_list() == ["two"]
    assert found["version"].cast(pl.String).unique().to_list() == [study.digest]
    assert found.columns[-1] == stamp.COLUMN
    assert stamp.COLUMN not in read(plotted.csv(figure, study, word=None)).columns


def test_an_empty_figure_has_a_head() -> None:
    assert plotted.table(go.Figure(go.Scatter(x=[], y=[], name="a"))).height == 0


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("study", ["two", "one", "tiny"])
def test_every_chart_of_every_page_gives_its_numbers(
    studies: Path, open_page: Open, page: str, study: str
) -> None:
    app = open_page(studies, page, b=study, y="long_los")
    opened = open_study(studies / study)
    buttons = [e.proto for e in app.get("download_button") if e.proto.label == "Data"]
    drawn, synthetic = 0, opened.manifest.synthetic
    for chart in app.get("plotly_chart"):
        figure = go.Figure(decoded(json.loads(chart.proto.spec)), skip_invalid=True)
        drawn += plotted.has_numbers(figure, stays=synthetic)
        if plotted.has_numbers(figure, stays=False):
            text = plotted.csv(figure, opened, word=None)
            table = read(text)
            assert table.height
            assert {"series", "x", "y", "study", "version"} <= set(table.columns)
            ids = opened.site_table("mimic", "stays")["hospitalization_id"]
            assert not [one for one in ids if one in text], "no stay leaves"
    # where single stays may not leave, what surrounds one is not handed over in its place
    assert len(buttons) == (0 if page == "patient" and not synthetic else drawn)
