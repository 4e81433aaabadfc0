"""What Methods says of the study at hand: its stages, its limits, its model's card."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from dashboard.limits import ALWAYS, limits
from dashboard.manifest import stages
from dashboard.model_card import LONGEST, safe
from ehrfm_core.study import open_study
from tests.dashboard.test_pages import fine, text

Open = Callable[..., AppTest]
BUNDLED = Path(__file__).parents[2] / "data_samples/studies"
DEMO = BUNDLED / "demo-two-hospitals"


def test_the_limits_are_those_of_the_settings() -> None:
    usual = limits({"window_hours": 24.0}, n_sites=2, synthetic=False)
    assert set(ALWAYS) < set(usual)
    other = " ".join(
        limits({"window_hours": 72.0, "history": True, "spacing": True}, n_sites=1, synthetic=True)
    )
    assert "72 h of one stay; the patient's earlier stays are seen" in other
    assert "order of events" not in other
    assert "one hospital" in other
    assert "synthetic" in other
    assert "24 h" in " ".join(limits({}, n_sites=1, synthetic=False))


def test_every_stage_has_its_seed_and_version() -> None:
    table = stages(open_study(DEMO))
    assert table["Stage"].to_list() == ["tokenize", "pretrain", "embed", "evaluate"]
    assert table["Seed"].to_list()[1:] == [0, 0, 0]
    assert table["Fingerprint"].str.len_chars().to_list() == [10] * 4


@pytest.mark.parametrize(
    "hostile", ["![](http://x/y.png)", "[a](javascript:x)", "$x$", ":red[x]", "<img src=x onerror=y>"]
)
def test_nothing_in_a_card_is_read_as_more_than_text(hostile: str) -> None:
    shown = safe(f"# A\n{hostile}\n`code [x]`\n")
    assert "](" not in shown
    assert "#### A" in shown
    assert "`code [x]`" in shown
    assert "\\$" in shown or "$" not in shown


def test_a_card_cut_in_its_code_ends_the_code() -> None:
    assert safe("```\n" + "x" * (LONGEST + 5)).count("```") == 2


def test_the_page_shows_the_card_and_the_stages(open_page: Open) -> None:
    app = open_page(BUNDLED, "methods", b=DEMO.name)
    fine(app)
    assert "Weights can tell of the records they were trained on" in text(app)
    assert any("Fingerprint" in frame.value for frame in app.dataframe)


def test_a_study_without_a_card_says_so(tmp_path: Path, open_page: Open) -> None:
    shutil.copytree(DEMO, tmp_path / "bare")
    (tmp_path / "bare/model/README.md").unlink()
    app = open_page(tmp_path, "methods")
    fine(app)
    assert "has no card" in text(app)
