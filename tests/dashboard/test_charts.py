"""Figures as pure functions: what is drawn, with which colours, and nothing with WebGL."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import polars as pl
import pytest

from dashboard import measures, theme
from dashboard.associations import signs
from dashboard.charts import associations as association_charts
from dashboard.charts import dynamics, maps, outliers, overview, paths, patient, token_types, transfer
from dashboard.roc import GRID, roc
from dashboard.table_one import table_one
from ehrfm_core.published import published
from ehrfm_core.small_cells import MIN_CELL, unsafe

INFO = {"x_range": [-2.0, 2.0], "y_range": [-1.0, 3.0], "explained_variance": [0.5, 0.25]}


def path(hours: int = 25) -> pl.DataFrame:
    hour = np.arange(hours)
    return pl.DataFrame(
        {"hour": hour, "pca_x": hour / 20, "pca_y": np.sin(hour), "umap_x": hour / 20, "umap_y": np.cos(hour)}
        | {"off_map": [None, True, *[False] * (hours - 2)][:hours]}
        | {
            f"risk_{name}": [0.1] * hours if name != "icu" else [None] * hours
            for name in ("death", "long_los", "icu", "imv")
        },
        schema_overrides={f"risk_{name}": pl.Float32() for name in ("death", "long_los", "icu", "imv")},
    )


def tokens() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "position": [0, 1, 2, 3, 4],
            "event": [0, 1, 2, 2, 3],
            "hour": [0.0, 0.0, 1.0, 1.0, 20.0],
            "label": ["Known at the start", "Known at the start", "Labs", "Labs", "Vitals"],
            "text": ["TL START", "white", "lactate", "lactate · bin 10 of 10", "map"],
            "jump": [0.0, 60.0, 5.0, 9.0, 2.0],
            "information": [None, 1.0, 2.0, 3.0, 4.0],
            "prefix": [True, True, False, False, False],
        }
    )


def test_the_map_keeps_the_ranges_of_the_study_whatever_is_drawn() -> None:
    empty = maps.density_map(np.zeros((10, 10)), INFO, "pca", colour="#0072B2", height=300)
    full = maps.density_map(np.full((10, 10), 7.0), INFO, "pca", colour="#0072B2", height=300)
    for figure in (empty, full):
        assert list(figure.layout.xaxis.range) == INFO["x_range"]
        assert list(figure.layout.yaxis.range) == INFO["y_range"]
        assert figure.layout.yaxis.scaleanchor == "x"
    assert np.isnan(empty.data[0].z).all()
    assert "50 %" in full.layout.xaxis.title.text
    assert (
        "no units"
        in maps.density_map(
            np.ones((4, 4)), INFO, "umap", colour="#0072B2", height=300
        ).layout.xaxis.title.text
    )


def test_the_path_is_one_svg_trace_coloured_by_hour_with_the_largest_step_thick() -> None:
    figure = maps.density_map(np.ones((10, 10)), INFO, "pca", colour="#0072B2", height=300)
    paths.add_path(figure, path(), "pca", jump_minute=7 * 60 + 30.0)
    thick, line, start, end = figure.data[1:]
    assert {thick.type, line.type} == {"scatter"}
    assert thick.line.width > 3 * line.line.width
    np.testing.assert_allclose(thick.x, [7 / 20, 8 / 20])
    assert list(line.marker.color) == list(range(25))
    assert (line.marker.cmin, line.marker.cmax) == (0, 24)
    assert start.marker.symbol == "circle-open"
    assert (start.x[0], start.y[0]) == (line.x[0], line.y[0])
    assert (end.x[0], end.y[0]) == (line.x[-1], line.y[-1])
    assert "7.5 h" in figure.layout.annotations[0].text


def test_the_hours_of_a_longer_window_have_colours_of_their_own() -> None:
    hours = np.arange(49)
    longer = pl.DataFrame({"hour": hours, "pca_x": hours / 10, "pca_y": hours / 9, "off_map": [False] * 49})
    figure = maps.density_map(np.ones((10, 10)), INFO, "pca", colour="#0072B2", height=300)
    paths.add_path(figure, longer, "pca", jump_minute=None)
    (marker,) = (trace.marker for trace in figure.data if trace.name == "path")
    assert marker.cmax == 48
    assert list(marker.colorbar.ticktext) == ["0 h", "12 h", "24 h", "36 h", "48 h"]


def test_hours_off_the_map_are_faded_and_bins_of_them_are_grey() -> None:
    counts, off = np.full((10, 10), 4.0), np.zeros((10, 10))
    off[2, 3], off[5, 5] = 3, 2
    figure = maps.density_map(counts, INFO, "pca", colour="#0072B2", height=300, off_map=off)
    grey = np.argwhere(np.isfinite(figure.data[1].z))
    assert grey.tolist() == [[2, 3]]
    np.testing.assert_array_equal(figure.data[1].x, figure.data[0].x)
    paths.add_path(figure, path(), "pca", jump_minute=None)
    (line,) = (trace for trace in figure.data if trace.name == "path")
    assert [i for i, opacity in enumerate(line.marker.opacity) if opacity < 1] == [1]
    assert "off the map" in line.text[1]


def test_rates_are_of_bins_with_stays_enough_and_the_rest_is_empty() -> None:
    counted, events = np.full((8, 8), 10.0), np.full((8, 8), 5.0)
    counted[2, 3], events[2, 3] = 33, 22
    counted[4, 4], events[4, 4] = 33, 30  # all but three
    figure = maps.rate_map(counted, events, INFO, "pca", height=300)
    z = np.asarray(figure.data[0].z)
    assert np.argwhere(np.isfinite(z)).tolist() == [[2, 3]]
    assert z[2, 3] == pytest.approx(2 / 3)
    assert figure.data[0].zmax == pytest.approx(2 / 3)
    assert np.asarray(figure.data[0].customdata).sum() == 33  # counts of small bins are not even in the hover
    nobody = maps.rate_map(counted[:2, :2], events[:2, :2] * 0, INFO, "umap", height=300)
    assert nobody.data[0].zmax == 1


def test_a_path_without_events_has_no_thick_step_and_an_empty_one_draws_nothing() -> None:
    figure = maps.density_map(np.ones((10, 10)), INFO, "umap", colour="#0072B2", height=300)
    assert len(paths.add_path(figure, path(), "umap", jump_minute=None).data) == 4
    assert len(paths.add_path(figure, path().clear(), "umap", jump_minute=5.0).data) == 4


def test_site_against_site_leaves_thin_bins_empty() -> None:
    first, second = np.full((2, 2), 4.0), np.array([[100.0, 1.0], [20.0, 1.0]])
    figure = maps.difference_map(first, second, INFO, "pca", colours=("#0072B2", "#D55E00"), height=300)
    assert np.isnan(figure.data[0].z[:, 1]).all()
    assert figure.data[0].z[0, 0] < 0


def test_lanes_share_one_clock_and_leave_the_prefix_out_of_the_jumps() -> None:
    figure = patient.lanes(
        tokens(), tokens().tail(3).sort("jump", descending=True).with_row_index("rank", offset=1), path()
    )
    assert all(
        tuple(axis.range) == (-0.4, 24.4)
        for axis in (figure.layout.xaxis, figure.layout.xaxis2, figure.layout.xaxis3)
    )
    stems = next(trace for trace in figure.data if trace.mode == "lines" and trace.yaxis == "y2")
    assert np.nanmax(stems.y) == 9.0
    named = [note.text for note in figure.layout.annotations]
    assert any("In-hospital death" in text for text in named)
    assert not any("ICU" in text for text in named), "the stay does not count for the ICU outcome"


def test_lanes_of_a_stay_without_events() -> None:
    nothing = tokens().clear()
    figure = patient.lanes(nothing, nothing.with_row_index("rank"), path().clear())
    assert isinstance(figure, go.Figure)


def frame(n: int = 300, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    value = rng.normal(size=n)
    return pl.DataFrame(
        {
            "hospitalization_id": [str(i) for i in range(n)],
            "path_length": value,
            "n_tokens": np.round(np.exp(4 + value)).astype(int),
            "anomaly_score": 0.5 + value / 20,
            "death": rng.random(n) < 1 / (1 + np.exp(2 - value)),
        }
    )


def test_dose_response_covers_every_stay_and_uses_the_sites_colours() -> None:
    table = measures.rate_by_quantile(frame(), "path_length", "death")
    assert table["n"].sum() == 300
    assert 2 <= len(table) < 10, "few events: tenths are joined"
    assert unsafe(table["events"].to_numpy(), table["n"].to_numpy()).sum() == 0
    often = frame().with_columns(death=pl.Series(np.arange(300) % 2 == 0))
    assert len(measures.rate_by_quantile(often, "path_length", "death")) > len(table)
    assert (table["ci_low"] <= table["rate"]).all()
    assert (table["rate"] <= table["ci_high"]).all()
    figure = dynamics.dose_response({"mimic": table, "ucmc": table}, "Path length")
    assert [trace.line.color for trace in figure.data] == ["#0072B2", "#D55E00"]


def test_fewer_stays_give_fewer_bins_and_ties_never_split() -> None:
    half = frame(90).with_columns(death=pl.Series(np.arange(90) % 2 == 0))
    assert len(measures.rate_by_quantile(half, "path_length", "death")) == 2
    assert measures.rate_by_quantile(half.head(15), "path_length", "death").is_empty(), "8 with, 7 without"
    tied = half.with_columns(path_length=pl.lit(1.0))
    assert measures.rate_by_quantile(tied, "path_length", "death")["n"].to_list() == [90]


def test_spearman_is_one_for_what_only_bends() -> None:
    bent = frame().with_columns(bent=pl.col("path_length").exp())
    assert measures.spearman(bent, ["path_length", "bent"])[0, 1] == pytest.approx(1)
    assert np.isnan(measures.spearman(bent.head(2), ["path_length", "bent"])).all()


def associations() -> pl.DataFrame:
    rows = [
        {"site": site, "outcome": "death", "feature": feature, "adjustment": adjustment, "n": 50}
        | {
            "coefficient": value,
            "ci_low": None if value is None else value - 1,
            "ci_high": None if value is None else value + 1,
        }
        for site in ("mimic", "ucmc")
        for feature, value in (("path_length", 0.0), ("max_jump", None))
        for adjustment in dynamics.ADJUSTMENTS
    ]
    return pl.DataFrame(rows, infer_schema_length=None)


def test_the_forest_explains_its_symbols_where_the_first_site_has_no_coefficient() -> None:
    rows = associations().with_columns(
        pl.when(pl.col("site") != "mimic").then(pl.col(c)).alias(c)
        for c in ("coefficient", "ci_low", "ci_high")
    )
    figure = dynamics.forest(rows, measures.FEATURES, theme.site_colours(["mimic", "ucmc"]))
    shown = [trace.name for trace in figure.data if trace.showlegend]
    assert len(shown) == len(set(shown)) == rows.filter(site="ucmc")["adjustment"].n_unique()
    ticks = figure.layout.yaxis.ticktext
    assert [tick for tick in ticks if "not estimated" not in tick] == ["Path length · ucmc"]


def test_the_forest_is_in_odds_ratios_on_a_log_axis_and_skips_what_could_not_be_estimated() -> None:
    figure = dynamics.forest(associations(), measures.FEATURES, theme.site_colours(["mimic", "ucmc"]))
    assert figure.layout.xaxis.type == "log"
    assert {x for trace in figure.data for x in trace.x} == {1.0}
    assert [trace.name for trace in figure.data if trace.showlegend] == [
        label for label, _ in dynamics.ADJUSTMENTS.values()
    ]


def test_each_measure_is_drawn_alone_and_adjusted_in_log_odds() -> None:
    rows = pl.concat(
        associations()
        .filter(site="mimic", adjustment="unadjusted")
        .with_columns(pl.lit(adjustment).alias("adjustment"), n_events=pl.lit(9), vif=pl.lit(2.0))
        for adjustment in association_charts.ADJUSTMENTS
    )
    figure = association_charts.coefficients(rows, measures.FEATURES, "#0072B2")
    assert [trace.name for trace in figure.data] == [
        label for label, _ in association_charts.ADJUSTMENTS.values()
    ]
    assert {x for trace in figure.data for x in trace.x} == {0.0}
    assert {x for trace in figure.data for x in trace.error_x.array} == {1.0}
    assert figure.data[0].y[0] > figure.data[1].y[0]
    ticks = figure.layout.yaxis.ticktext
    assert [tick for tick in ticks if "not estimated" not in tick] == ["Path length"]
    assert association_charts.coefficients(rows.clear(), measures.FEATURES, "#0072B2").layout.xaxis.range
    adjusted = pl.col("adjustment") == "tokens_age_sex"
    entangled = rows.with_columns(
        pl.when(adjusted).then(1925.0).otherwise("vif").alias("vif"),
        pl.when(adjusted).then(pl.col("ci_low") * 30).otherwise("ci_low").alias("ci_low"),
    )
    figure = association_charts.coefficients(entangled, measures.FEATURES, "#0072B2")
    assert figure.layout.yaxis.ticktext[0] == "Path length (VIF 1,925)"
    assert figure.layout.xaxis.range[0] == pytest.approx(-1.1), "the axis is made for the others"


def test_deciles_have_the_tokens_beneath() -> None:
    rows = pl.DataFrame(
        {"decile": [1, 6], "low": [0.0, 1.0], "high": [0.0, 2.0], "n": [20, 10], "n_events": [2, 5]}
        | {"rate": [0.1, 0.5], "ci_low": [0.03, 0.2], "ci_high": [0.3, 0.8], "mean_tokens": [40.0, 90.0]}
    )
    figure = association_charts.by_decile(rows, "max jump", "#0072B2")
    rate, tokens = figure.data
    assert (rate.type, tokens.type) == ("scatter", "bar")
    assert list(rate.x) == list(tokens.x) == [1, 6]
    assert list(tokens.y) == [40, 90]
    assert list(rate.y + rate.error_y.array) == pytest.approx([0.3, 0.8])
    assert rate.yaxis != tokens.yaxis


def test_families_run_from_the_median_to_the_ninetieth_percentile() -> None:
    figures = {
        f"{kind}_{c}": [1.0 + i]
        for i, kind in enumerate(("median", "mean", "p90"))
        for c in token_types.MEASURES
    }
    rows = pl.DataFrame(
        {"family": ["lab"], "n_tokens": [7], "n_stays": [3], "path_share": [0.5], "information_share": [0.4]}
        | figures
    )
    figure = token_types.families(rows, {"lab": "Labs"}, "#0072B2")
    bars = [trace for trace in figure.data if trace.type == "bar"]
    assert [(bar.base[0], bar.base[0] + bar.x[0], bar.y[0]) for bar in bars] == [(1.0, 3.0, "Labs")] * 2


def test_signs_are_compared_and_what_is_not_significant_is_said() -> None:
    paper = published("associations").frame
    rows = pl.DataFrame(
        {"site": "mimic", "outcome": "imv", "feature": ["path_length", "max_jump", "anomaly_score"]}
        | {"coefficient": [0.3, -0.2, None], "ci_low": [0.1, -0.5, None], "ci_high": [0.5, 0.1, None]}
        | {"p_value": [0.01, 0.2, None], "vif": [1.0, 2.0, None], "n": 50, "n_events": 20}
        | {"paper_coefficient": [-1.43e-6, 0.537, 13.73]}
    )
    table = signs(rows, paper)
    assert table["Here"].to_list() == ["+", "n.s. −", "not estimated"]
    assert table["Paper"].to_list() == ["n.s. −", "+", "+"]


def test_flagged_and_not_add_up_and_an_empty_group_has_no_rate() -> None:
    table = measures.inside_outside(frame(), "death", 0.5)
    assert table["n"].sum() == 300
    assert table["share"].sum() == pytest.approx(1)
    nobody = measures.inside_outside(frame(), "death", 5.0)
    assert nobody.filter("flagged")["rate"].to_list() == [None]
    assert outliers.rates({"mimic": nobody}, {"mimic": "#0072B2"}).data


def test_scores_are_points_for_a_small_site_and_a_density_for_a_large_one() -> None:
    assert outliers.score_tokens(frame(), "mimic", "#0072B2", 0.5).data[0].type == "scatter"
    assert outliers.score_tokens(frame(3000), "mimic", "#0072B2", 0.5).data[0].type == "heatmap"
    shown = outliers.score_distribution({"mimic": frame(), "ucmc": frame(30, 1)}, 0.6)
    for trace, n in zip(shown.data, (300, 30), strict=True):
        assert np.sum(trace.y) == pytest.approx(1)
        steps = np.split(n * np.asarray(trace.y), np.flatnonzero(np.diff(trace.y)) + 1)
        assert all(step.sum() == 0 or step.sum() > MIN_CELL - 1e-9 for step in steps)


def test_roc_against_the_rank_formula_and_with_a_band_around_it() -> None:
    rng = np.random.default_rng(3)
    label = rng.random(400) < 0.2
    score = np.round(label + rng.normal(size=400), 1)  # ties
    curve = roc(label, score, rng.integers(0, 150, 400))
    assert curve is not None
    positive, negative = score[label][:, None], score[~label][None, :]
    assert curve.auc == pytest.approx(np.mean((positive > negative) + 0.5 * (positive == negative)))
    assert curve.auc_low < curve.auc < curve.auc_high
    assert (curve.low <= curve.high).all()
    inside = np.interp(GRID, curve.fpr, curve.tpr)
    assert np.mean((curve.low - 1e-9 <= inside) & (inside <= curve.high + 1e-9)) > 0.95
    assert len(curve.fpr) <= 400
    figure = transfer.roc_figure([("mimic · AUC", "#0072B2", "solid", curve)])
    assert figure.layout.yaxis.scaleanchor == "x"
    several = transfer.roc_figure([(f"arm {i}", "#0072B2", "solid", curve) for i in range(5)])
    squares = [f.layout.height - f.layout.margin.t - f.layout.margin.b for f in (figure, several)]
    assert squares[0] == squares[1], "the legend takes no more room than it has names"
    assert several.layout.legend.yref == "container"


def test_roc_needs_both_classes_and_enough_of_each_that_its_steps_count_nobody() -> None:
    score, patient_id = np.arange(40.0), np.arange(40)
    assert roc(np.zeros(40, dtype=bool), score, patient_id) is None
    assert roc(np.ones(40, dtype=bool), score, patient_id) is None
    assert roc(score < 10, score, patient_id) is None
    assert roc(score >= 10, score, patient_id) is None
    assert roc(score < 11, score, patient_id) is not None


def test_the_bootstrap_draws_patients_not_stays() -> None:
    rng = np.random.default_rng(0)
    label = rng.random(60) < 0.4
    score = label + rng.normal(size=60)
    alone = roc(label, score, np.arange(60))
    copied = roc(np.tile(label, 5), np.tile(score, 5), np.tile(np.arange(60), 5))
    assert alone is not None
    assert copied is not None
    assert copied.auc_high - copied.auc_low == pytest.approx(alone.auc_high - alone.auc_low, rel=0.15)


def test_table_one_has_a_difference_only_between_two_sites() -> None:
    def stays(shift: float) -> pl.DataFrame:
        flags = {
            name: [True, False, None, False] * 30
            for name in ("death", "long_los", "icu", "icu_24h", "imv", "imv_24h")
        }
        return pl.DataFrame(
            {"patient_id": list("aabc") * 30, "age": [50 + shift, 60 + shift, None, 70 + shift] * 30}
            | {
                "los_hours": [30.0, 40, 50, 60] * 30,
                "n_tokens": [1, 2, 3, 4] * 30,
                "sex": ["Female", None, "Male", "Male"] * 30,
                "split": ["train"] * 120,
            }
            | {"race": [None] * 120, "ethnicity": ["x"] * 120}
            | flags,
            schema_overrides={"race": pl.String()},
        )

    alone = table_one({"mimic": stays(0)})
    assert "SMD" not in alone.columns
    both = table_one({"mimic": stays(0), "ucmc": stays(10)})
    assert both.filter(pl.col("Characteristic") == "Age, years")["SMD"].to_list() == ["1.22"]
    assert both.filter(pl.col("Characteristic") == "In-hospital death")["mimic"].to_list() == ["30 (33.3 %)"]


def test_composition_and_losses() -> None:
    figure = overview.token_composition({"mimic": {"lab": 10.0}, "ucmc": {"lab": 20.0, "vital": 50.0}})
    assert [trace.name for trace in figure.data] == ["mimic", "ucmc"]
    ladder = overview.loss_ladder({"Uniform": 5.0, "This model": 2.0})
    assert ladder.data[0].marker.color[-1] == "#0072B2"


def test_nothing_uploads_draws_with_webgl_or_writes_html_around_the_one_config() -> None:
    assert theme.CONFIG["displaylogo"] is False
    assert theme.CONFIG["showSendToCloud"] is False
    for file in Path(theme.__file__).parent.rglob("*.py"):
        source = file.read_text()
        for forbidden in (
            "Scattergl",
            "Heatmapgl",
            "write_html",
            "plotly.express",
            "unsafe_allow",
            "import torch",
        ):
            assert forbidden not in source, (file.name, forbidden)
        assert not re.search(r"\b(from|import) train\b", source), file.name
        if "plotly_chart(" in source:
            assert file.name == "ui.py"
