"""The commands of `python -m train` and their options."""

from __future__ import annotations

import argparse
from pathlib import Path

from train.bench.arguments import (
    add_embedding_bench_arguments,
    add_interruptions_arguments,
    add_maps_arguments,
    add_statistics_arguments,
    add_synthesis_arguments,
    add_tokenizer_arguments,
    add_training_bench_arguments,
)
from train.bench.dashboard_arguments import add_dashboard_arguments
from train.evaluation_options import PAPERS, TUNED, add_evaluation_arguments
from train.import_data import COLLECTIONS, add_import_arguments
from train.numbers import positive_number, seed_number, share_number
from train.synthesize import add_synthesize_arguments
from train.token_options import add_token_arguments
from train.training_options import add_distributed_arguments, add_training_arguments

N_BOOTSTRAP = 1000

STORY = """\
From the CLIF tables of one or more hospitals to a study that the dashboard opens.

  python -m train import mimic-demo demo                   100 open patients in CLIF, to try it on
  python -m train synthesize hospitals --stays 2000        two synthetic hospitals in CLIF, with a known truth
  python -m train validate demo                            is there anything wrong with the tables?
  python -m train study studies/demo --site mimic=demo     tokenize, pretrain, embed, evaluate
  streamlit run dashboard/app.py -- --studies studies      look at it
"""

