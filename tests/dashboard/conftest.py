"""Studies of every shape, made once a session, and a way to open a page on one of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from streamlit.testing.v1 import AppTest

from tests.make_own import make_own_study
from tests.make_study import break_study, make_study
from tests.reseal import reseal

APP = Path(__file__).parents[2] / "dashboard/app.py"
NEWER = ("deciles", "token_types", "reweighting")


@pytest.fixture(scope="session")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studies")
    make_study(folder / "two", sites={"mimic": 160, "ucmc": 140}, seed=1)
    make_study(
        folder / "one", sites={"mimic": 120}, seed=2, one_class="imv", few_events="death", synthetic=False
    )
    make_study(folder / "tiny", sites={"mimic": 9, "ucmc": 7}, seed=3)
    make_study(folder / "three", sites={"mimic": 240, "ucmc": 200, "rush": 180}, seed=5)
    make_study(folder / "tokenized", sites={"mimic": 60}, stages=("tokenize",))
    make_study(
        folder / "unevaluated", sites={"mimic": 60, "ucmc": 50}, stages=("tokenize", "pretrain", "embed")
    )
    damaged = make_study(folder / "damaged", sites={"mimic": 60})
    (damaged / "sites/mimic/dynamics.parquet").write_bytes(b"not parquet")
    (damaged / "results/metrics.parquet").unlink()
    _forget_outliers(make_study(folder / "before", sites={"mimic": 90, "ucmc": 60}))
    forget_newer_results(make_study(folder / "older", sites={"mimic": 60, "ucmc": 50}))
    make_own_study(folder / "own")
    break_study(folder / "broken")
    return folder


def _forget_outliers(study: Path) -> None:
    """Leave a study as it was made before outlier detectors were compared."""
    content = json.loads((study / "study.json").read_text())
    for stage in content["stages"].values():
        for path in [
            path for path in stage["files"] if path.endswith(("anomaly.parquet", "outliers.parquet"))
        ]:
            del stage["files"][path]
            (study / path).unlink()
    (study / "study.json").write_text(json.dumps(content))
    reseal(study)


def forget_newer_results(study: Path) -> None:
    """Leave a study as an earlier version evaluated it: without its newer result tables, of fewer columns."""
    content = json.loads((study / "study.json").read_text())
    for path in (*(f"results/{name}.parquet" for name in NEWER), "sites/mimic/largest_jumps.parquet"):
        (study / path).unlink()
        del content["stages"]["evaluate"]["files"][path]
    table = study / "results/associations.parquet"
    pl.read_parquet(table).drop("n_events", "sd", "vif", "paper_coefficient").write_parquet(table)
    (study / "study.json").write_text(json.dumps(content))
    reseal(study)


@pytest.fixture(autouse=True)
def started(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the dashboard had been started without options: pytest's own are not its."""
    monkeypatch.setattr(sys, "argv", ["app.py"])


@pytest.fixture
def open_page(monkeypatch: pytest.MonkeyPatch) -> Callable[..., AppTest]:
    def run(
        folder: Path, page: str = "overview", options: tuple[str, ...] = (), **query: str | list[str]
    ) -> AppTest:
        monkeypatch.setattr(sys, "argv", ["app.py", "--studies", str(folder), *options])
        app = AppTest.from_file(APP, default_timeout=60)
        app.query_params.update(query)
        app.switch_page(f"app_pages/{page}.py")
        return app.run()

    return run
