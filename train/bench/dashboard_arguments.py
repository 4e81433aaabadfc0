"""Options of `python -m train bench dashboard`; imports nothing heavy."""

from __future__ import annotations

import argparse
from pathlib import Path

from train.numbers import positive_number, seed_number


def add_dashboard_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of `python -m train bench dashboard`."""
    command.description = (
        "Make a study of N stays × 25 hours (two hospitals, from no model), serve the dashboard on it, "
        "drive Chromium without a GPU through every page, and print what was measured beside its budget. "
        "Exit status 1 where a budget is missed. Needs playwright and Debian's chromium."
    )
    command.add_argument("--stays", type=positive_number, default=144_000, metavar="N", help="(144000)")
    command.add_argument(
        "--users", type=positive_number, default=1, metavar="N", help="visitors of the map at once (1)"
    )
    command.add_argument("--repeats", type=positive_number, default=3, metavar="N", help="medians of N (3)")
    command.add_argument(
        "--minutes",
        type=positive_number,
        metavar="M",
        help="with --users: the others do the five-minute story, over and over, for M minutes (they hurry "
        "through the pages for as long as one visitor's gestures take)",
    )
    command.add_argument(
        "--visits",
        type=positive_number,
        metavar="N",
        help="then open and close N sessions: is memory given back?",
    )
    command.add_argument("--seed", type=seed_number, default=0, metavar="S", help="(0)")
    command.add_argument(
        "--work", type=Path, metavar="DIR", help="keep the study here and use it again (a temporary folder)"
    )
    command.add_argument("--json", action="store_true", help="print JSON in place of the table")
