from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ehrfm_core.errors import UserError
from ehrfm_core.model.history import METRICS, RUN, History, read_run
from tests.model.conftest import fill
from tests.model.events import read_events


def line(step: int, **more: float) -> dict[str, Any]:
    return {"step": step, "tokens": step * 100, "loss": 1 / step, "seconds": step / 7} | more


def told(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(text) for text in (folder / METRICS).read_text().splitlines()]


def same(folder: Path) -> bool:
    """Whether TensorBoard's events say what the lines say, in its single precision."""
    lines = told(folder)
    events = read_events(folder)
    assert list(events) == [figures["step"] for figures in lines]
    for figures in lines:
        rest = {name: value for name, value in figures.items() if name != "step" and value is not None}
        assert events[figures["step"]] == pytest.approx(rest, rel=1e-6)
    return True


def test_every_line_stands_in_both_logs_at_once(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    history = History(tmp_path / "new" / "run")
    for step in (10, 20, 30):
        history.add(line(step, **({"tuning_loss": 0.5} if step == 20 else {})))
        assert told(tmp_path / "new" / "run")[-1]["step"] == step
        assert same(tmp_path / "new" / "run")
    history.close()
    assert same(tmp_path / "new" / "run")


@pytest.mark.parametrize("closed", [True, False])
def test_what_was_told_after_the_state_was_saved_is_told_again(closed: bool, tmp_path: Path) -> None:
    history = History(tmp_path)
    for step in (10, 20, 30, 40):
        history.add(line(step))
    if closed:
        history.close()
    again = History(tmp_path, after_step=20)
    assert told(tmp_path) == [line(10), line(20)]
    again.add(line(30, loss=9.0))
    assert told(tmp_path) == [line(10), line(20), line(30, loss=9.0)]
    assert same(tmp_path)


def test_a_run_that_begins_anew_begins_its_history_anew(tmp_path: Path) -> None:
    History(tmp_path).add(line(10))
    History(tmp_path).add(line(5))
    assert told(tmp_path) == [line(5)]
    assert same(tmp_path)


@pytest.mark.parametrize("broken", ['{"step": 20, "tok', "\ufffd\x00", "[]", "7", '{"tokens": 3}', ""])
def test_a_line_cut_short_is_dropped(broken: str, tmp_path: Path) -> None:
    (tmp_path / METRICS).write_text(f"{json.dumps(line(10))}\n{broken}\n{json.dumps(line(20))}", "utf-8")
    history = History(tmp_path, after_step=20)
    history.add(line(30))
    assert told(tmp_path) == [line(10), line(20), line(30)]


def test_the_description_is_replaced_as_a_whole(tmp_path: Path) -> None:
    history = History(tmp_path)
    history.describe(status="running", site="Zürich", step=1)
    history.describe(step=2)
    found = read_run(tmp_path)
    assert (found["status"], found["site"], found["step"]) == ("running", "Zürich", 2)
    assert "updated" in found
    assert not list(tmp_path.glob(".*"))
    History(tmp_path).describe(step=3)
    assert set(read_run(tmp_path)) == {"step", "updated"}


@pytest.mark.parametrize("content", [None, "", '{"status": "run', "[1]", "\ufffd"])
def test_a_description_that_cannot_be_read_is_empty(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / RUN).write_text(content, "utf-8")
    assert read_run(tmp_path) == {}


def test_no_folder_no_files(tmp_path: Path) -> None:
    history = History(None)
    history.describe(step=1)
    history.add(line(1))
    history.close()
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_told_in_one_sentence_and_keeps_the_description(small_disk: Path) -> None:
    history = History(small_disk)
    history.describe(status="running")
    fill(small_disk)
    with pytest.raises(UserError, match=r"The disk is full: .*run\.json"):
        history.describe(status="finished", text="x" * 5_000)
    with pytest.raises(UserError, match=r"The disk is full: .*metrics\.jsonl"):
        history.add(line(1, **{f"figure_{i}": 1.0 for i in range(500)}))
    assert read_run(small_disk)["status"] == "running"
    with pytest.raises(UserError, match="The disk is full"):
        History(small_disk / "new")
