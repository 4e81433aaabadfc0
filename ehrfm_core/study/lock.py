"""One run at a time writes a study.

The kernel holds the lock (`flock`) and lets it go when the process ends, however it ends: a lock file that
was left behind, or whose process id belongs to another process by now, locks nothing. Where the study lies
on a shared disk, kernels of other machines may know nothing of ours. So whoever holds the lock touches the
file every few seconds, and a file of another kernel counts until it has not been touched for a while.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ehrfm_core.errors import UserError
from ehrfm_core.study.layout import LOCK

TOUCHED_EVERY = 15.0  # seconds
LEFT_AFTER = 120.0  # seconds untouched, by the clock of the disk
_UNSUPPORTED = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS}
_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep others from writing the study in `folder` during the block; the folder is made if need be.

    Raises UserError, with the process id of the other run, where there is one. Where nobody can write there
    is nothing to lock.
    """
    if (folder.exists() or folder.is_symlink()) and not folder.is_dir():  # others say so
        yield
        return
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK
    try:
        descriptor = _take(path)
    except OSError as error:
        if error.errno not in _READ_ONLY or os.access(folder, os.W_OK):  # the file alone is another user's
            raise
        yield
        return
    done = threading.Event()
    toucher = threading.Thread(target=_touch, args=(path, done), daemon=True)
    toucher.start()
    try:
        yield
    finally:
        done.set()
        toucher.join()
        path.unlink(missing_ok=True)  # before it is let go, so that nobody locks a file that is gone
        os.close(descriptor)
        with suppress(OSError):  # up to the first that is not empty
            for empty in made:
                empty.rmdir()


def _take(path: Path) -> int:
    """Open the file and lock it; the descriptor, which holds the lock."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            supported = _lock(descriptor, path)
            if not _is_at(path, descriptor):  # removed by who held it, when we had opened it
                os.close(descriptor)
                continue
            holder = _holder(path)
            if holder and (not supported or holder.get("kernel") != _kernel()) and _fresh(path):
                raise UserError(_refusal(path, holder))
            told = {"pid": os.getpid(), "host": socket.gethostname(), "kernel": _kernel()}
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, (json.dumps(told) + "\n").encode(), 0)
        except OSError:  # a disk that is full
            path.unlink(missing_ok=True)
            os.close(descriptor)
            raise
        except UserError:
            os.close(descriptor)
            raise
        return descriptor


def _lock(descriptor: int, path: Path) -> bool:
    """Lock it; False where the disk knows no locks, UserError where another process has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            raise UserError(_refusal(path, _holder(path))) from None
        if error.errno in _UNSUPPORTED:
            return False
        raise
    return True


def _refusal(path: Path, holder: dict[str, Any]) -> str:
    pid, host = holder.get("pid", "?"), holder.get("host", "?")
    words = f"{path.parent} is being written by process {pid} on {host}"
    if holder.get("kernel") == _kernel():
        return f"{words}; wait until it is done, or stop it."
    return (
        f"{words}, which was at work less than {LEFT_AFTER:g} s ago; wait until it is done, or, if it has "
        f"gone, try again in {LEFT_AFTER / 60:g} minutes."
    )


def _holder(path: Path) -> dict[str, Any]:
    """Who wrote the file; empty where it was let go or cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and isinstance(found.get("pid"), int) else {}


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _fresh(path: Path) -> bool:
    """Whether it was touched lately; both times are of the disk, whose clock may differ from ours."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", suffix=".partial") as now:
        return os.fstat(now.fileno()).st_mtime - path.stat().st_mtime < LEFT_AFTER


def _touch(path: Path, done: threading.Event) -> None:
    while not done.wait(TOUCHED_EVERY):
        with suppress(OSError):  # whoever writes there will meet it as well
            os.utime(path)


def _kernel() -> str:
    """Names the running kernel, in all its containers; the machine where the kernel does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return socket.gethostname()
