"""Does the largest step come when a patient truly got worse? `python -m train.recipes.deterioration`.

Arguments are a study of synthetic hospitals and the folder that `synthesize` wrote, with its truth. For every
site the hour of the largest true rise of severity is compared with the hour of the largest step between
hourly states, of the largest sum of jumps, of the largest single event jump and, as a baseline, with the hour
in which most was charted. Chance is what remains when hours are exchanged between stays.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import polars as pl

from ehrfm_core.errors import UserError
from ehrfm_core.evaluation.timing import ID, agreement, largest, worsening
from ehrfm_core.study.reader import Study, open_study
from train.progress import say

WITHIN = (0, 1)


def main(arguments: list[str] | None = None) -> int:
    """Print the table; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m train.recipes.deterioration",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("study", type=Path)
    parser.add_argument("hospitals", type=Path)
    options = parser.parse_args(arguments)
    try:
        study = open_study(options.study)
        say("| site | signal | within | share [95 %] | chance | p | stays |\n|---|---|---|---|---|---|---|")
        for site in study.sites:
            for line in compare(study, site, options.hospitals):
                say(line)
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


def compare(study: Study, site: str, hospitals: Path) -> list[str]:
    """Lines of the table for one site, test split."""
    path = hospitals / "truth" / site / "hours.parquet"
    if not path.is_file():
        raise UserError(f"{path} is missing: give the folder that `synthesize` wrote, with its truth.")
    patients = study.site_table(site, "stays").filter(pl.col("split") == "test").select(ID, "patient_id")
    true = worsening(pl.read_parquet(path, columns=[ID, "hour", "severity"]))
    paths = study.site_table(site, "paths")
    jump = study.site_table(site, "dynamics").select(
        ID, (pl.col("max_jump_minute") / 60).ceil().clip(1).cast(pl.Int64).alias("at")
    )
    signals = {
        "largest step between hours": largest(paths, "step"),
        "most travelled in an hour": largest(paths, "travelled"),
        "largest event jump": jump.drop_nulls(),
        "most charted (baseline)": largest(paths, "n_events"),
    }
    lines = []
    for name, at in signals.items():
        for within in WITHIN:
            found = agreement(true, at, patients, within=within, seed=0)
            lines.append(
                f"| {site} | {name} | {within} h | {found.share:.3f} [{found.low:.3f}–{found.high:.3f}] "
                f"| {found.chance:.3f} | {found.p_value:.4f} | {found.n} |"
            )
    return lines


if __name__ == "__main__":
    sys.exit(main())
