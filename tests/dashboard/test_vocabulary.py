"""The page on the vocabulary: its numbers, its figures, and every scheme of tokens."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from streamlit.testing.v1 import AppTest

from dashboard import other_tokens, typed_result
from dashboard import vocabulary as words
from dashboard.charts import hospitals_charted as pairs
from dashboard.charts import vocabulary as charts
from ehrfm_core.study import open_study
from ehrfm_core.study.layout import site_file
from ehrfm_core.tokens.explain import explain
from ehrfm_core.tokens.settings import TokenSettings
from ehrfm_core.tokens.tokenizer import Tokenizer
from ehrfm_core.tokens.vocabulary import SPECIAL, build
from tests.dashboard.test_pages import fine, text
from tests.make_clif import make_tables, write_tables
from tests.make_continued import second_hospital
from tests.make_study import make_study
from train.__main__ import main

Open = Callable[..., AppTest]
DEMO = Path(__file__).parents[2] / "data_samples/studies/demo-two-hospitals"
HOSTILE = (
    "",
    " ",
    "\x00",
    "lab",
    "age",
    "age old",
    "lab <script> 1",
    "labs potassium 1e999",
    "labs " + "x" * 5000,
)


def paper() -> Tokenizer:
    names = {"lab/potassium", "lab/inr", "race/asian", "answer/positive", "discharge/home"}
    cuts = {"age": [40.0, 60.0], "lab/inr": [1.1, 1.1, 1.2], "lab/potassium": [3.9, 4.2]}
    return Tokenizer(TokenSettings(n_bins=4), cuts, build(names, n_bins=4))


def frame(*rows: tuple[str, str, bool, float, int, float | None]) -> pl.DataFrame:
    names = ["site", "code", "known", "coverage", "n_events", "psi"]
    found = pl.DataFrame(rows, schema=names, orient="row", infer_schema_length=None)
    family = pl.col("code").str.split("/").list.first().alias("family")
    return found.with_columns(family, psi_noise=pl.lit(0.01), psi=pl.col("psi").cast(pl.Float64))


ROWS = frame(
    ("a", "lab/k", True, 0.9, 90, 0.001),
    ("b", "lab/k", True, 0.4, 40, 0.3),
    ("a", "lab/x_y", False, 0.0, 0, None),
    ("b", "lab/x_y", False, 0.7, 60, None),
)


def test_side_by_side_has_the_difference_and_what_is_lost() -> None:
    two = words.side_by_side(ROWS, ["a", "b"])
    assert two["difference"].to_list() == pytest.approx([-0.5, 0.7])
    assert two["unknown b"].to_list() == [0, 60]
    assert "difference" not in words.side_by_side(ROWS.filter(site="a"), ["a"]).columns
    third = ROWS.with_columns(site=pl.lit("c"), coverage=pl.lit(0.2)).unique("code")
    three = words.side_by_side(pl.concat([ROWS, third]), ["a", "b", "c"])
    assert three["difference"].to_list() == pytest.approx([0.7, 0.7])  # the largest less the smallest


def test_choices_stand_by_family_and_say_what_is_unknown() -> None:
    found = words.options(paper(), ROWS)
    assert list(found) == ["lab/potassium", "age", "lab/inr", "lab/k", "lab/x_y"]
    assert found["lab/x_y"] == "Labs · x y (unknown)"
    other = Tokenizer(TokenSettings(), {"age": [50.0], "lab/z": [1.0]}, build({"lab/a", "lab/z"}, n_bins=10))
    assert list(words.options(other, None)) == ["lab/z", "age", "lab/a"]


def test_a_family_that_only_a_hospital_has_is_in_the_table() -> None:
    more = frame(("a", "odd/z", False, 0.1, 5, None))
    table = words.family_table(paper(), pl.concat([ROWS, more]), {"a": {"lab": 2.5, "special": 1.5}})
    own = {row["family"]: row for row in table.iter_rows(named=True)}
    assert own["Labs"]["tokens"] == 2
    assert own["Assessment answers"]["mean a"] is None
    assert (own["Unknown (UNK)"]["tokens"], own["Unknown (UNK)"]["mean a"]) == (1, 0.5)
    assert own["Labs"]["mean a"] == 2.5
    assert own["Labs"]["unknown b"] == pytest.approx(0.6)
    assert (own["Odd"]["tokens"], own["Odd"]["unknown a"]) == (0, 1.0)


def test_every_special_token_is_explained() -> None:
    told = " ".join(token for _, token, _ in other_tokens.rows(paper()))
    assert all(token in told for token in SPECIAL)
    assert "time/…" not in told
    spaced = Tokenizer(TokenSettings(spacing=True, scheme="fused"), {}, build(set(), n_bins=0))
    fused = other_tokens.rows(spaced)
    assert "time/…" in [token for _, token, _ in fused]
    assert not [where for where, _, _ in fused if where == "After a category"]


def test_the_place_of_a_result_is_that_of_the_tokenizer() -> None:
    tokenizer = paper()
    for result, place in (
        ("lab potassium 4.2", ("lab/potassium", 2)),
        ("age 50", ("age", 1)),
        ("lab inr nan", None),
    ):
        found = explain(tokenizer, result)[0]
        assert typed_result.place_of(tokenizer, result, found) == place
    assert typed_result.chips([("<b>", 1)]).count("&lt;b&gt;") == 1


def test_the_ruler_marks_empty_bins_and_the_typed_one() -> None:
    bins = charts.Bins(["Q0", "Q1", "Q2", "Q3"], [1.1, 1.1, 1.2], empty=[1], typed=3)
    figure = charts.ruler(
        bins,
        {"a": [0.2, 0, 0.3, 0.5], "t": [0.25, 0, 0.25, 0.5]},
        {"a": "#0072B2", "t": "#0072B2"},
        trained="t",
        axis="INR",
    )
    cells = figure.data[-1]
    assert list(cells.marker.pattern.shape) == ["", "/", "", ""]
    assert "no value can fall here" in cells.customdata[1]
    assert cells.customdata[3] == "Q3: from 1.2"
    assert figure.layout.shapes[0].x0 == 2.5
    one = charts.ruler(charts.Bins(["Q0"], []), {}, {}, trained="", axis="x")
    assert one.data[-1].customdata[0] == "Q0: every value"
    many = charts.Bins([f"Q{i}" for i in range(100)], [float(i) for i in range(99)])
    assert len(charts.ruler(many, {}, {}, trained="", axis="x").layout.xaxis2.tickvals) <= charts.MOST_TICKS


def test_the_figures_of_hospitals_tell_unknown_codes_and_keep_names_apart() -> None:
    table = words.side_by_side(ROWS, ["a", "b"])
    figure = pairs.coverage(table, "a", "b", {"lab": "Labs"})
    assert list(figure.data[1].marker.symbol) == ["circle", "circle-open"]
    assert {note.text for note in figure.layout.annotations} == {"k", "x y"}
    figure = pairs.drift(ROWS.drop_nulls("psi"), {"a": "#0072B2", "b": "#D55E00", "none": "#000000"})
    assert [trace.name for trace in figure.data] == ["a: by chance", "a", "b: by chance", "b"]
    assert figure.data[1].customdata[0][1] == 0.001


def test_a_link_shows_a_category_and_its_result(open_page: Open) -> None:
    app = open_page(DEMO, "vocabulary", b="demo-two-hospitals", code="lab/inr", result="labs inr 1.2")
    fine(app)
    assert app.selectbox(key="code").value == "lab/inr"
    assert "at or above 6 of 9 cut points" in text(app)
    assert "always empty" in text(app)
    bar = json.loads(app.get("plotly_chart")[0].proto.spec)
    assert bar["layout"]["shapes"]
    app.selectbox(key="code").select("lab/glucose").run()  # only the second hospital has it
    fine(app)
    assert app.text_input(key="result").value == "lab glucose"
    assert "UNK" in text(app)
    assert len(app.get("plotly_chart")) == 2


def test_what_is_typed_is_explained_whatever_it_is(open_page: Open) -> None:
    app = open_page(DEMO, "vocabulary", b="demo-two-hospitals")
    assert "Q5" in text(app)
    for result in HOSTILE:
        app.text_input(key="result").set_value(result).run()
        assert not app.exception, result
    app.text_input(key="result").set_value("labs potassium NaN").run()
    assert "is no finite number" in text(app)
    app.text_input(key="result").set_value("labs potasium 4").run()
    assert "Near it\\: potassium" in text(app)
    app.text_input(key="result").set_value("nothing here").run()
    assert "tables are adt, labs" in text(app)
    app.selectbox(key="code").select("age").run()
    fine(app)
    assert "PSI" in text(app)


@pytest.mark.parametrize("code", ["<b>", "lab/", "'; DROP", "x" * 4000])
def test_an_unknown_category_in_a_link_falls_back(studies: Path, open_page: Open, code: str) -> None:
    app = open_page(studies, "vocabulary", b="two", code=code, result=code)
    fine(app)
    assert app.selectbox(key="code").value == "lab/potassium"
    assert "a category that is not in this study" in " ".join(toast.value for toast in app.toast)


def test_a_study_without_the_table_of_categories_shows_the_rest(tmp_path: Path, open_page: Open) -> None:
    made = make_study(tmp_path / "old", sites={"mimic": 40}, stages=("tokenize",))
    (made / site_file("mimic", "categories")).unlink()
    (made / site_file("mimic", "windows")).unlink()
    app = open_page(tmp_path, "vocabulary")
    fine(app)
    assert "Coverage and drift are not in this study" in text(app)
    assert "python -m train tokenize" in text(app)
    assert len(app.get("plotly_chart")) == 1


def test_three_sites_choose_which_to_set_beside_the_source(tmp_path: Path, open_page: Open) -> None:
    make_study(tmp_path / "three", sites={"a": 40, "b": 40, "c": 40}, stages=("tokenize",))
    app = open_page(tmp_path, "vocabulary", v="c")
    fine(app)
    spec = [json.loads(chart.proto.spec) for chart in app.get("plotly_chart")][1]
    assert "of c" in json.dumps(spec["layout"]["yaxis"]["title"])


@pytest.mark.parametrize(
    "options",
    [
        ("--scheme", "fused", "--spacing", "--history"),
        ("--bins", "reference", "--labs", "fine"),
        ("--events", "all", "--n-bins", "40"),
    ],
)
def test_every_scheme_draws(tmp_path: Path, open_page: Open, options: tuple[str, ...]) -> None:
    sites = {"first": make_tables(), "second": second_hospital()}
    paths = [f"{name}={write_tables(tables, tmp_path / 'clif' / name)}" for name, tables in sites.items()]
    study = tmp_path / "studies/made"
    assert main(["tokenize", str(study), *(x for path in paths for x in ("--site", path)), *options]) == 0
    tokenizer = Tokenizer.from_json(open_study(study).tokenizer())
    app = open_page(tmp_path / "studies", "vocabulary")
    fine(app)
    assert len(app.get("plotly_chart")) >= 2
    assert "at or above" in text(app)  # what is suggested is known, under every scheme
    for code in list(words.options(tokenizer, None))[::9]:
        app.selectbox(key="code").select(code).run()
        fine(app)


def test_the_page_imports_no_torch() -> None:
    parts = "hospitals_charted, other_tokens, typed_result, value_bins"
    script = f"import sys; from dashboard import {parts}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=DEMO.parents[2], check=False).returncode == 0
