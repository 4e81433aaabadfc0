"""The table of stays: its pages follow the focus, and any stay is found by its id."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from streamlit.testing.v1 import AppTest

from dashboard import stay_table
from ehrfm_core.study import open_study
from tests.dashboard.test_pages import fine

Open = Callable[..., AppTest]


@pytest.fixture
def ids(studies: Path) -> list[str]:
    """Every stay of the source, in order of its id."""
    return sorted(open_study(studies / "two").site_table("mimic", "stays")["hospitalization_id"])


def shown(app: AppTest) -> list[str]:
    frame = app.dataframe[0].value
    return list(pl.from_pandas(frame)["hospitalization_id"])


def focus(app: AppTest) -> str:
    return str(app.session_state["focus"])


def opened(open_page: Open, studies: Path, focus: str) -> AppTest:
    app = open_page(studies, "patient", b="two", g="all", o="id", f=f"mimic/{focus}")
    fine(app)
    return app


def test_the_page_of_the_focus_is_shown(
    studies: Path, open_page: Open, ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stay_table, "ROWS", 50)
    app = opened(open_page, studies, ids[60])
    assert shown(app) == ids[50:100]
    assert app.get("pagination")[0].value == 2
    app.button(key="next").click().run()
    assert focus(app) == f"mimic/{ids[61]}"
    assert shown(app) == ids[50:100]


def test_the_next_stay_turns_the_page(
    studies: Path, open_page: Open, ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stay_table, "ROWS", 50)
    app = opened(open_page, studies, ids[49])
    assert shown(app) == ids[:50]
    app.button(key="next").click().run()
    assert shown(app) == ids[50:100]


def test_another_page_leaves_the_focus(
    studies: Path, open_page: Open, ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stay_table, "ROWS", 50)
    app = opened(open_page, studies, ids[3])
    app.get("pagination")[0].set_value(3).run()
    fine(app)
    assert shown(app) == ids[100:150]
    assert focus(app) == f"mimic/{ids[3]}"


def test_one_page_needs_no_numbers(
    studies: Path, open_page: Open, ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stay_table, "ROWS", 500)
    app = opened(open_page, studies, ids[0])
    assert shown(app) == ids
    assert not app.get("pagination")


def test_a_stay_of_any_site_is_found(studies: Path, open_page: Open, ids: list[str]) -> None:
    other = open_study(studies / "two").site_table("ucmc", "stays")["hospitalization_id"][7]
    app = opened(open_page, studies, ids[0])
    app.text_input(key="find").set_value(f" {other} ").run()
    fine(app)
    assert focus(app) == f"ucmc/{other}"
    assert any(other in header.value for header in app.header)


@pytest.mark.parametrize("wanted", ["no-such-stay", "<b>x</b>", "a" * 500, "' OR 1=1"])
def test_an_unknown_stay_is_told(studies: Path, open_page: Open, ids: list[str], wanted: str) -> None:
    app = opened(open_page, studies, ids[0])
    app.text_input(key="find").set_value(wanted).run()
    fine(app)
    assert "No stay" in app.toast[0].value
    assert focus(app) == f"mimic/{ids[0]}"


def test_another_order_shows_who_is_on_top(
    studies: Path, open_page: Open, ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stay_table, "ROWS", 20)
    table = open_study(studies / "two").site_table("mimic", "dynamics")
    by_jump = table.sort("event_max_jump", descending=True)["hospitalization_id"].to_list()
    app = opened(open_page, studies, by_jump[70])
    app.selectbox(key="o").set_value("jump").run()
    fine(app)
    assert shown(app) == by_jump[:20]
    assert focus(app) == f"mimic/{by_jump[70]}"
    app.button(key="next").click().run()
    assert focus(app) == f"mimic/{by_jump[71]}"
    assert shown(app) == by_jump[60:80]


def test_another_site_leaves_the_focus_behind(studies: Path, open_page: Open, ids: list[str]) -> None:
    app = opened(open_page, studies, ids[5])
    app.segmented_control(key="s").set_value("ucmc").run()
    fine(app)
    other = sorted(open_study(studies / "two").site_table("ucmc", "stays")["hospitalization_id"])
    assert focus(app) == f"ucmc/{other[0]}"
    assert shown(app) == other[: stay_table.ROWS]