STUDY_STORY = """\
Runs tokenize, pretrain, embed and evaluate, and writes the study. A finished stage whose inputs and settings
have not changed is not run again, so an interrupted run goes on where it stopped. The first site is the
source (or the one --source names): tokenizer, model, probes, forest and maps are fitted on its training
split alone. With a second site the transfer results appear as well.
"""


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = argparse.ArgumentParser(
        prog="python -m train", description=STORY, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    add_import_arguments(
        commands.add_parser(
            "import",
            help="open data into CLIF",
            description=COLLECTIONS,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
    )
    add_synthesize_arguments(
        commands.add_parser("synthesize", help="two synthetic hospitals with a known truth")
    )
    study = commands.add_parser(
        "study",
        help="the whole way",
        description=STUDY_STORY,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    tokenize = commands.add_parser("tokenize", help="stage 1 alone: CLIF tables to timelines of tokens")
    for command in (study, tokenize):
        _study_argument(command)
        add_token_arguments(command)
        command.add_argument(
            "--site",
            action="append",
            required=command is study,
            metavar="NAME=DIR",
            help="a hospital: its name and the folder of its CLIF tables; may be repeated",
        )
        command.add_argument("--source", metavar="NAME", help="the site everything is fitted on (first one)")
        command.add_argument(
            "--synthetic",
            action="store_true",
            help="the data are synthetic: every screen says so (found out where `synthesize` made them)",
        )
        command.add_argument(
            "--new-codes",
            choices=["unk", "append"],
            help="with --from: codes that STUDY does not know become UNK, or are appended to the vocabulary "
            "(default: as before, else unk)",
        )
    tokenize.add_argument(
        "--explain",
        metavar="EVENT",
        help="print what a finished study makes of an event: 'labs potassium 5.5'",
    )
    tokenize.add_argument("--stay", metavar="ID", help="print the timeline of a stay of a finished study")
    tokenize.add_argument(
        "--meds-out", type=Path, metavar="OUT", help="write a finished study's timelines as a MEDS dataset"
    )
    tokenize.add_argument("--at", metavar="NAME", help="the site of --stay, where two have the same id")
    checked = commands.add_parser(
        "validate",
        help="check a site's CLIF tables before anything else",
        description="Check a directory of CLIF tables against the schemas of CLIF and the demands of this "
        "project; exit 1 where there are errors.",
    )
    checked.add_argument("folder", type=Path, metavar="DIR", help="the folder of a site's CLIF tables")
    checked.add_argument("--json", action="store_true", dest="as_json", help="print the report as JSON alone")
    checked.add_argument(
        "--events",
        default="paper",
        metavar="MAP",
        help="whose events: paper, all, or a YAML file (paper)",
    )
    bench = commands.add_parser("bench", help="measure speed and memory, side by side with others")
    benches = bench.add_subparsers(dest="bench", required=True, metavar="WHAT")
    add_tokenizer_arguments(benches.add_parser("tokenizer", help="tables to tokens, against cocoa"))
    add_training_bench_arguments(benches.add_parser("training", help="training, against cotorra"))
    add_embedding_bench_arguments(benches.add_parser("embedding", help="reading states, against cotorra"))
    add_synthesis_arguments(benches.add_parser("synthesis", help="two synthetic hospitals, by size"))
    add_statistics_arguments(benches.add_parser("statistics", help="intervals, by number of stays"))
    add_dashboard_arguments(
        benches.add_parser("dashboard", help="the screen, in a browser, on 144,000 stays")
    )
    add_interruptions_arguments(benches.add_parser("interruptions", help="kill -9 at random moments"))
    add_maps_arguments(benches.add_parser("maps", help="PCA and UMAP: fit and place hourly states"))

    check = commands.add_parser(
        "verify",
        help="check a study against its own promises",
        description="Check every hash, the tables against each other, path lengths against jumps and metrics "
        "against predictions; exit 1 and the file's name where one fails.",
    )
    _study_argument(check)
    pretrain = commands.add_parser("pretrain", help="stage 2 alone: train the model on the source's stays")
    embed = commands.add_parser("embed", help="stage 3 alone: states, jumps, anomaly and maps")
    evaluate = commands.add_parser("evaluate", help="stage 4 alone: probes, metrics, associations, risks")
    redact = commands.add_parser(
        "redact",
        help="what a finished study's predictions lose without part of the events",
        description="Leave out a share of the events of each test stay: those of most information, of "
        "least, or random ones; read the rest by the study's probes and write the change in AUC to "
        "results/redaction.parquet.",
    )
    redact.add_argument(
        "--shares",
        type=share_number,
        nargs="+",
        default=[0.1, 0.25, 0.5],
        metavar="X",
        help="of the events of each stay (0.1 0.25 0.5)",
    )
    for command in (pretrain, embed, evaluate, redact):
        _study_argument(command)
    for command in (study, tokenize, pretrain):
        command.add_argument(
            "--from",
            dest="start_from",
            type=Path,
            metavar="STUDY",
            help="go on from this finished study's checkpoint: tokens, cut points and vocabulary are its own",
        )
    for command in (study, pretrain):
        add_training_arguments(command)
    add_distributed_arguments(pretrain)
    for command in (study, pretrain, embed, evaluate, redact):
        command.add_argument(
            "--seed", type=seed_number, metavar="N", help="seed of all that is random (as before, else 0)"
        )
    for command in (study, evaluate):
        add_evaluation_arguments(command)
    evaluate.add_argument(
        "--report", action="store_true", help="print the paper's tables for this study, beside the published"
    )
    evaluate.add_argument(
        "--checklist",
        action="store_true",
        help="print TRIPOD+AI, filled in as far as the study knows, as Markdown",
    )
    for command in (study, pretrain, embed, evaluate, redact):
        command.add_argument("--device", choices=["cpu", "cuda"], help="default: cuda where there is one")
    for command in (study, embed):
        command.add_argument(
            "--whole-stay",
            action=argparse.BooleanOptionalAction,
            help="also read what comes after the window, to the end of each stay, into "
            "sites/NAME/later.parquet (as before, else no)",
        )
        command.add_argument(
            "--probe-c",
            choices=[PAPERS, TUNED],
            help="C of the probes' logistic regression and of the baselines': the paper's 1, or the one "
            "of five with the highest AUC on the tuning split (as before, else 1)",
        )
    for command in (study, evaluate, redact):
        command.add_argument(
            "--bootstrap",
            type=positive_number,
            metavar="N",
            help=f"replicates behind each interval (default: as before, else {N_BOOTSTRAP})",
        )
    return top


def _study_argument(command: argparse.ArgumentParser) -> None:
    command.add_argument("study", type=Path, metavar="STUDY", help="the study's folder")
