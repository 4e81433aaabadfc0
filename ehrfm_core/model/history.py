"""What a run reports while it goes on: JSON lines, TensorBoard events, and how it stands.

metrics.jsonl   one object a line, in ascending step
run.json        settings, sizes, device and state of the run; replaced as a whole
events.out.…    the same figures for TensorBoard, where tensorboardX is installed; made anew from
                metrics.jsonl when a run goes on, so that both always say the same
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ehrfm_core.errors import UserError
from ehrfm_core.model.state import why_not_written

METRICS = "metrics.jsonl"
RUN = "run.json"


class History:
    """The files of one run in `folder`; None writes nothing.

    Raises UserError where the disk is full.
    """

    def __init__(self, folder: Path | None, *, after_step: int = 0) -> None:
        self._folder = folder
        self._about: dict[str, Any] = {}
        self._events: _Events | None = None
        if folder is None:
            return
        with _said(folder / METRICS):
            folder.mkdir(parents=True, exist_ok=True)
            kept = _lines_up_to(folder / METRICS, after_step)
            _replace(folder / METRICS, "".join(kept))
            self._events = _events(folder, [json.loads(line) for line in kept])

    def describe(self, **about: Any) -> None:
        """Update run.json with these fields."""
        if self._folder is None:
            return
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._about = {**self._about, **about, "updated": now}
        with _said(self._folder / RUN):
            _replace(self._folder / RUN, json.dumps(self._about, indent=1, ensure_ascii=False) + "\n")

    def add(self, line: dict[str, Any]) -> None:
        """Append one line of figures; `step` and `tokens` are among them."""
        if self._folder is None:
            return
        with _said(self._folder / METRICS):
            with (self._folder / METRICS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            if self._events is not None:
                self._events.add(line, time.time())
                self._events.flush()

    def close(self) -> None:
        """Close the event file."""
        if self._events is not None and self._folder is not None:
            with _said(self._folder):
                self._events.close()


def read_run(folder: Path) -> dict[str, Any]:
    """The content of run.json; empty where there is none that can be read."""
    try:
        value = json.loads((folder / RUN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _lines_up_to(path: Path, step: int) -> list[str]:
    """Lines of an earlier part of the run; what was reported after the state was saved is told again."""
    if not step or not path.is_file():
        return []
    kept = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except (ValueError, KeyError, TypeError):
            continue  # cut short by a kill
    return kept


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.partial")
    try:
        temporary.write_text(text, encoding="utf-8")
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    temporary.replace(path)


@contextmanager
def _said(path: Path) -> Iterator[None]:
    """Turn a failed write into one sentence."""
    try:
        yield
    except OSError as error:
        raise UserError(why_not_written(error, path, 0)) from None


class _Events:
    """TensorBoard's event file, written through.

    The package's own SummaryWriter leaves it to a thread: a kill loses its last events, a full disk ends it.
    """

    def __init__(self, folder: Path) -> None:
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog
        from tensorboardX.summary import scalar

        self._event, self._scalar = Event, scalar
        self._file = EventsWriter(str(folder / "events"))
        start = SessionLog(status=SessionLog.START)  # what a screen has of before is void
        self._file.write_event(Event(wall_time=time.time(), step=0, session_log=start))

    def add(self, line: dict[str, Any], at: float) -> None:
        """Add the figures of a line, told `at` seconds since the epoch."""
        for name, value in line.items():
            if name != "step" and value is not None:
                summary = self._scalar(name, value)
                self._file.write_event(self._event(wall_time=at, step=line["step"], summary=summary))

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def _events(folder: Path, lines: list[dict[str, Any]]) -> _Events | None:
    """A new event file with the figures of these lines; None where tensorboardX is not installed."""
    for left in folder.glob("events.out.tfevents.*"):
        left.unlink()
    try:
        events = _Events(folder)
    except ImportError:
        return None
    for line in lines:
        ago = lines[-1].get("seconds", 0.0) - line.get("seconds", 0.0)  # of training, pauses left out
        events.add(line, time.time() - ago)
    events.flush()
    return events
