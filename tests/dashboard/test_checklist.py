"""TRIPOD+AI on the Methods page: what is counted, what the choice leaves, and the file it hands over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from dashboard import ui
from ehrfm_core.evaluation.tripod import STATUSES, checklist, counts, markdown
from ehrfm_core.study import open_study

Open = Callable[..., AppTest]


def items(app: AppTest) -> list[str]:
    (table,) = [table.value for table in app.table if "Answer" in table.value.columns]
    return table["Item and question"].to_list()


@pytest.mark.parametrize("name", ["two", "one", "tokenized", "unevaluated", "older"])
def test_the_items_are_counted_and_shown(studies: Path, open_page: Open, name: str) -> None:
    app = open_page(studies, "methods", b=name)
    assert not app.exception
    found = counts(checklist(open_study(studies / name)))
    metrics = {metric.label: metric.value for metric in app.metric}
    for status in STATUSES:
        assert metrics[status.capitalize()] == f"{found[status]} of 52"
    assert len(items(app)) == 52


@pytest.mark.parametrize("status", STATUSES)
def test_the_choice_leaves_items_of_one_status(studies: Path, open_page: Open, status: str) -> None:
    app = open_page(studies, "methods", b="two", items=status)
    shown = items(app)
    assert len(shown) == counts(checklist(open_study(studies / "two")))[status]
    assert all(f"-badge[{status}]" in item for item in shown)


def test_an_unknown_status_in_the_link_shows_all(studies: Path, open_page: Open) -> None:
    app = open_page(studies, "methods", b="two", items="finished")
    assert not app.exception
    assert len(items(app)) == 52


@pytest.mark.parametrize(
    ("name", "file"), [("two", "SYNTHETIC_two_tripod-ai.md"), ("one", "one_tripod-ai.md")]
)
def test_the_file_of_a_synthetic_study_says_so(
    studies: Path, open_page: Open, monkeypatch: pytest.MonkeyPatch, name: str, file: str
) -> None:
    handed: list[tuple[str, Callable[[], str]]] = []
    monkeypatch.setattr(
        ui.st, "download_button", lambda label, make, **more: handed.append((more["file_name"], make))
    )
    assert not open_page(studies, "methods", b=name).exception
    (content,) = [make() for given, make in handed if given == file]
    assert content == markdown(open_study(studies / name))
    assert ("SYNTHETIC DATA" in content) == (name == "two")
