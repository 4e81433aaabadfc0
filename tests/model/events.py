"""Read TensorBoard's event files, as its screen does."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest


def read_events(folder: Path) -> dict[int, dict[str, float]]:
    """Figures by step and name, those before a restart left out where it says so."""
    proto = pytest.importorskip("tensorboardX.proto.event_pb2")
    found: dict[int, dict[str, float]] = {}
    for path in sorted(folder.glob("events.out.tfevents.*")):
        for event in _records(path.read_bytes(), proto):
            if event.session_log.status == proto.SessionLog.START:
                found = {step: figures for step, figures in found.items() if step < event.step}
            for value in event.summary.value:
                assert value.tag not in found.setdefault(event.step, {}), "a figure stands twice"
                found[event.step][value.tag] = value.simple_value
    return found


def _records(content: bytes, proto: Any) -> list[Any]:
    events, place = [], 0
    while place < len(content):
        (size,) = struct.unpack_from("<Q", content, place)
        assert place + 12 + size + 4 <= len(content), "the last event is cut short"
        events.append(proto.Event.FromString(content[place + 12 : place + 12 + size]))
        place += 12 + size + 4
    return events
