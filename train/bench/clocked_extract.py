"""`cotorra extract` as it is, with a clock around the extraction.

    python -m train.bench.clocked_extract FOLDER extract …

runs cotorra's own command line in its own environment and writes FOLDER/report.json.
"""

from __future__ import annotations

import json
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any


def main(words: list[str]) -> None:
    """Run; words are the folder and cotorra's own arguments."""
    folder, *command = words
    os.environ.update(WANDB_MODE="disabled", HF_HUB_OFFLINE="1", HF_HOME=str(Path(folder) / "cache"))
    from cotorra.cli import app  # reads the environment, so not at the top
    from cotorra.extractor import Extractor

    extract = Extractor.extract

    def clocked(self: Any, *given: Any, **options: Any) -> None:
        begun = time.perf_counter()
        extract(self, *given, **options)
        report = {"seconds": time.perf_counter() - begun, "version": version("cotorra")}
        (Path(folder) / "report.json").write_text(json.dumps(report), encoding="utf-8")

    Extractor.extract = clocked
    app(command, standalone_mode=False)


if __name__ == "__main__":
    main(sys.argv[1:])
