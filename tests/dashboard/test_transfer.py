"""The parts of the page Transfer: their figures as pure functions, and the page on studies of every shape."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest

from dashboard import theme
from dashboard.arms import auc_rows
from dashboard.charts import ladder, matrix, subgroups, threshold, transfer
from dashboard.gaps import Estimate
from dashboard.matrix import pairs
from dashboard.measures import MIN_CELL
from dashboard.paired import shown
from dashboard.subgroups import counts, forest_rows
from ehrfm_core.published import published
from ehrfm_core.small_cells import unsafe
from ehrfm_core.study import open_study
from tests.dashboard.test_pages import Open, charts, fine, text
from tests.reseal import reseal

COLOURS = theme.site_colours(["mimic", "ucmc", "rush"])


def alts(app: object) -> str:
    return "\n".join(chart.proto.alt for chart in app.get("plotly_chart"))  # type: ignore[attr-defined]


def test_a_rung_has_its_interval_or_says_that_it_has_none() -> None:
    rungs = [Estimate(0.8, 0.7, 0.9, 900, 90), Estimate(0.6, None, None, 40, 3), None]
    printed = [Estimate(0.9, None, None), Estimate(0.5, None, None), None]
    lines = [
        ladder.Line("Probe", "circle", rungs),
        ladder.Line("Probe, published", "circle", printed, published=True, legend="Published"),
    ]
    figure = ladder.ladder([ladder.Panel("A", "no clear gap", lines)] * 5, ["x", "y", "z"], ["#0072B2"] * 3)
    own, hollow = figure.data[:2]
    assert list(own.x) == [0.8, 0.6]
    assert list(own.y) == [0, -1]
    assert list(own.error_x.array) == pytest.approx([0.1, 0.0])
    assert "[0.700–0.900]<br>n 900, 90 events" in own.customdata[0][1]
    assert own.customdata[1][1] == "(no interval)<br>n 40, fewer than 11 events"
    assert hollow.marker.symbol == "circle-open"
    assert "no interval was published" in hollow.customdata[0][1]
    assert len([trace for trace in figure.data if trace.showlegend]) == 2
    assert len({trace.line.color for trace in figure.data if trace.name == "Probe"}) == 1  # gains as losses
    assert figure.layout.xaxis5.domain[0] > 0.3  # five panels: three, then two


def test_the_ladder_comes_first_with_the_papers_numbers(studies: Path, open_page: Open) -> None:
    app = open_page(studies, "transfer", b="two", y="icu")
    fine(app)
    first = charts(app)[0]
    hollow = [t for t in first["data"] if str(t["marker"]["symbol"]).endswith("-open")]  # type: ignore[attr-defined]
    table = published("roc_auc")
    assert [t["x"] for t in hollow] == [
        [
            table.value("roc_auc", model="probe", arm=arm, outcome=name)
            for arm in ("in_distribution", "zero_shot")
        ]
        for name in ("death", "long_los", "icu", "imv")
    ]
    words = text(app)
    assert "Local data" in words
    assert "n (events), mimic then ucmc" in words
    assert "no clear gap" in json.dumps(first)


def test_an_own_outcome_has_a_panel_and_no_published_figure(studies: Path, open_page: Open) -> None:
    first = charts(open_page(studies, "transfer", b="own", y="crrt"))[0]
    assert "Dialysis after 24 h" in json.dumps(first)
    assert sum(str(t["marker"]["symbol"]).endswith("-open") for t in first["data"]) == 4  # type: ignore[attr-defined]


def test_other_hospitals_have_no_published_figure(studies: Path, open_page: Open) -> None:
    app = open_page(studies, "transfer", b="three", y="icu", v="rush")
    fine(app)
    assert "Published" not in json.dumps(charts(app)[0])
    assert "rush" in json.dumps(charts(app)[0])


def test_any_pair_of_hospitals(studies: Path, open_page: Open) -> None:
    app = open_page(studies, "transfer", b="three", y="long_los", home="ucmc", v="mimic")
    fine(app)
    assert not app.toast
    assert "this study has no such run" in text(app)
    roc = json.dumps(charts(app)[1], ensure_ascii=False)
    assert "ucmc → ucmc" in roc
    assert "ucmc → mimic, unchanged" in roc
    assert "mimic → mimic" not in roc
    assert "A little local data" not in text(app)
    assert "trained at each hospital" in alts(app)


def test_groups_of_arms_stand_as_high_as_they_need(studies: Path) -> None:
    study = open_study(studies / "two")
    rows = auc_rows(study, study.result("metrics"), "long_los")
    rows = rows.filter((pl.col("arm") != "adapted") | (pl.col("model") == "probe"))
    figure = transfer.baselines(rows, COLOURS)
    heights = sorted((y for trace in figure.data for y in trace.y), reverse=True)
    assert len(heights) == rows["estimate"].count()
    steps = [round(a - b, 3) for a, b in pairwise(heights)]
    assert set(steps) == {1.0, 1.9}  # a line a dot, a gap between groups: nothing overlaps
    assert len(figure.layout.yaxis.tickvals) == rows["label"].n_unique()


def test_the_threshold_is_drawn_as_it_was_measured(studies: Path, open_page: Open) -> None:
    metrics = open_study(studies / "two").result("metrics")
    rows = metrics.filter(pl.col("metric").str.starts_with("carried"), model="probe", outcome="long_los")
    figure = threshold.carried(rows, ["mimic", "ucmc"], COLOURS, aim=0.9)
    assert len(figure.data) == 4
    ppv = rows.filter(metric="carried_ppv", test_site="ucmc")["estimate"][0]
    assert figure.data[2].x[1] == pytest.approx(100 * ppv)
    assert all(
        "[" in row[1] or row[1] == "(no interval)" for trace in figure.data for row in trace.customdata
    )
    app = open_page(studies, "transfer", b="two", y="long_los")
    assert "so few alerts, right or wrong, that a share would be their number" in text(app)


def test_subgroups_that_are_too_small_are_named_and_not_drawn(studies: Path) -> None:
    study = open_study(studies / "two")
    own = study.result("metrics").filter(
        model="probe", outcome="long_los", arm="in_distribution", metric="roc_auc"
    )
    from dashboard.data import _stays

    stays = _stays(str(study.folder), study.digest, "mimic").filter(pl.col("split") == "test")
    counted = counts(stays.filter(pl.col("counts_long_los")), "long_los")
    rows, hidden = forest_rows(own, counted)
    small = set(counted.filter(pl.col("fewest") < MIN_CELL)["subgroup"])
    assert small
    assert not small & set(own["subgroup"])
    assert hidden >= len(small), "and those by which they could be told from all stays"
    shown = [row for row in rows if row.get("estimate") is not None and "subgroup" in row]
    for name in ("sex", "race", "ethnicity", "age"):
        groups = [row for row in shown if row["subgroup"].startswith(f"{name}=")]
        left = {part: rows[0][part] - sum(row[part] for row in groups) for part in ("n", "n_events")}
        assert not unsafe(left["n_events"], left["n"]) or not groups
    figure = subgroups.forest(rows, "#0072B2")
    notes = [note.text for note in figure.layout.annotations]
    assert notes.count("suppressed") == hidden
    assert rows[0]["label"] == "All"
    assert len(figure.data[0].x) == len(shown)
    assert next(row["label"] for row in rows if row.get("heading")) == "Sex"


def test_the_matrix_has_every_pair_and_its_interval(studies: Path, open_page: Open) -> None:
    study = open_study(studies / "three")
    rows = pairs(study.result("metrics"), "probe", "long_los")
    assert rows.height == 9
    figure = matrix.heat(rows, study.sites, COLOURS)
    value = rows.filter(train_site="ucmc", test_site="rush").row(0, named=True)
    assert figure.data[0].z[1][2] == value["estimate"]
    spoken = figure.data[0].customdata[1][2]
    assert f"[{value['ci_low']:.3f}–{value['ci_high']:.3f}]<br>n {value['n']:,}" in spoken
    gap = matrix.heat(rows.filter(train_site="mimic"), study.sites, COLOURS)
    assert [note.text for note in gap.layout.annotations].count("—") == 6
    assert "Every hospital to every other" not in text(open_page(studies, "transfer", b="two", y="icu"))


def test_a_pair_is_told_apart_by_the_corrected_p(studies: Path) -> None:
    table = open_study(studies / "two").result("comparisons").filter(outcome="long_los")
    words = shown(table)
    assert words.height == table.height
    for row in words.iter_rows(named=True):
        if row["p_holm"] is None:
            assert row["better"] == "too few"
        elif row["p_holm"] < 0.05:
            assert row["better"] == ("first" if row["difference"] > 0 else "second")
        else:
            assert row["better"] == "not told apart"


def test_an_older_evaluation_says_what_it_lacks(studies: Path, tmp_path: Path, open_page: Open) -> None:
    import shutil

    made = shutil.copytree(studies / "three", tmp_path / "bare")
    manifest = json.loads((made / "study.json").read_text())
    for name in ("thresholds", "comparisons", "reweighting"):
        del manifest["stages"]["evaluate"]["files"][f"results/{name}.parquet"]
    (made / "study.json").write_text(json.dumps(manifest))
    path = made / "results/metrics.parquet"
    metrics = pl.read_parquet(path)
    metrics.filter(~pl.col("metric").str.starts_with("carried"), subgroup="all").write_parquet(path)
    reseal(made)
    app = open_page(tmp_path, "transfer", b="bare", y="long_los", arm="in_distribution")
    fine(app)
    for words in ("No threshold yet", "No subgroups yet", "The gap is not divided yet"):
        assert words in text(app)
    assert "Local data:" in text(app)
    assert len(charts(app)) >= 3


def test_a_baseline_has_no_subgroups(studies: Path, open_page: Open) -> None:
    app = open_page(studies, "transfer", b="two", y="long_los", k="baseline_token_counts")
    fine(app)
    assert "Not for baselines" in text(app)
    assert "Baseline: count of each token" in json.dumps(charts(app)[0])
