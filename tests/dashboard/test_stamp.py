"""Everything that shows or exports a synthetic study says so, and nothing of a real one does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import polars as pl
import pytest
from streamlit.testing.v1 import AppTest

import dashboard
from dashboard import stamp, theme
from dashboard.navigation import PAGES
from tests.make_study import make_study

Open = Callable[..., AppTest]
SITES = {"mimic": 300, "none": 90, "institution": 90, "time": 300, "all": 90}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same studies twice: said to be synthetic, and said to be real."""
    folder = tmp_path_factory.mktemp("both")
    for name, synthetic in (("made", True), ("real", False)):
        make_study(folder / name, sites={"mimic": 160, "ucmc": 140}, seed=1, synthetic=synthetic)
        make_study(folder / f"{name}-early", sites={"mimic": 60}, stages=("tokenize",), synthetic=synthetic)
    make_study(folder / "five", sites=SITES, seed=2)
    return folder


def main_text(app: AppTest) -> str:
    """What stands in the main area: the sidebar may be collapsed."""
    return "\n".join(str(element.value) for kind in ("markdown", "info") for element in app.main.get(kind))


def annotations(chart: Any) -> list[str]:
    return [note.get("text", "") for note in json.loads(chart.proto.spec)["layout"].get("annotations", [])]


def picture(chart: Any) -> str:
    return str(json.loads(chart.proto.config)["toImageButtonOptions"]["filename"])


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("study", ["made", "made-early", "five"])
def test_every_page_chart_and_table_of_a_synthetic_study_says_so(
    both: Path, open_page: Open, page: str, study: str
) -> None:
    app = open_page(both, page, b=study, y="long_los")
    assert not app.exception
    assert main_text(app).startswith(f"**{stamp.WORD} DATA**"), (
        "above the title, also where a stage is missing"
    )
    for chart in app.get("plotly_chart"):
        assert annotations(chart).count(f"<b>{stamp.WORD}</b>") == 1
        assert picture(chart).startswith(f"{stamp.WORD}_{study}_")
    for table in app.dataframe:
        assert list(table.value.columns)[-1] == stamp.COLUMN
        assert (table.value[stamp.COLUMN] == "synthetic").all()
    pictures = [picture(chart) for chart in app.get("plotly_chart")]
    assert len(set(pictures)) == len(pictures), "no picture overwrites another"
    if study != "made-early":
        assert app.get("plotly_chart")
        assert app.dataframe or page in ("dynamics", "story")


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("study", ["real", "real-early"])
def test_nothing_of_a_real_study_says_so(both: Path, open_page: Open, page: str, study: str) -> None:
    app = open_page(both, page, b=study, y="long_los")
    assert not app.exception
    assert stamp.WORD.lower() not in main_text(app).lower()
    assert not any(stamp.WORD in str(badge.value) for badge in app.sidebar.markdown)
    for chart in app.get("plotly_chart"):
        assert stamp.WORD not in chart.proto.spec
        assert picture(chart).startswith(f"{study}_")
    for table in app.dataframe:
        assert stamp.COLUMN not in table.value.columns


def test_the_overview_says_what_synthetic_means(both: Path, open_page: Open) -> None:
    app = open_page(both, b="made")
    assert "no real patient" in app.info[0].value
    assert "nothing about medicine" in app.info[0].value


def test_the_study_picker_tells_them_apart(both: Path, open_page: Open) -> None:
    picker = open_page(both).selectbox(key="b")
    assert picker.options == [
        "five · synthetic",
        "made · synthetic",
        "made-early · synthetic",
        "real",
        "real-early",
    ]


def test_a_link_by_the_name_of_a_synthetic_study_opens_it(both: Path, open_page: Open) -> None:
    app = open_page(both, "overview", b="made-early")
    assert app.title[0].value.replace("\\", "") == "made-early"
    assert not app.toast


def test_pages_draw_only_through_the_pieces_that_stamp() -> None:
    home = Path(dashboard.__file__).parent
    for file in home.rglob("*.py"):
        if file != home / "ui.py":
            for direct in ("st.plotly_chart(", "st.dataframe(", "st.data_editor(", "st.download_button("):
                assert direct not in file.read_text(), f"{file.name} draws or exports past the stamp"


def test_the_stamp_lies_beyond_the_figures_margin() -> None:
    figure = theme.style(go.Figure(), height=300, margin={"l": 8, "r": 160, "t": 28, "b": 8})
    stamp.on_figure(figure)
    (note,) = figure.layout.annotations
    assert (note.xref, note.x, note.xanchor, note.xshift) == ("paper", 1, "left", 160)
    assert figure.layout.margin.r > 160 + note.font.size


def test_an_empty_table_carries_the_word_in_its_head() -> None:
    assert stamp.on_table(pl.DataFrame({"a": []})).columns == ["a", stamp.WORD]


@pytest.mark.parametrize("site", ["mimic", "institution", "all"])
def test_site_against_site_compares_the_chosen_site_with_the_source(
    both: Path, open_page: Open, site: str
) -> None:
    app = open_page(both, "map", b="five", c="difference", s=site)
    assert not app.exception
    other = "none" if site == "mimic" else site
    assert any(f"mimic against {other}" in caption.value for caption in app.caption)


def test_with_many_sites_the_curves_are_those_of_the_source_and_one_other(
    both: Path, open_page: Open
) -> None:
    app = open_page(both, "transfer", b="five", y="long_los", v="time", view="Calibration")
    curves = json.loads(app.get("plotly_chart")[1].proto.spec)["data"]
    named = {trace["name"]: trace["line"]["color"] for trace in curves if trace.get("name")}
    assert all(name.startswith(("mimic → mimic", "mimic → time")) for name in named)
    assert len(named) >= 3
    assert len(set(named.values())) == len(named), "no two arms in one colour"
