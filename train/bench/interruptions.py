"""Kill a study at random moments, run it again, and see whether it ends as one that nobody disturbed."""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ehrfm_core.errors import UserError
from ehrfm_core.study import open_study
from ehrfm_core.study.layout import CARD, LOG, MANIFEST, STAGES, TRAINING
from ehrfm_core.synthesis.write import SITES, synthesize
from train.bench.killed_lives import ended, kill, seconds_of, start
from train.progress import say

WHOLE = "study"
DATED = (CARD, LOG, f"{TRAINING}/")  # of the hour, so not the same twice
OPTIONS = {
    "tokenize": ["--max-tokens", "256"],
    "pretrain": ["--steps", "80", "--batch-tokens", "512", "--save-every", "5"],
    "embed": ["--whole-stay"],
    "evaluate": ["--bootstrap", "20", "--repeats", "1", "--finetune-epochs", "1", "--local-tokens", "5000"],
}


@dataclass
class Survived:
    """What became of the kills of one command; `seconds` is how long it takes undisturbed."""

    command: str
    seconds: float
    kills: int = 0
    finished: int = 0  # times it was then run to its end
    same: int = 0  # of these, with every file byte for byte the undisturbed one's
    torn: int = 0  # kills after which a file on record was not as it was written
    refused: int = 0  # kills between a finished stage and its last file's move: refused until run again


def run(options: argparse.Namespace) -> int:
    """Measure and print; 1 where a study ended otherwise or a torn file would have been read."""
    rng = np.random.default_rng(options.seed)
    with tempfile.TemporaryDirectory(prefix="ehrfm-bench-", dir=options.folder) as temporary:
        bench = _Bench(Path(temporary), options.stays, options.seed)
        commands = [WHOLE, *STAGES]
        found = []
        for number, command in enumerate(commands):
            kills = options.kills // len(commands) + (number < options.kills % len(commands))
            if not kills:
                continue
            found.append(bench.survive(command, kills, rng))
            if not options.json:
                say(_sentence(found[-1]))
    whole = all(one.same == one.finished and not one.torn for one in found)
    if options.json:
        say(json.dumps([asdict(one) for one in found], indent=1))
    else:
        total = sum(one.kills for one in found)
        said = (
            "every study ended byte for byte as the undisturbed one" if whole else "NOT every study survived"
        )
        say(f"{total} kills (seed {options.seed}): {said}.")
    return 0 if whole else 1


class _Bench:
    """Two tiny hospitals, and the study of them as it is before each stage and at the end."""

    def __init__(self, folder: Path, stays: int, seed: int) -> None:
        self._folder = folder
        synthesize(folder / "clif", stays=stays, seed=seed, parts=frozenset(), draws=2)
        self._seconds = {}
        for number, stage in enumerate(STAGES):
            if number:
                shutil.copytree(self._state(number), self._state(number + 1))
            self._seconds[stage] = self._finish(stage, self._state(number + 1))
        self._seconds[WHOLE] = sum(self._seconds.values())

    def survive(self, command: str, kills: int, rng: np.random.Generator) -> Survived:
        """Kill the command so many times, each time somewhere between its start and its end."""
        found = Survived(command, round(self._seconds[command], 1))
        study = self._anew(command)
        while found.kills < kills:
            process = start(self._words(command, study), self._log)
            if not ended(process, within=rng.uniform(0, self._seconds[command])) and kill(process):
                found.kills += 1
                look(study, found)
                continue
            self._compare(command, study, found)
            study = self._anew(command)
        self._finish(command, study)
        self._compare(command, study, found)
        return found

    @property
    def _log(self) -> Path:
        return self._folder / "log.txt"

    def _state(self, stages: int) -> Path:
        """The undisturbed study after so many stages."""
        return self._folder / f"after-{stages}"

    def _anew(self, command: str) -> Path:
        study = self._folder / "killed"
        shutil.rmtree(study, ignore_errors=True)
        if command not in (STAGES[0], WHOLE):
            shutil.copytree(self._state(STAGES.index(command)), study)
        return study

    def _words(self, command: str, study: Path) -> list[str | Path]:
        sites = [word for site in SITES for word in ("--site", f"{site}={self._folder / 'clif' / site}")]
        stages = list(STAGES) if command == WHOLE else [command]
        words = [word for stage in stages for word in OPTIONS[stage]]
        words += sites if STAGES[0] in stages else []
        return [command, study, *words, *(["--device", "cpu"] if command != STAGES[0] else [])]

    def _finish(self, command: str, study: Path) -> float:
        process = start(self._words(command, study), self._log)
        seconds = seconds_of(process)
        if process.exitcode != 0:
            raise UserError(f"{command} ended with status {process.exitcode}: {self._log.read_text()[-400:]}")
        return seconds

    def _compare(self, command: str, study: Path, found: Survived) -> None:
        done = len(STAGES) if command == WHOLE else STAGES.index(command) + 1
        found.finished += 1
        found.same += contents(study) == contents(self._state(done))


def look(study: Path, found: Survived) -> None:
    """Whether whoever opens the study now is shown nothing that is half written."""
    if not (study / MANIFEST).is_file():
        return
    opened = open_study(study)
    pending = any((study / f".{stage}.partial" / MANIFEST).is_file() for stage in STAGES)
    try:
        for done in opened.manifest.stages.values():
            for path in done.files:
                opened.file(path)
    except UserError:
        found.refused += pending
        found.torn += not pending


def contents(study: Path) -> dict[str, bytes]:
    """Every file that must be the same for the same data, settings and seed."""
    files = {path.relative_to(study).as_posix(): path for path in study.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in sorted(files.items()) if not name.startswith(DATED)}


def _sentence(one: Survived) -> str:
    refused = f", {one.refused} refused until then" if one.refused else ""
    torn = f", {one.torn} with TORN files" if one.torn else ""
    return (
        f"{one.command} ({one.seconds:g} s): {one.kills} kills, run to its end {one.finished} times, "
        f"{one.same} of them byte for byte the undisturbed study{refused}{torn}"
    )
