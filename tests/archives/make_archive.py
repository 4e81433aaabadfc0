"""Make the archive of the present format: a whole study of two tiny hospitals, by a run of the command line.

    python -m tests.archives.make_archive

It is made once for a format and kept: later versions must open it, or say what to do.
"""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path

from ehrfm_core.model.sizes import SIZES
from ehrfm_core.study.layout import FORMAT_VERSION
from tests.make_clif import make_tables, write_tables
from tests.train.mini import MINI
from train.__main__ import main
from train.progress import say

FOLDER = Path(__file__).parent
OPTIONS = (
    "--steps",
    "20",
    "--max-tokens",
    "64",
    "--bootstrap",
    "20",
    "--repeats",
    "1",
    "--finetune-epochs",
    "1",
)
OPTIONS += ("--local-tokens", "2000", "--whole-stay", "--synthetic", "--device", "cpu")


def make_archive() -> Path:
    """Write `format-N.zip`; its path."""
    SIZES.update(MINI)
    archive = FOLDER / f"format-{FORMAT_VERSION}.zip"
    with tempfile.TemporaryDirectory() as temporary:
        sites = []
        for seed, name in enumerate(("here", "there")):
            clif = write_tables(make_tables(patients=24, seed=seed), Path(temporary) / name)
            sites += ["--site", f"{name}={clif}"]
        study = Path(temporary) / "study"
        assert main(["study", str(study), *sites, *OPTIONS]) == 0
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
            for path in sorted(path for path in study.rglob("*") if path.is_file()):
                name = path.relative_to(study).as_posix()
                if not name.startswith("training/"):
                    out.write(path, name)
    return archive


if __name__ == "__main__":
    say(str(make_archive()))
