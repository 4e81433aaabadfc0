"""Every page on every shape of study: it draws what it should, says what is missing, and never raises."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from streamlit.testing.v1 import AppTest

from dashboard import data
from dashboard.navigation import PAGES
from ehrfm_core.small_cells import MIN_CELL
from ehrfm_core.study import open_study
from ehrfm_core.study.layout import site_file
from tests.make_study import make_study
from tests.reseal import reseal

Open = Callable[..., AppTest]
CHARTS = {
    "overview": 1,
    "story": 1,
    "map": 2,
    "patient": 3,
    "dynamics": 8,
    "outliers": 4,
    "transfer": 4,
    "vocabulary": 2,
    "training": 1,
    "methods": 1,
}


def text(app: AppTest) -> str:
    kinds = (app.title, app.header, app.markdown, app.caption, app.warning, app.info, app.code)
    return "\n".join(str(element.value) for kind in kinds for element in kind)


def charts(app: AppTest) -> list[dict[str, object]]:
    return [json.loads(element.proto.spec) for element in app.get("plotly_chart")]


def fine(app: AppTest) -> None:
    assert not app.exception, app.exception
    assert not app.error


@pytest.mark.parametrize("page", PAGES)
def test_two_sites_draw_every_chart(studies: Path, open_page: Open, page: str) -> None:
    app = open_page(studies, page, b="two")
    fine(app)
    assert len(charts(app)) >= CHARTS[page]
    assert all(element.proto.alt for element in app.get("plotly_chart"))
    assert "For research only" in text(app)


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("outcome", ["death", "imv", "icu"])
@pytest.mark.parametrize("study", ["one", "tiny", "three", "unevaluated", "tokenized", "older"])
def test_no_shape_of_study_raises(
    studies: Path, open_page: Open, page: str, study: str, outcome: str
) -> None:
    fine(open_page(studies, page, b=study, y=outcome))


@pytest.mark.parametrize("page", PAGES)
def test_an_outcome_of_the_users_own_is_one_like_the_others(
    studies: Path, open_page: Open, page: str
) -> None:
    app, icu = (open_page(studies, page, b="own", y=outcome) for outcome in ("crrt", "icu"))
    fine(app)
    assert len(charts(app)) == len(charts(icu))  # it is the ICU by another name
    assert "First in crrt\\_therapy, \\*none\\* before" in text(app)
    assert "Dialysis after 24 h" in str(app)


@pytest.mark.parametrize(("study", "outcome"), [("two", "long_los"), ("one", "imv"), ("tiny", "icu")])
def test_where_the_outcome_happened(studies: Path, open_page: Open, study: str, outcome: str) -> None:
    app = open_page(studies, "map", b=study, y=outcome, c="rate")
    fine(app)
    assert (
        "share with the outcome; bins with fewer than 11 stays, or as few with it or without it, are empty"
        in text(app)
    )
    stays = open_study(studies / study).site_table("mimic", "stays")
    counted = stays.filter(open_study(studies / study).outcomes[outcome].counts())
    told = f"n {len(counted):,}, " if len(counted) >= MIN_CELL else "n fewer than 11"
    assert told in text(app)


@pytest.mark.parametrize("page", PAGES)
def test_a_broken_study_shows_its_sentence_instead_of_the_page(
    studies: Path, open_page: Open, page: str
) -> None:
    app = open_page(studies, page, b="broken")
    fine(app)
    assert "is not readable JSON" in text(app)
    assert not charts(app)


@pytest.mark.parametrize("page", PAGES)
def test_a_damaged_file_shows_its_sentence(studies: Path, open_page: Open, page: str) -> None:
    app = open_page(studies, page, b="damaged")
    fine(app)
    if page == "transfer":
        assert "metrics.parquet is missing" in text(app)
    elif page not in ("vocabulary", "training", "methods"):
        assert "dynamics.parquet is not as it was written" in text(app)


@pytest.mark.parametrize("page", PAGES)
def test_an_empty_folder_says_how_to_start(tmp_path: Path, open_page: Open, page: str) -> None:
    app = open_page(tmp_path, page)
    fine(app)
    assert "No study here yet" in text(app)


def test_a_missing_folder_is_named(tmp_path: Path, open_page: Open) -> None:
    app = open_page(tmp_path / "nowhere")
    fine(app)
    assert "nowhere does not exist" in text(app)


@pytest.mark.parametrize("page", ["map", "patient", "dynamics", "outliers"])
def test_a_missing_stage_comes_with_its_command(studies: Path, open_page: Open, page: str) -> None:
    app = open_page(studies, page, b="tokenized")
    assert "python -m train" in text(app)
    assert not charts(app)


def test_only_synthetic_studies_are_called_synthetic(studies: Path, open_page: Open) -> None:
    assert "SYNTHETIC" in text(open_page(studies, b="two"))
    assert "SYNTHETIC" not in text(open_page(studies, b="one"))


def test_one_site_gets_the_command_that_adds_another(studies: Path, open_page: Open) -> None:
    app = open_page(studies, "transfer", b="one", y="long_los")
    assert "One hospital only" in text(app)
    assert "--site NEW=" in text(app)
    assert "At home" in text(app)
    assert "loses 0" not in json.dumps(charts(app))


def test_one_class_gives_no_curve_but_the_reason(studies: Path, open_page: Open) -> None:
    app = open_page(studies, "transfer", b="one", y="imv")
    assert "nothing to rank" in text(app)
    assert "nothing to rank" in json.dumps(charts(app)[0])  # the ladder's panel
    assert not [name for name in app.get("plotly_chart") if "ROC curves" in name.proto.alt]


def test_the_legend_names_n_events_and_interval(studies: Path, open_page: Open) -> None:
    figure = charts(open_page(studies, "transfer", b="three", y="long_los"))[1]
    named = [trace["name"] for trace in figure["data"] if trace.get("showlegend") is not False]  # type: ignore[attr-defined]
    assert len(named) >= 4
    for name in named:
        assert re.search(r"AUC 0\.\d+ \[0\.\d+–[01]\.\d+\] · n \d+, \d+ events", name), name


def test_few_events_are_drawn_with_a_warning(studies: Path, open_page: Open) -> None:
    app = open_page(studies, "transfer", b="two", y="imv")
    assert "cannot be read" in text(app)
    assert charts(app)


def test_no_chart_uses_webgl(studies: Path, open_page: Open) -> None:
    for page in PAGES:
        for figure in charts(open_page(studies, page, b="two")):
            assert not [trace for trace in figure["data"] if str(trace["type"]).endswith("gl")]  # type: ignore[attr-defined]


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize(
    "query",
    [
        {"b": "../../etc", "y": "<script>alert(1)</script>"},
        {"f": "mimic/nobody"},
        {"f": "nowhere/m10000001", "s": "nowhere"},
        {"f": "////"},
        {"f": ["a", "b"], "b": ["two", "one"], "s": ["x", "y"]},
        {"t": "NaN", "c": "", "m": "\x00", "g": "∞", "o": "'; DROP TABLE", "k": "baseline", "y": ""},
        {"t": "1e999", "f": "mimic/" + "9" * 5000},
        {"b": "broken", "f": "mimic/m10000001"},
        {"runs": ["x" * 5000, "", "two", "broken", "tokenized"], "axis": "∞", "scale": "loglog"},
    ],
)
def test_hostile_links_never_raise(studies: Path, open_page: Open, page: str, query: dict[str, str]) -> None:
    fine(open_page(studies, page, **query))


def test_an_unknown_value_is_told_and_falls_back(studies: Path, open_page: Open) -> None:
    app = open_page(studies, "patient", b="two", y="sepsis", f="mimic/nobody")
    told = " ".join(toast.value for toast in app.toast)
    assert "an outcome that is not in this study" in told
    # a stay that is not there must not pass for the one that is shown in its place
    assert "names the stay mimic/nobody, which is not in this study" in " ".join(w.value for w in app.warning)
    assert app.selectbox(key="y").value == "death"


def test_a_link_restores_study_outcome_and_focus(studies: Path, open_page: Open) -> None:
    app = open_page(studies, "patient", b="two", y="icu", f="ucmc/u10000007")
    fine(app)
    assert app.selectbox(key="y").value == "icu"
    assert "Stay u10000007" in text(app)
    assert app.query_params["f"] == "ucmc/u10000007"
    assert not app.toast


def test_next_and_previous_walk_the_table(studies: Path, open_page: Open) -> None:
    app = open_page(studies, "patient", b="two")
    first = app.query_params["f"]
    app.button(key="next").click().run()
    second = app.query_params["f"]
    assert second != first
    app.button(key="previous").click().run()
    assert app.query_params["f"] == first
    app.button(key="random").click().run()
    fine(app)


def test_dynamics_of_an_older_evaluation_shows_what_it_has_and_the_command(
    studies: Path, open_page: Open
) -> None:
    app = open_page(studies, "dynamics", b="older")
    fine(app)
    assert text(app).count("run evaluate again") == 1
    assert "python -m train evaluate" in text(app)
    assert len(charts(app)) == 5


def test_dynamics_has_n_and_events_and_the_papers_sign(studies: Path, open_page: Open) -> None:
    app = open_page(studies, "dynamics", b="two", y="long_los", s="ucmc", x="hourly_max_step")
    fine(app)
    assert not app.toast
    for caption in app.caption:
        if "Test split" in caption.value and "any outcome" not in caption.value:
            assert re.search(r"n \d+, (\d+|fewer than 11) events", caption.value), caption.value
    signs = app.dataframe[0].value
    assert signs["Site"].to_list() == ["mimic"] * 3 + ["ucmc"] * 3
    assert set(signs["Paper"]) <= {"+", "−", "n.s. −"}
    assert "By tenth of a measure" in text(app)
    forest = [f for f in charts(app) if "Log-odds" in json.dumps(f["layout"])]
    assert len(forest) == 1
    assert len(forest[0]["layout"]["yaxis"]["ticktext"]) == 12  # type: ignore[index]


def test_the_threshold_moves_the_shares(studies: Path, open_page: Open) -> None:
    app = open_page(studies, "outliers", b="two")
    before = text(app)
    app.slider(key="t").set_value(0.4).run()
    fine(app)
    assert "Split at 0.40" in text(app)
    assert "Split at 0.50" in before


def test_the_session_holds_ids_only(studies: Path, open_page: Open) -> None:
    app = open_page(studies, "patient", b="two")
    app.button(key="next").click().run()
    held = app.session_state.to_dict()
    assert len(json.dumps(held, default=lambda value: pytest.fail(f"not a name: {value!r}"))) < 5_000


def test_switching_the_study_keeps_the_page_alive(studies: Path, open_page: Open) -> None:
    app = open_page(studies, "patient", b="two", s="ucmc")
    for name in ("one", "tiny", "broken", "unevaluated", "two"):
        app.selectbox(key="b").select(name).run()
        fine(app)


def test_the_map_tells_which_share_of_each_site_is_off_it(studies: Path, open_page: Open) -> None:
    app = open_page(studies, "map", b="two", s="ucmc")
    fine(app)
    paths = open_study(studies / "two").site_table("ucmc", "paths")
    share = paths["off_map"].mean()
    assert f"{100 * share:.1f} % of ucmc" in text(app)
    assert "umap-learn 0.5.12" in text(app)
    assert "11 % of ucmc's hours are off the map" in text(app)
    assert "Variance shown" in text(app)


@pytest.mark.parametrize("page", ["map", "patient"])
def test_a_study_from_before_the_distances_says_what_to_do(
    studies: Path, tmp_path: Path, open_page: Open, page: str
) -> None:
    shutil.copytree(studies / "two", tmp_path / "older")
    for site in ("mimic", "ucmc"):
        path = tmp_path / "older" / site_file(site, "paths")
        pl.read_parquet(path).drop("map_distance", "off_map").write_parquet(path)
    reseal(tmp_path / "older")
    app = open_page(tmp_path, page, b="older")
    fine(app)
    assert "'map_distance' is missing" in text(app).replace("\\", "")
    assert "again" in text(app)
    assert not charts(app)


def test_a_window_that_is_not_24_hours_is_told_on_every_page(tmp_path: Path, open_page: Open) -> None:
    made = make_study(tmp_path / "long", sites={"mimic": 60})
    settings = json.loads((made / "tokenizer.json").read_text())
    (made / "tokenizer.json").write_text(json.dumps(settings | {"window_hours": 48.0}))
    reseal(made)
    for page in ("overview", "dynamics"):
        told = [info.value for info in open_page(tmp_path, page).info]
        assert any("The window of this study is 48 h" in text for text in told), page
    make_study(tmp_path / "usual", sites={"mimic": 60})
    assert not [i for i in open_page(tmp_path, "dynamics", b="usual").info if "window of this" in i.value]


def test_outcomes_that_nobody_tells_come_last(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", sites={"mimic": 60, "ucmc": 50}, stages=("tokenize",))
    assert data.told_first(open_study(study)) == ["death", "long_los", "icu", "imv"]
    for table in sorted(study.glob("sites/*/stays.parquet")):
        untold = pl.lit(None, dtype=pl.Boolean).alias("death")
        pl.read_parquet(table).with_columns(untold).write_parquet(table)
    reseal(study)
    data._site_table.clear()
    assert data.told_first(open_study(study)) == ["long_los", "icu", "imv", "death"]


def test_a_study_opens_on_an_outcome_that_every_hospital_can_show(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", sites={"mimic": 600, "ucmc": 500}, few_events="death")
    assert data.told_first(open_study(study)) == ["long_los", "icu", "imv", "death"]
