"""Run as `sitecustomize` of a server: every socket that would reach another machine fails, and is noted.

An audit hook (PEP 578) sees connect, sendto and name look-ups of all of Python's sockets, whichever library
opens them. A socket below Python's would pass; the browser's own requests are watched by the browser tests.
"""

from __future__ import annotations

import os
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import Any

EVENTS = ("socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname")


def local(host: Any) -> bool:
    if host in (None, "", b"", "localhost"):
        return True
    try:
        return ip_address(host.decode() if isinstance(host, bytes) else host).is_loopback
    except ValueError:
        return False


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in EVENTS:
        return
    target = arguments[0] if event.startswith("socket.get") else arguments[1]
    if event.startswith("socket.get"):
        host = target
    elif isinstance(target, tuple):
        host = target[0]
    else:
        return  # a socket of this machine's file system
    if not local(host):
        with Path(os.environ["OUTSIDE"]).open("a") as file:
            file.write(f"{event} {target}\n")
        raise OSError(f"{event} {target}: only loopback is allowed here")


if "OUTSIDE" in os.environ:  # in a server, not where tests are collected
    sys.addaudithook(watch)
    with Path(os.environ["OUTSIDE"] + ".watched").open("a") as file:
        file.write(f"{' '.join(sys.orig_argv)}\n")
