from __future__ import annotations

from pathlib import Path

import polars as pl

from dashboard.charts import probabilities as charts
from ehrfm_core.study import open_study
from tests.dashboard.test_pages import Open, text
from tests.make_study import make_study


def curves(folder: Path, name: str) -> list[charts.Curve]:
    table = open_study(folder).result(name).filter(model="probe", outcome="long_los")
    return [
        (f"{site} {arm}", "#0072B2", "solid", part)
        for (site, arm), part in table.filter(pl.col("adapt_method") != "finetune").group_by(
            "test_site", "arm", maintain_order=True
        )
    ]


def test_bands_lie_around_their_curve(tmp_path: Path) -> None:
    folder = make_study(tmp_path / "s")
    for name, draw in (("calibration_curves", charts.calibration), ("decision_curves", charts.decision)):
        figure = draw(curves(folder, name))
        named = [trace.name for trace in figure.data if trace.mode == "lines" and trace.name]
        assert len([name for name in named if "everybody" not in name]) == 3
        bands = [trace for trace in figure.data if trace.fill == "toself"]
        assert len(bands) == 3
    everybody = [trace.name for trace in figure.data if trace.name and "everybody" in trace.name]
    assert everybody == ["Act on everybody at mimic", "Act on everybody at ucmc"]


def test_every_draw_is_a_point_and_their_median_a_line(tmp_path: Path) -> None:
    metrics = open_study(make_study(tmp_path / "s")).result("metrics")
    rows = metrics.filter(model="probe", metric="roc_auc", outcome="long_los", arm="adapted")
    figure = charts.local_data(rows, {"unchanged": (0.7, "dash")}, "#D55E00")
    points = [trace for trace in figure.data if trace.mode == "markers"]
    assert sum(len(trace.x) for trace in points) == rows["estimate"].count()
    for line in (trace for trace in figure.data if trace.mode == "lines+markers"):
        assert list(line.x) == sorted(line.x)
    middle = next(trace for trace in figure.data if trace.name == charts.METHODS["refit"][0])
    expected = rows.filter(adapt_method="refit", adapt_fraction=0.05)["estimate"].median()
    assert middle.y[0] == expected


def test_local_data_need_a_second_hospital(studies: Path, open_page: Open) -> None:
    app = open_page(studies, "transfer", b="two", y="long_los")
    assert "A little local data" in text(app)
    assert [chart for chart in app.get("plotly_chart") if "share of local" in chart.proto.alt]
    one = open_page(studies, "transfer", b="one", y="long_los")
    assert "A little local data" not in text(one)
