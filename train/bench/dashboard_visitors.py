"""Visitors at once: all but one speak to the server without a browser, as ten people have ten machines."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect
from websockets.typing import Subprotocol

WALK = (  # the pages of the five-minute demonstration, in its order
    ("story", "step=one"),
    ("map", ""),
    ("patient", ""),
    ("dynamics", ""),
    ("outliers", ""),
    ("transfer", ""),
    ("", ""),
    ("vocabulary", ""),
    ("methods", ""),
)
HURRIED = (2.0, 6.0)  # seconds a visitor looks at a page: less than people do
STORY = (15.0, 50.0)  # the five-minute story has nine pages


@dataclass
class Seen:
    """What visitors without a browser have waited for, together."""

    seconds: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    errors: int = 0


class Visitor:
    """One session of the dashboard over its websocket; `address` begins with http."""

    def __init__(self, address: str) -> None:
        stream = address.replace("http", "ws", 1) + "/_stcore/stream"
        # no origin and no cookie: a client that is no browser needs no token against forged requests
        self._open = ExitStack()
        self.socket = self._open.enter_context(
            connect(stream, subprotocols=[Subprotocol("streamlit")], max_size=None, ping_interval=None)
        )

    def open(self, page: str, query: str = "") -> tuple[float, int]:
        """Seconds until the page has been sent whole, and the exceptions on it."""
        asked = BackMsg()
        asked.rerun_script.query_string = query
        asked.rerun_script.page_name = page
        begun, errors = time.perf_counter(), 0
        self.socket.send(asked.SerializeToString())
        while True:
            message = ForwardMsg.FromString(self.socket.recv(timeout=180, decode=False))
            kind = message.WhichOneof("type")
            errors += kind == "delta" and message.delta.new_element.WhichOneof("type") == "exception"
            if kind == "script_finished":
                return time.perf_counter() - begun, errors

    def close(self) -> None:
        """End the session."""
        self._open.close()


@contextmanager
def walking(
    address: str, visitors: int, *, seed: int, pause: tuple[float, float] = HURRIED
) -> Iterator[Seen]:
    """So many visitors who open the map in the same moment and then walk through the pages, until left.

    `pause` is how long they look at a page, from and to (seconds).
    """
    seen, over, lock = Seen(), threading.Event(), threading.Lock()
    together = threading.Barrier(visitors + 1)

    def walk(number: int) -> None:
        draw = random.Random(f"{seed}-{number}")
        visitor = Visitor(address)
        together.wait()
        took, errors = visitor.open("map")
        with lock:
            seen.first.append(took)
            seen.errors += errors
        place = number
        while not over.wait(draw.uniform(*pause)):
            took, errors = visitor.open(*WALK[place % len(WALK)])
            with lock:
                seen.seconds.append(took)
                seen.errors += errors
            place += 1
        visitor.close()

    threads = [threading.Thread(target=walk, args=(number,), daemon=True) for number in range(visitors)]
    for thread in threads:
        thread.start()
    together.wait()
    try:
        yield seen
    finally:
        over.set()
        for thread in threads:
            thread.join(timeout=200)
