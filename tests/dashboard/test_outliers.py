"""The Outliers page: detectors side by side, and what sets one stay apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from streamlit.testing.v1 import AppTest

from dashboard import theme
from dashboard.charts import detectors as charts
from dashboard.detectors import LABELS, in_figures
from ehrfm_core import cell_words
from ehrfm_core.dynamics.detector_names import DETECTORS
from ehrfm_core.study import open_study
from tests.dashboard.test_pages import fine, text

Open = Callable[..., AppTest]


def alts(app: AppTest) -> list[str]:
    return [element.proto.alt for element in app.get("plotly_chart")]


def test_detectors_are_compared_and_the_first_stay_explained(studies: Path, open_page: Open) -> None:
    app = open_page(studies, "outliers", b="two", y="long_los")
    fine(app)
    drawn = alts(app)
    assert any(alt.startswith("Share flagged") and "Long stay" in alt for alt in drawn)
    assert any("Token categories in which stay" in alt for alt in drawn)
    assert any("Principal components along which stay" in alt for alt in drawn)
    frame = open_study(studies / "two").result("outliers")
    tokens = frame.filter(outcome="long_los", measure="roc_auc", detector="n_tokens", site="ucmc")
    assert f"ucmc: {cell_words.sized(tokens['n'][0], tokens['n_events'][0])}" in text(app)


def test_the_stay_in_the_link_is_the_one_explained(studies: Path, open_page: Open) -> None:
    study = open_study(studies / "two")
    top = study.site_table("ucmc", "stays").filter(split="test")
    top = top.join(study.site_table("ucmc", "dynamics"), on="hospitalization_id").sort("anomaly_score")
    row = top.row(-1, named=True)
    app = open_page(studies, "outliers", b="two", f=f"ucmc/{row['hospitalization_id']}")
    fine(app)
    assert f"What sets stay {row['hospitalization_id']} apart" in text(app)
    assert f"of ucmc, {row['n_tokens']:,} tokens, against" in text(app)


@pytest.mark.parametrize("study", ["before", "unevaluated"])
def test_a_study_made_before_opens_and_says_what_to_run(studies: Path, open_page: Open, study: str) -> None:
    app = open_page(studies, "outliers", b=study)
    fine(app)
    assert "have not been compared in this study" in text(app)
    assert f"python -m train evaluate {studies / study}" in text(app)
    assert any("Token categories in which stay" in alt for alt in alts(app))


def test_too_few_inliers_are_told(studies: Path, open_page: Open) -> None:
    app = open_page(studies, "outliers", b="tiny")
    fine(app)
    assert "too few inliers to compare with" in text(app)


def rows() -> pl.DataFrame:
    measures = ["share_flagged", "spearman_n_tokens", "roc_auc", "roc_auc_adjusted"]
    found = [
        {"site": site, "detector": name, "measure": measure, "estimate": 0.5 + i / 100}
        | {"ci_low": 0.4 if name != "ecod" else None, "ci_high": 0.9 if name != "ecod" else None}
        | {"n": 1000, "n_events": 20 if measure != "spearman_n_tokens" else None}
        for i, name in enumerate(LABELS)
        for site in ("mimic", "ucmc")
        for measure in measures
        if name in DETECTORS or measure.startswith("roc_auc")
    ]
    return pl.DataFrame(found, infer_schema_length=None)


def test_every_estimate_is_drawn_with_its_interval() -> None:
    figure = charts.comparison(rows(), LABELS, theme.site_colours(["mimic", "ucmc"]))
    assert sum(len(trace.x) for trace in figure.data) == rows().height
    before = [trace for trace in figure.data if trace.marker.symbol == "circle-open"]
    assert len(before) == 2, "one a site, in the last panel"
    trace = before[0]
    for i, (x, hover) in enumerate(zip(trace.x, trace.text, strict=True)):
        known = "ECOD" not in hover
        assert (trace.error_x.array[i] > 0) == known
        if known:
            assert x + trace.error_x.array[i] == pytest.approx(0.9)
            assert "[0.40–0.90]" in hover
        assert "n 1,000, 20 events" in hover
    places = [y for trace in figure.data for y in trace.y]
    assert all(abs(y - round(y)) < 0.5 for y in places), "no mark slips into another row"


def test_what_is_not_estimated_is_not_drawn() -> None:
    nothing = rows().with_columns(pl.lit(None, pl.Float64).alias("estimate"))
    figure = charts.comparison(nothing, LABELS, theme.site_colours(["mimic", "ucmc"]))
    assert sum(len(trace.x) for trace in figure.data) == 0


def test_the_figures_carry_intervals_n_and_events() -> None:
    table = in_figures(rows())
    assert table.height == 2 * len(LABELS)
    row = table.filter(Site="mimic", Detector="Isolation forest").row(0, named=True)
    assert row["AUC"] == "0.5 [0.4–0.9]"
    assert (row["n"], row["events"]) == (1000, "20")
    assert table.filter(Site="mimic", Detector="ECOD")["AUC"][0] == "0.54"
    assert table.filter(Detector="Number of tokens alone")["Flagged"].is_null().all()


def test_the_stay_is_drawn_against_the_span_of_the_inliers() -> None:
    figure = charts.against_inliers(
        ["a", "b"], [9, 0], [1, 2], [2, 3], [4, 5], colour="#0072B2", title="Tokens"
    )
    span, middle, stay = figure.data
    assert list(span.x) == [1, 4, None, 2, 5, None]
    assert list(middle.x) == [2, 3]
    assert list(stay.x) == [9, 0]
    assert list(figure.layout.yaxis.ticktext) == ["a", "b"]
    assert np.all(np.diff(stay.y) < 0), "top to bottom"
