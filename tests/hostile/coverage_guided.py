"""Fuzz what reads text by coverage: `python -m tests.hostile.coverage_guided TARGET [libFuzzer options]`.

Needs `pip install atheris` (not in requirements-dev.txt: there are builds for few versions of Python).
One of the options is `-max_total_time=120`. Anything but a UserError is a finding, and is printed.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ehrfm_core.clif.event_map import load_map
from ehrfm_core.clif.outcome_file import load_outcomes
from ehrfm_core.cohorts import Cohort
from ehrfm_core.errors import UserError
from ehrfm_core.study.files import read_json
from ehrfm_core.study.manifest import read_manifest
from ehrfm_core.tokens.tokenizer import Tokenizer

ROOT = Path(__file__).parents[2]
STUDY = ROOT / "data_samples/studies/mimic-iv-demo"
SCRATCH = Path(tempfile.mkdtemp())


def _in_file(name: str, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    def target(content: bytes) -> object:
        path = SCRATCH / name
        path.write_bytes(content)
        return read(path)

    return target


TARGETS: dict[str, tuple[Callable[[bytes], object], bytes]] = {
    "cohort": (
        Cohort.from_text,
        Cohort.of(levels={"sex": ["Female"]}, ranges={"age": (80, None)}).text().encode(),
    ),
    "map": (
        _in_file("map.yaml", lambda path: load_map(str(path))),
        (ROOT / "ehrfm_core/clif/maps/paper.yaml").read_bytes(),
    ),
    "outcomes": (
        _in_file("outcomes.yaml", load_outcomes),
        (ROOT / "data_samples/outcomes.yaml").read_bytes(),
    ),
    "manifest": (
        _in_file("study.json", lambda path: read_manifest(path.parent)),
        (STUDY / "study.json").read_bytes(),
    ),
    "tokenizer": (
        _in_file("tokenizer.json", lambda path: Tokenizer.from_json(read_json(path))),
        (STUDY / "tokenizer.json").read_bytes(),
    ),
}


def main(arguments: list[str]) -> None:
    """Run until libFuzzer's options say stop."""
    import atheris

    read, seed = TARGETS[arguments[0]]
    corpus = SCRATCH / "corpus"
    corpus.mkdir()
    (corpus / "seed").write_bytes(seed)

    def one(content: bytes) -> None:
        with suppress(UserError):
            read(content)

    atheris.instrument_all()
    atheris.Setup([sys.argv[0], *arguments[1:], str(corpus)], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
