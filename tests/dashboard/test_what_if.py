"""Live on the Patient page: the model is loaded when asked for, and an edit changes what is shown."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from streamlit.testing.v1 import AppTest

from dashboard import live
from ehrfm_core.errors import UserError
from ehrfm_core.study import Study, open_study
from ehrfm_core.tokens.edit import EVENTS, event_tokens
from ehrfm_core.tokens.tokenizer import Tokenizer
from tests.dashboard.conftest import APP
from tests.dashboard.test_pages import charts, fine, text

Open = Callable[..., AppTest]
BUNDLED = Path(__file__).parents[2] / "data_samples/studies"
STUDY = "demo-two-hospitals"


def study_and_stay() -> tuple[Study, str]:
    """The bundled study and a test stay of middling length that counts for every outcome."""
    study = open_study(BUNDLED / STUDY)
    stays = study.site_table("mimic", "stays").filter(
        pl.all_horizontal(outcome.counts().alias(name) for name, outcome in study.outcomes.items())
        & (pl.col("split") == "test")
        & (pl.col("n_tokens") > 80)
    )
    return study, str(stays.sort("n_tokens", "hospitalization_id")["hospitalization_id"][0])


def key_of(app: AppTest, study: Study, stay: str, turn: int = 0) -> str:
    return f"events-{study.digest}-mimic-{stay}-{turn}"


def edit(app: AppTest, key: str, **edits: object) -> AppTest:
    """What the browser would send after such edits of the table."""
    app.session_state[key] = {"edited_rows": {}, "added_rows": [], "deleted_rows": []} | edits
    return app.run()


@pytest.fixture
def opened(open_page: Open) -> tuple[AppTest, Study, str]:
    study, stay = study_and_stay()
    app = open_page(BUNDLED, "patient", b=STUDY, f=f"mimic/{stay}", y="death")
    app.button(key="what-if-load").click().run()
    fine(app)
    return app, study, stay


@pytest.mark.slow
def test_an_edit_changes_risks_path_and_jumps_and_a_reset_takes_it_back(
    opened: tuple[AppTest, Study, str],
) -> None:
    app, study, stay = opened
    assert "Change a cell" in text(app)
    before = len(charts(app))
    edit(app, key_of(app, study, stay), deleted_rows=[3, 4, 5])
    fine(app)
    assert len(charts(app)) == before + 3
    seconds = re.search(r"Read in (\d+\.\d+) s", text(app))
    assert seconds
    assert float(seconds[1]) < 5  # of sanity; the figure itself is for the bench
    labels = [metric.label for metric in app.metric]
    for name in ("In-hospital death", "Long stay", "Path length", "Anomaly score"):
        assert name in labels
    moved = [metric for metric in app.metric if metric.label == "In-hospital death"]
    assert "points" in moved[0].delta
    assert "no treatment" in text(app)
    app.button(key="what-if-reset").click().run()
    fine(app)
    assert len(charts(app)) == before
    assert "Change a cell" in text(app)


@pytest.mark.slow
def test_what_cannot_be_an_event_is_said_in_one_sentence(opened: tuple[AppTest, Study, str]) -> None:
    app, study, stay = opened
    key = key_of(app, study, stay)
    for edits, sentence in (
        (
            {"edited_rows": {2: {"code": "location/icu", "value": "Q3"}}},
            "location/icu does not take the value Q3: it has none",
        ),
        ({"edited_rows": {2: {"code": "lab/lactate", "value": "answer/positive"}}}, "it has 10 bins"),
        ({"edited_rows": {2: {"code": "lab/unobtainium"}}}, "is no event of this study"),
        ({"added_rows": [{"minute": -5.0, "code": "lab/lactate"}]}, "minutes of 0 or more"),
        ({"added_rows": [{"code": "lab/lactate"}]}, "1 row lacks a minute or a code still"),
        ({"added_rows": [{"minute": 1e9, "code": "lab/lactate", "value": "Q9"}]}, "after the window's end"),
    ):
        edit(app, key, **edits)
        fine(app)
        said = text(app).replace("\\", "")
        assert sentence in said, said


def test_reading_pages_do_without_torch(studies: Path) -> None:
    script = (
        "import sys; from streamlit.testing.v1 import AppTest; "
        f"sys.argv = ['app.py', '--studies', {str(BUNDLED)!r}]; "
        f"app = AppTest.from_file({str(APP)!r}, default_timeout=60); "
        "app.switch_page('app_pages/patient.py'); app.run(); "
        "assert not app.exception, app.exception; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], cwd=APP.parents[1], check=True, capture_output=True)


@pytest.mark.parametrize("study", ["two", "one", "tiny", "unevaluated", "older"])
def test_a_study_without_its_model_says_why(studies: Path, open_page: Open, study: str) -> None:
    app = open_page(studies, "patient", b=study)
    fine(app)
    assert app.button(key="what-if-load").disabled
    assert "Unavailable: " in text(app)


def test_why_a_model_cannot_be_opened(studies: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no model" in str(live.why_not(open_study(studies / "tokenized")))
    assert "model/model.safetensors" in str(live.why_not(open_study(studies / "two")))
    bundled = open_study(BUNDLED / STUDY)
    assert live.why_not(bundled) is None
    assert 0.5 < live.memory_gb(bundled) < 1
    monkeypatch.setattr(live, "find_spec", lambda name: None)
    assert "PyTorch" in str(live.why_not(bundled))


def test_every_code_that_is_offered_is_an_event_and_none_tells_the_end() -> None:
    parts = open_study(BUNDLED / STUDY).tokenizer()
    tokenizer = Tokenizer.from_json(parts)
    codes = live.codes(parts)
    assert {"lab/lactate", "vital/map", "respiratory/imv"} <= set(codes)
    assert not [
        code for code in codes if code.split("/")[0] in ("discharge", "answer", "age", "race", "time")
    ]
    for code in codes:
        assert event_tokens(code, None, tokenizer)
    values = live.values(parts)
    assert values[:2] == ["Q0", "Q1"]
    assert "answer/positive" in values


def test_codes_and_values_of_a_fused_vocabulary() -> None:
    parts = {
        "vocabulary": {
            "PAD": 0,
            "lab/k=Q1": 1,
            "lab/k=Q0": 2,
            "assessment/cam=positive": 3,
            "location/icu": 4,
        },
        "cut_points": {"lab/k": [1.0]},
    }
    assert live.codes(parts) == ["assessment/cam", "lab/k", "location/icu"]
    assert live.values(parts) == ["Q0", "Q1", "positive"]


def test_rows_without_a_time_or_a_code_wait() -> None:
    rows = pl.DataFrame(
        {"minute": [1.0, None, 3.0], "code": ["a/b", "a/b", None], "value": ["", None, "Q1"]}, schema=EVENTS
    )
    known, waiting = live.complete(rows)
    assert known.rows() == [(1.0, "a/b", None)]
    assert waiting == 2
    with pytest.raises(UserError, match="before the stay's start"):
        live.complete(rows.with_columns(minute=pl.lit(-1.0)))
