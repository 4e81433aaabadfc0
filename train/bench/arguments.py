"""Options of `python -m train bench`; imports nothing heavy."""

from __future__ import annotations

import argparse
from pathlib import Path

from train.numbers import positive_number

HOW_TO_INSTALL = "python -m venv cocoa && cocoa/bin/pip install cocoa-tokenizer"
DEFAULT_COPIES = 30
STORY = f"""\
Tokenize the CLIF tables in CLIF_DIR again and again, each time as a fresh process, and print how long it
took, how many tokens a second were made, and the peak memory. With cocoa-tokenizer at hand the two take turns
on the same tables with the same event map. Times and peaks are medians with their range; a ratio is that of
the medians, with the range over the pairs of runs. Before the first run every table is read once, so that all
runs find it in the file cache; there is no other warm-up.

cocoa-tokenizer needs an environment of its own: {HOW_TO_INSTALL}
"""


def add_tokenizer_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of `python -m train bench tokenizer`."""
    command.description = STORY
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    command.add_argument(
        "tables",
        type=Path,
        nargs="?",
        metavar="CLIF_DIR",
        help=f"folder of a site's CLIF tables (default: {DEFAULT_COPIES} copies of the open MIMIC-IV demo)",
    )
    command.add_argument(
        "--cocoa", metavar="FILE", help="the program, such as cocoa/bin/cocoa (the one on the PATH)"
    )
    command.add_argument(
        "--repeats", type=positive_number, default=3, metavar="N", help="runs of each tool (3)"
    )
    command.add_argument(
        "--copies",
        type=positive_number,
        nargs="+",
        metavar="N",
        help="measure N copies of the tables, with ids of their own and 5 %% noise on vitals and labs, in a "
        "temporary folder that is removed; several numbers show how memory grows",
    )
    command.add_argument("--events", default="paper", metavar="MAP", help="paper, all, or a file (paper)")
    command.add_argument("--json", action="store_true", help="print JSON in place of the table")


def add_synthesis_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of `python -m train bench synthesis`."""
    command.description = (
        "Synthesize two hospitals of each size as a fresh process; print time and peak memory."
    )
    command.add_argument(
        "--stays",
        type=positive_number,
        nargs="+",
        default=[2_000, 20_000, 100_000],
        metavar="N",
        help="stays a hospital (2000 20000 100000)",
    )
    command.add_argument(
        "--folder", type=Path, metavar="DIR", help="where to write for the time being (the system's own)"
    )
    command.add_argument("--json", action="store_true", help="print JSON in place of the table")
