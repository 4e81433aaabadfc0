"""Training runs compared and drawn, without a page around them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from dashboard import runs, runs_compared, theme
from dashboard.charts import training as charts
from ehrfm_core.study import open_study
from ehrfm_core.study.runs import Run, read_run
from tests.make_run import make_run
from tests.make_study import make_study


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for name in ("a", "b", "kept"):
        make_study(folder / name, sites={"mimic": 30})
    make_run(folder / "a")
    make_run(folder / "b", floor=1.4)
    return folder


def run_of(folder: Path) -> Run:
    run = read_run(open_study(folder))
    assert run is not None
    return run


def test_other_stays_of_the_same_tokens_are_told() -> None:
    one, two = (Run(name, False, tokenizer="t", stays=name) for name in "ab")
    assert "the stays are not" in runs_compared.apart([one, two])[0][0]
    assert not runs_compared.apart([one, one])
    assert not runs_compared.apart([Run("alone", False)])
    assert "not recorded" in runs_compared.apart([one, Run("unknown", False)])[0][0]


def test_silence_is_measured_by_the_runs_own_pace() -> None:
    now = datetime(2026, 11, 1, tzinfo=UTC)
    slow = Run("slow", False, status="running", updated=now - timedelta(minutes=30))
    assert runs.silent(slow, now) == timedelta(minutes=30)
    hourly = slow.curve.clear(3).with_columns(pl.Series("seconds", [0.0, 3600.0, 7200.0]))
    assert runs.silent(Run("slow", False, status="running", updated=slow.updated, curve=hourly), now) is None
    assert runs.silent(Run("done", False, status="finished", updated=slow.updated), now) is None
    assert runs.silent(Run("ahead", False, status="running", updated=now + timedelta(days=1)), now) is None


def drawn(*names: str) -> list[runs.Drawn]:
    return runs.drawn([Run(name, False) for name in names], names)


def test_runs_beyond_the_palette_differ_in_dash() -> None:
    lines = drawn(*"abcdefghijkl")
    assert len({(line.colour, line.dash) for line in lines}) == 12
    assert {line.colour for line in lines} == set(theme.SITE_COLOURS)


def test_a_run_keeps_its_colour_where_the_folder_holds_few() -> None:
    every = [Run(name, False) for name in "abc"]
    assert runs.drawn(every, "abc")[2].colour == runs.drawn(every[2:], "abc")[0].colour


@pytest.mark.parametrize("scale", charts.SCALES)
@pytest.mark.parametrize("axis", charts.AXES)
def test_every_axis_and_scale_draws_even_nothing(base: Path, axis: str, scale: str) -> None:
    known = runs.drawn([run_of(base / "a"), run_of(base / "kept")], ["a", "kept"])
    for lines in (known, drawn("empty")):
        figure = charts.loss(lines, axis, scale, guesses={"pairs": 2.8, "nothing": 0.0})
        assert charts.course(lines, axis, scale, columns=list(charts.COURSE)).layout.height
        shown = [trace.name for trace in figure.data if trace.showlegend]
        assert shown == [line.label for line in lines if charts.known(line, axis, "tuning_loss")]


def test_the_best_step_has_a_star_and_tuning_is_thicker_than_training(base: Path) -> None:
    figure = charts.loss(runs.drawn([run_of(base / "a")], ["a"]), "step", "whole", guesses={})
    thin, thick, star = figure.data[:3]
    assert thick.line.width > 2 * thin.line.width
    assert (star.marker.symbol, list(star.x)) == ("star", [200])
    assert star.marker.color == thick.line.color


def test_the_close_up_shows_every_best_loss_and_no_guess_beyond(base: Path) -> None:
    lines = runs.drawn([run_of(base / name) for name in ("a", "b")], ["a", "b"])
    figure = charts.loss(lines, "tokens", "close", guesses={"near": 1.9, "far": 5.0})
    low, high = figure.layout.yaxis.range
    assert all(low < line.run.best_tuning_loss < high for line in lines)
    assert [note.text for note in figure.layout.annotations] == ["near 1.90"]


def test_speeds_far_apart_are_drawn_on_a_logarithmic_axis(base: Path) -> None:
    slow, fast = run_of(base / "a"), run_of(base / "b")
    object.__setattr__(fast, "tokens_per_second", 1e6)
    figure = charts.course(runs.drawn([slow, fast], "ab"), "step", "whole", columns=list(charts.COURSE))
    assert figure.layout.yaxis2.type == "log"
    assert "logarithmic" in figure.layout.annotations[1].text
