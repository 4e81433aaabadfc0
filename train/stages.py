"""Run a stage of a study unless it is finished, and say so either way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ehrfm_core.study.layout import MANIFEST
from ehrfm_core.study.lock import locked
from ehrfm_core.study.manifest import Manifest
from ehrfm_core.study.notes import summary
from ehrfm_core.study.staging import recover, staging
from ehrfm_core.study.writer import StageResult, finish, is_current
from train.progress import peak_memory_gb, say


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Have the study in `folder` to oneself during the block, and what a killed run has left put in order."""
    with locked(folder):
        recover(folder)
        yield


def run_stage(
    folder: Path,
    manifest: Manifest,
    stage: str,
    *,
    settings: dict[str, Any],
    inputs: Any,
    work: Callable[[Path], StageResult],
) -> bool:
    """Run `work` and record it, unless nothing has changed; return whether it ran.

    `work` is given the folder to write into; what is there becomes the study's when the stage is finished.
    """
    if is_current(folder, manifest, stage, settings, inputs):
        say(f"{stage}: nothing to do, finished with the same inputs and settings.")
        return False
    say(f"{stage}: running …")
    begun = time.monotonic()
    with staging(folder, stage) as staged:
        result = work(staged)
        seconds = round(time.monotonic() - begun, 1)
        run = {
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": seconds,
            "peak_memory_gb": round(peak_memory_gb(), 2),
        }
        finish(folder, manifest, stage, settings, inputs, result, run=run)
    told = summary(result.notes)
    for note in told:
        say(f"  note: {note}")
    if set(told) - set(result.notes):  # a heading among them stands for sentences
        say(f"  Every note is in {folder / MANIFEST}, and on the dashboard's page Overview.")
    say(f"{stage}: done in {seconds:.0f} s, {len(result.files)} files, peak {run['peak_memory_gb']} GB.")
    return True
