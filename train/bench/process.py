"""Run a program as a whole process; measure its wall time and its peak memory.

On Linux a process inherits the peak of the process that started it, across fork and exec. So the program
is started by a small process of its own, this very file run as a script, which imports nothing big and
reports what `wait4` says of that one child. `getrusage(RUSAGE_CHILDREN)` would mix all children so far.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

LAST_LINES = 5
MAXRSS_BYTES = 1 if sys.platform == "darwin" else 1024  # unit of ru_maxrss


@dataclass(frozen=True)
class Finished:
    """Wall time in seconds; peak resident memory in GB (10⁹ bytes) of the largest process that ran."""

    seconds: float
    peak_gb: float
    output: str


def run(command: Sequence[str | Path], *, folder: Path | None = None) -> Finished:
    """Run a command (in `folder`, else here) to its end.

    The peak is that of the child or of the largest of the children that it waited for, not their sum.
    Raises UserError where the program does not exist or fails. An interrupt ends the child too.
    """
    from ehrfm_core.errors import UserError  # not at the top: the script below runs without the project

    words = [str(word) for word in command]
    program = shutil.which(words[0])
    if program is None:
        raise UserError(f"{words[0]} is not a program that can be run.")
    with tempfile.TemporaryDirectory(prefix="ehrfm-bench-") as temporary:
        report, log = Path(temporary) / "report.json", Path(temporary) / "log.txt"
        program = str(Path(program).absolute())  # `folder` must not change which program is meant
        starter = [sys.executable, "-I", "-S", __file__, str(report), program, *words[1:]]
        with log.open("wb") as file:
            process = subprocess.Popen(
                starter,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a group of its own, so that it can be ended as a whole
            )
            try:
                process.wait()
            except BaseException:
                with contextlib.suppress(ProcessLookupError):  # it may just have ended
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                raise
        output = log.read_text(encoding="utf-8", errors="replace")
        told = json.loads(report.read_text(encoding="utf-8")) if report.exists() else {"status": 1}
    if told["status"] != 0:
        raise UserError(_failure(words, told["status"], output))
    return Finished(told["seconds"], told["maxrss"] * MAXRSS_BYTES / 1e9, output)


def _failure(words: list[str], status: int, output: str) -> str:
    how = f"failed with status {status}"
    if status < 0:
        how = f"was ended by signal {-status}" + (", mostly for want of memory" if status == -9 else "")
    lines = [line.strip() for line in output.splitlines() if line.strip()][-LAST_LINES:]
    said = " / ".join(lines) or "nothing"
    return f"`{' '.join(words)}` {how}; the last it said: {said}"


def _start(report: str, command: list[str]) -> None:
    begun = time.perf_counter()
    pid = os.posix_spawn(command[0], command, os.environ)
    _, status, usage = os.wait4(pid, 0)
    seconds = time.perf_counter() - begun
    told = {"status": os.waitstatus_to_exitcode(status), "seconds": seconds, "maxrss": usage.ru_maxrss}
    Path(report).write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    _start(sys.argv[1], sys.argv[2:])
