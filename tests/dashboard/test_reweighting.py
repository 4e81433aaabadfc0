from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from dashboard.charts import reweighting as charts
from ehrfm_core.study import open_study
from tests.dashboard.test_pages import Open, text
from tests.make_study import make_study


@pytest.fixture(scope="module")
def enough(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one study, of enough stays to be re-weighted by population."""
    folder = tmp_path_factory.mktemp("enough")
    make_study(folder / "large", sites={"mimic": 400, "ucmc": 240})
    return folder


def test_four_rows_and_a_word_where_there_is_no_figure(enough: Path) -> None:
    study = open_study(enough / "large")
    rows = study.result("reweighting").filter(outcome="long_los")
    figure = charts.ladder(rows, source="mimic", target="ucmc", colours=("#0072B2", "#D55E00"))
    assert [len(trace.x) for trace in figure.data] == [1, 1, 0, 1]
    assert [list(trace.y) for trace in figure.data] == [[0], [-1], [], [-3]]
    estimate = rows.filter(quantity="home_reweighted", characteristics="population")["estimate"][0]
    assert figure.data[1].x[0] == estimate
    assert [note.y for note in figure.layout.annotations if note.text == "no figure"] == [-2]
    weighed = pl.col("quantity") == "home_reweighted"
    nothing = rows.with_columns(
        pl.when(~weighed).then(pl.col(name)).alias(name) for name in ("estimate", "ci_low", "ci_high")
    )
    empty = charts.ladder(nothing, source="mimic", target="ucmc", colours=("#0072B2", "#D55E00"))
    assert [len(trace.x) for trace in empty.data] == [1, 0, 0, 1]
    assert [note.y for note in empty.layout.annotations if note.text == "no figure"] == [-1, -2]


def test_the_page_tells_the_gap_or_why_it_cannot(enough: Path, studies: Path, open_page: Open) -> None:
    told = text(open_page(enough, "transfer", b="large", y="long_los"))
    assert "What the patients explain" in told
    assert "By age, sex, race and ethnicity: explained " in told
    assert "Explained is not caused" in told
    few = text(open_page(studies, "transfer", b="two", y="long_los"))
    assert "no figure, since" in few
    assert "What the patients explain" not in text(open_page(studies, "transfer", b="one", y="long_los"))
    older = text(open_page(studies, "transfer", b="older", y="long_los"))
    assert "The gap is not divided yet" in older
    assert "python -m train evaluate" in older
