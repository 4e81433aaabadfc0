from __future__ import annotations

import json

import numpy as np
import plotly.graph_objects as go
import polars as pl
import pytest

from dashboard.charts import risks
from dashboard.measures import MIN_CELL


def rows(label: np.ndarray, probability: np.ndarray) -> pl.DataFrame:
    return pl.DataFrame({"label": label.astype(bool), "probability": probability})


def rare(n: int, events: int, *, seed: int = 0) -> pl.DataFrame:
    label = np.arange(n) < events
    logit = np.random.default_rng(seed).normal(-4, 1.2, n) + label
    return rows(label, 1 / (1 + np.exp(-logit)))


def bars(figure: go.Figure) -> list[go.Bar]:
    return [trace for trace in figure.data if trace.type == "bar"]


@pytest.mark.parametrize("n", [11, 12, 40, 400, 5000])
def test_no_bar_tells_of_fewer_than_eleven_stays(n: int) -> None:
    for seed in range(20):
        probability = np.random.default_rng(seed).beta(0.3, 3, n)
        part = risks.side(probability)
        assert part is not None
        assert part.counts.sum() == n
        assert part.counts.min() >= MIN_CELL
        assert (part.edges[1:, 0] >= part.edges[:-1, 1]).all(), "bars overlap"
        assert np.isin(part.edges, risks.EDGES).all(), "an edge is a patient's risk"
        assert (part.heights * np.ptp(part.edges, axis=1)).sum() == pytest.approx(1)


def test_what_is_left_over_joins_the_last_bar_and_gaps_stay_empty() -> None:
    part = risks.side(np.repeat([0.02, 0.5, 0.9], [20, 20, 3]))
    assert part is not None
    assert part.counts.tolist() == [20, 23]
    (_, first), (second, last) = part.edges
    assert first < second, "nobody lies between them"
    assert last > 2


def test_a_side_of_fewer_than_eleven_stays_is_not_drawn() -> None:
    assert risks.side(np.full(10, 0.1)) is None
    figure = risks.distribution([("a → a", "#0072B2", "solid", rare(300, 10))])
    assert len(bars(figure)) == 0, "the bars of the others would count them"
    assert "fewer than 11 stays with the event" in [note.text for note in figure.layout.annotations]
    assert "median" not in json.dumps([t.text for t in figure.data if t.y is not None and max(t.y) > 0])


def test_certain_risks_stand_in_the_outermost_bars() -> None:
    part = risks.side(np.repeat([0.0, 1.0], 15))
    assert part is not None
    assert part.edges.tolist() == [[-9, -8.5], [6.5, 7]]
    (drawn,) = bars(
        risks.distribution([("a", "#0072B2", "solid", rows(np.zeros(30), np.repeat([0.0, 1.0], 15)))])
    )
    assert [span for span, _, _ in drawn.customdata] == ["below 0.02%", "above 99.8%"]


def test_each_run_has_a_panel_with_events_above_and_the_others_below() -> None:
    runs = [
        ("a → a", "#0072B2", "solid", rare(600, 40)),
        ("a → b, unchanged", "#D55E00", "dash", rare(500, 30, seed=1)),
    ]
    figure = risks.distribution(runs)
    titles = [note.text for note in figure.layout.annotations]
    assert titles == ["<b>a → a</b> · n 600, 40 events", "<b>a → b, unchanged</b> · n 500, 30 events"]
    assert [min(trace.y) > 0 for trace in bars(figure)] == [True, False, True, False]
    assert {trace.xaxis for trace in bars(figure)} == {"x", "x2"}
    ranges = {tuple(figure.layout[axis].range) for axis in ("xaxis", "xaxis2")}
    assert len(ranges) == 1
    assert figure.layout.barmode == "overlay", "grouped bars stand beside their place"
    for trace in bars(figure):
        for _, words, _ in trace.customdata:
            assert int(words.split(" of ")[0]) >= MIN_CELL


def test_one_class_and_no_stay_are_drawn_as_what_they_are() -> None:
    figure = risks.distribution([("a → a", "#0072B2", "solid", rare(60, 0))])
    assert len(bars(figure)) == 1
    assert "no stay with the event" in [note.text for note in figure.layout.annotations]
    assert risks.distribution([]).layout.height
    assert not risks.distribution([("a", "#0072B2", "solid", rare(5, 1))]).data
