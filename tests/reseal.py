"""A study that was changed by hand, made consistent again: for tests of something else than its hashes."""

from __future__ import annotations

import json
from pathlib import Path

from ehrfm_core.study.files import fingerprint, sha256
from ehrfm_core.study.manifest import SEAL


def reseal(study: Path) -> None:
    """Write the hashes of the files as they lie there, and the manifest's own, into `study.json`."""
    path = study / "study.json"
    content = json.loads(path.read_text())
    content.pop(SEAL, None)
    for stage in content["stages"].values():
        for name in stage["files"]:
            if (study / name).is_file():
                stage["files"][name] = sha256(study / name)
    path.write_text(json.dumps(content | {SEAL: fingerprint(content)}))
