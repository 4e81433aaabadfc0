"""A proxy on loopback that names the visitor in a header, as a hospital's does, whatever they say."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_MOST = 65536


@contextmanager
def run(port: int, header: str, who: str) -> Iterator[str]:
    """Forward to a server on `port`; gives the proxy's address."""
    listening = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        with suppress(OSError):  # closed at the end
            while True:
                client, _ = listening.accept()
                threading.Thread(target=forward, args=(client,), daemon=True).start()

    def forward(client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection(("127.0.0.1", port)) as server:
            first = client.recv(_MOST)  # a websocket has a connection of its own, and begins with its headers
            said = re.sub(rb"(?im)^%s:.*\r\n" % header.encode(), b"", first)
            server.sendall(said.replace(b"\r\n", f"\r\n{header}: {who}\r\n".encode(), 1))
            back = threading.Thread(target=copy, args=(server, client), daemon=True)
            back.start()
            copy(client, server)
            back.join()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        listening.close()


def copy(source: socket.socket, target: socket.socket) -> None:
    """Everything from one to the other, until the one has no more."""
    with suppress(OSError):
        while data := source.recv(_MOST):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
