"""Options of `python -m train bench`; imports nothing heavy."""

from __future__ import annotations

import argparse
from pathlib import Path

from train.numbers import positive_number, seed_number

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

TRAINING_STORY = """\
Train one architecture on the same timelines, each as a fresh process and in turns: our loop and, where they
are at hand, `cotorra train` and transformers' Trainer. Rates are real tokens a second, medians with their
range, steps alone (starting up is not counted). With --ladder or on a GPU, our loop step by step instead:
precision, packing, attention kernel, compiling, fused loss, tokens a pass; predicted against measured.

cotorra needs an environment of its own:
python -m venv cotorra && cotorra/bin/pip install torch==2.13.0 cotorra
"""

EMBEDDING_STORY = """\
Read states, jumps, information and risks out of one checkpoint (random weights) on the same windows, each as
a fresh process and in turns: ours and, where it is at hand, `cotorra extract`. Rates are tokens a second,
medians with their range; starting up and loading the model is not counted, the writing of what is kept is.
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


def add_interruptions_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of `python -m train bench interruptions`."""
    command.description = (
        "Make a study of two tiny synthetic hospitals, then kill each stage and the whole command with "
        "`kill -9` at moments drawn over its length, run it again, and compare every file with those of a "
        "study that nobody disturbed; exit 1 where one differs."
    )
    command.add_argument("--kills", type=positive_number, default=50, metavar="N", help="in all (50)")
    command.add_argument("--stays", type=positive_number, default=120, metavar="N", help="a hospital (120)")
    command.add_argument("--seed", type=seed_number, default=0, metavar="S", help="of stays and moments (0)")
    command.add_argument(
        "--folder", type=Path, metavar="DIR", help="where to write for the time being (the system's own)"
    )
    command.add_argument("--json", action="store_true", help="print JSON in place of the sentences")


def add_maps_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of `python -m train bench maps`."""
    command.description = (
        "Draw stays from a study's hourly states, with noise; fit both maps on 70 %% of them as the embed "
        "stage does (at most 50,000 states), place all, and print time, states a second and peak memory. "
        "The states themselves are held in memory, as in the embed stage, and are part of the peak."
    )
    command.add_argument(
        "study", type=Path, nargs="?", metavar="STUDY", help="an embedded study (the bundled one)"
    )
    command.add_argument(
        "--stays", type=positive_number, default=20_000, metavar="N", help="stays of 25 states (20000)"
    )
    command.add_argument("--hidden", type=positive_number, metavar="D", help="hidden size (the study's own)")
    command.add_argument("--seed", type=seed_number, default=0, metavar="S", help="(0)")
    command.add_argument("--json", action="store_true", help="print JSON in place of the table")


def add_statistics_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of `python -m train bench statistics`."""
    command.description = (
        "Time replicates of the AUC that resample patients, and DeLong's variance, on stays drawn for it."
    )
    command.add_argument("--stays", type=positive_number, default=144_000, metavar="N", help="(144000)")
    command.add_argument("--replicates", type=positive_number, default=2000, metavar="N", help="(2000)")
    command.add_argument("--seed", type=seed_number, default=0, metavar="S", help="(0)")
    command.add_argument("--json", action="store_true", help="print JSON in place of the sentences")


def _add_contest_arguments(command: argparse.ArgumentParser) -> None:
    """What a contest with cotorra takes, whatever is measured."""
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    command.add_argument(
        "study", type=Path, nargs="?", metavar="STUDY", help="a tokenized study (the bundled one)"
    )
    command.add_argument("--size", default="small", help="architecture (small: 7 M parameters)")
    command.add_argument("--cotorra", metavar="FILE", help="the program, such as cotorra/bin/cotorra")
    command.add_argument("--repeats", type=positive_number, default=3, metavar="N", help="runs of each (3)")
    command.add_argument("--json", action="store_true", help="print JSON in place of the table")


def add_training_bench_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of `python -m train bench training`."""
    command.description = TRAINING_STORY
    _add_contest_arguments(command)
    command.add_argument(
        "--trainer",
        metavar="PYTHON",
        help="a Python with torch, transformers and accelerate, to run transformers' Trainer with",
    )
    command.add_argument("--steps", type=positive_number, default=40, metavar="N", help="steps a run (40)")
    command.add_argument("--batch-tokens", type=positive_number, metavar="N", help="a step (by size)")
    command.add_argument("--precision", choices=["bf16", "fp32"], help="ours and the Trainer's")
    command.add_argument(
        "--ladder", action="store_true", help="what each measure brings, one after another (always with cuda)"
    )
    command.add_argument("--device", choices=["cpu", "cuda"], help="(cpu)")
    command.add_argument(
        "--no-compile", action="store_false", dest="compile", help="leave out the rungs that compile"
    )
    command.add_argument("--longest", type=positive_number, metavar="N", help="longest sequence (1024)")
    command.add_argument("--full", action="store_true", help="with the ladder: every sequence is that long")


def add_embedding_bench_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of `python -m train bench embedding`."""
    command.description = EMBEDDING_STORY
    _add_contest_arguments(command)
    command.add_argument(
        "--tokens", type=positive_number, default=60_000, metavar="N", help="of random stays' windows (60000)"
    )
    command.add_argument(
        "--device", choices=["cpu", "cuda"], help="with cuda: our pass alone, by the tokens of a pack (cpu)"
    )
