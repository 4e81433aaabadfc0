"""`python -m train.recipes.samples [FOLDER]`: make the bundled synthetic study and the excerpt anew.

Two synthetic hospitals (all parts of the shift, seed 0) are written into a temporary folder, a study is made
of them, and the first 200 stays of each are kept as CLIF tables. FOLDER is `data_samples` unless given.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from ehrfm_core.errors import UserError
from ehrfm_core.study.layout import LOG
from ehrfm_core.synthesis.hospital import SITES
from train.__main__ import main as train
from train.progress import say

FOLDER = Path(__file__).resolve().parents[2] / "data_samples"
STUDY, TABLES = "studies/demo-two-hospitals", "clif"
STAYS = {"mimic": 2000, "ucmc": 690}  # what ships below 25 MB
EXCERPT = 200
STEPS = 2000


def main(arguments: list[str] | None = None) -> int:
    """Make both; return the exit status (0 done, 1 the input is at fault)."""
    parser = argparse.ArgumentParser(
        prog="python -m train.recipes.samples",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, nargs="?", default=FOLDER, metavar="FOLDER")
    folder: Path = parser.parse_args(arguments).folder
    begun = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="ehrfm-samples-") as temporary:
            status = _make(folder, Path(temporary))
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    if status == 0:
        say(f"Made {folder / STUDY} and {folder / TABLES} in {time.monotonic() - begun:.0f} s.")
    return status


def _make(folder: Path, work: Path) -> int:
    from ehrfm_core.synthesis.excerpt import excerpt

    stays = ",".join(f"{site}={n}" for site, n in STAYS.items())
    if status := train(["synthesize", str(work / "hospitals"), "--stays", stays]):
        return status
    tables = {site: work / "hospitals" / site for site in SITES}
    for path in (folder / STUDY, folder / TABLES):
        shutil.rmtree(path, ignore_errors=True)
    for site, path in tables.items():
        excerpt(path, folder / TABLES / site, stays=EXCERPT)
    command = ["study", str(folder / STUDY), "--source", "mimic", "--steps", str(STEPS), "--seed", "0"]
    status = train([*command, *(word for s, p in tables.items() for word in ("--site", f"{s}={p}"))])
    tidy(folder / STUDY)
    return status


def tidy(study: Path) -> None:
    """Remove what a bundled study does without: log, last weights, TensorBoard's copy of the curves."""
    (study / LOG).unlink(missing_ok=True)
    shutil.rmtree(study / "training" / "last", ignore_errors=True)
    for path in (study / "training").glob("events.out.tfevents.*"):
        path.unlink()


if __name__ == "__main__":
    sys.exit(main())
