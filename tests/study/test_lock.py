"""One run at a time writes a study, and a run that has gone stands in nobody's way."""

from __future__ import annotations

import errno
import fcntl
import json
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ehrfm_core.errors import UserError
from ehrfm_core.study import lock
from ehrfm_core.study.layout import LOCK
from ehrfm_core.study.lock import locked


def hold(folder: str, held: Any) -> None:
    with locked(Path(folder)):
        held.set()
        time.sleep(60)


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[Any]:
    """Another process that has the study."""
    context = multiprocessing.get_context("fork")
    held = context.Event()
    process = context.Process(target=hold, args=(str(tmp_path), held), daemon=True)
    process.start()
    assert held.wait(30)
    yield process
    process.kill()
    process.join()


def left_behind(folder: Path, **told: object) -> Path:
    """The lock file of a run that did not tidy up."""
    path = folder / LOCK
    path.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname()} | told))
    return path


def test_the_second_run_is_refused_with_the_id_of_the_first(holder: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"{tmp_path} is being written by process {holder.pid} on "):
        locked(tmp_path).__enter__()
    assert (tmp_path / LOCK).is_file(), "of the first one still"
    with pytest.raises(UserError, match=str(holder.pid)):
        locked(tmp_path).__enter__()


def test_a_run_that_was_killed_stands_in_nobodys_way(holder: Any, tmp_path: Path) -> None:
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    assert json.loads((tmp_path / LOCK).read_text())["pid"] == holder.pid
    with locked(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
    assert not (tmp_path / LOCK).exists()


def test_a_process_id_that_is_another_processs_by_now(tmp_path: Path) -> None:
    left_behind(tmp_path, pid=os.getppid(), kernel=lock._kernel())
    with locked(tmp_path):
        pass


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": null}', "\x00" * 40])
def test_a_lock_file_that_says_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / LOCK).write_text(content)
    with locked(tmp_path):
        pass


def test_another_machine_counts_as_long_as_it_is_heard_of(tmp_path: Path) -> None:
    path = left_behind(tmp_path, pid=77, host="far", kernel="another")
    with pytest.raises(UserError, match=r"by process 77 on far.* try again in 2 minutes"):
        locked(tmp_path).__enter__()
    assert path.is_file()
    long_ago = time.time() - lock.LEFT_AFTER - 1
    os.utime(path, (long_ago, long_ago))
    with locked(tmp_path):
        pass


def test_on_a_disk_without_locks_the_file_alone_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", unknown)
    with locked(tmp_path), pytest.raises(UserError, match=str(os.getpid())):
        locked(tmp_path).__enter__()
    with locked(tmp_path):
        pass


def test_it_is_heard_of_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "TOUCHED_EVERY", 0.01)
    with locked(tmp_path):
        os.utime(tmp_path / LOCK, (0, 0))
        end = time.monotonic() + 30
        while (tmp_path / LOCK).stat().st_mtime < 1 and time.monotonic() < end:
            time.sleep(0.01)
        assert (tmp_path / LOCK).stat().st_mtime > 1


def test_a_file_that_its_holder_removes_while_we_wait_is_not_what_we_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = lock._lock, []

    def late(descriptor: int, path: Path) -> bool:
        if not calls:
            path.unlink()
        calls.append(descriptor)
        return real(descriptor, path)

    monkeypatch.setattr(lock, "_lock", late)
    with locked(tmp_path), pytest.raises(UserError):
        locked(tmp_path).__enter__()
    assert len(calls) == 3


def test_what_was_made_for_the_lock_alone_goes_again(tmp_path: Path) -> None:
    with locked(tmp_path / "new" / "study"):
        assert (tmp_path / "new" / "study").is_dir()
    assert not (tmp_path / "new").exists()
    with locked(tmp_path / "new"):
        (tmp_path / "new" / "study.json").write_text("{}")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["study.json"]
    (tmp_path / "file").write_text("kept")
    with locked(tmp_path / "file"):
        pass
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_where_nobody_can_write_there_is_nothing_to_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(lock, "_take", refuse)
    with pytest.raises(OSError, match=os.strerror(number)):
        locked(tmp_path).__enter__()  # where others could
    monkeypatch.setattr(lock.os, "access", lambda *_: False)
    with locked(tmp_path):
        pass
