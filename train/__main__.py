"""`python -m train`: the command line."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ehrfm_core.errors import UserError
from train.progress import peak_memory_gb, say
from train.token_options import add_token_arguments

if TYPE_CHECKING:
    from ehrfm_core.model.pretrain import PretrainSettings
    from ehrfm_core.study.manifest import Manifest

SIZES = ("tiny", "small", "medium", "1b")
N_BOOTSTRAP = 1000

STORY = """\
From the CLIF tables of one or more hospitals to a study that the dashboard opens.

  python -m train import mimic-demo demo                   100 open patients in CLIF, to try it on
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

    fetch = commands.add_parser(
        "import",
        help="open data into CLIF",
        description="Write the open MIMIC-IV demo (275 stays of 100 patients, ODbL 1.0) as CLIF 2.1 tables.",
    )
    fetch.add_argument("collection", choices=["mimic-demo"])
    fetch.add_argument("out", type=Path, metavar="OUT", help="new or empty folder for the tables")

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
            "--synthetic", action="store_true", help="the data are synthetic: every screen says so"
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
    for command in (pretrain, embed, evaluate):
        _study_argument(command)
    for command in (study, pretrain):
        command.add_argument(
            "--size",
            choices=SIZES,
            help="tiny ≈ 1 M parameters, small ≈ 6 M, medium 67 M, 1b (default: as before, else tiny)",
        )
        command.add_argument(
            "--steps", type=positive_number, metavar="N", help="training steps at most (default: by size)"
        )
    for command in (study, pretrain, embed, evaluate):
        command.add_argument(
            "--seed", type=seed_number, metavar="N", help="seed of all that is random (as before, else 0)"
        )
    for command in (study, pretrain, embed):
        command.add_argument("--device", choices=["cpu", "cuda"], help="default: cuda where there is one")
    for command in (study, evaluate):
        command.add_argument(
            "--bootstrap",
            type=positive_number,
            metavar="N",
            help=f"replicates behind each interval (default: as before, else {N_BOOTSTRAP})",
        )
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit status (0 done, 1 the input is at fault, 130 interrupted)."""
    options = parser().parse_args(arguments)
    try:
        if options.command == "import":
            _import(options)
        elif options.command == "verify":
            return _verify(options)
        elif options.command == "tokenize" and (options.explain or options.stay or options.meds_out):
            _look(options)
        else:
            _study(options)
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; run the same command again to go on.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read the output, `head` for example, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        place = error.filename or getattr(options, "study", None) or options.out
        print(
            f"Error: {error.strerror or error} ({place}); what was finished is kept: mend this and run the "
            "same command again.",
            file=sys.stderr,
        )
        return 1
    return 0


def _import(options: argparse.Namespace) -> None:
    from ehrfm_core.sources.mimic_demo import import_mimic_demo

    rows = import_mimic_demo(options.out)
    for name, count in rows.items():
        say(f"  {name:<45} {count:>8,} rows")
    say(
        f"Wrote {len(rows)} tables to {options.out}. The data are under the Open Database License 1.0: name "
        "MIMIC-IV Clinical Database Demo 2.2 (Johnson et al., PhysioNet 2023, doi 10.13026/dp1f-ex47)."
    )


def _verify(options: argparse.Namespace) -> int:
    from ehrfm_core.study import open_study
    from ehrfm_core.study.verify import verify

    study = open_study(options.study)
    findings = verify(study)
    for finding in findings:
        print(f"Error: {finding}", file=sys.stderr)
    if not findings:
        files = sum(len(stage.files) for stage in study.manifest.stages.values())
        say(f"{options.study}: {files} files are as they were written and agree with each other.")
    return 1 if findings else 0


def _look(options: argparse.Namespace) -> None:
    from train.explain import explain_event, print_stay, write_meds

    if options.explain:
        explain_event(options.study, options.explain)
    if options.stay:
        print_stay(options.study, options.stay, options.at)
    if options.meds_out:
        write_meds(options.study, options.meds_out)


def _study(options: argparse.Namespace) -> None:
    from ehrfm_core.study.layout import MANIFEST
    from ehrfm_core.study.manifest import Manifest, read_manifest
    from ehrfm_core.study.writer import create_or_open

    folder: Path = options.study
    ran = False
    if options.command in ("study", "tokenize"):
        sites = _sites(options.site)
        source = options.source or next(iter(sites))
        if source not in sites:
            raise UserError(f"--source {source} is none of the sites {', '.join(sites)}.")
        from ehrfm_core.clif.tables import open_directory
        from ehrfm_core.sources.meds import is_meds, open_meds
        from train.token_options import token_settings
        from train.tokenize import tokenize

        before = read_manifest(folder) if (folder / MANIFEST).is_file() else Manifest(source, list(sites))
        token_choice, event_map = token_settings(before, options)
        opened = {  # before anything is written
            name: open_meds(path, options.meds_map) if is_meds(path) else open_directory(path, event_map)
            for name, path in sites.items()
        }
        manifest = create_or_open(folder, sites=list(sites), source=source, synthetic=options.synthetic)
        ran |= tokenize(folder, manifest, opened, token_choice, event_map)
    else:
        manifest = read_manifest(folder)
    if options.command in ("study", "pretrain"):
        _quiet_transformers()
        from train.pretrain import pretrain

        settings = _pretrain_settings(manifest, options)
        ran |= pretrain(folder, manifest, settings, device=_device(options.device))
    if options.command in ("study", "embed"):
        _quiet_transformers()
        from train.embed import embed

        seed = _remembered(manifest, "embed", "seed", options.seed, 0)
        ran |= embed(folder, manifest, seed=seed, device=_device(options.device))
    if options.command in ("study", "evaluate"):
        from train.evaluate import evaluate

        seed = _remembered(manifest, "evaluate", "seed", options.seed, 0)
        n_bootstrap = _remembered(manifest, "evaluate", "n_bootstrap", options.bootstrap, N_BOOTSTRAP)
        ran |= evaluate(folder, manifest, seed=seed, n_bootstrap=n_bootstrap)
    if options.command == "study":
        if ran:
            say(f"Study {folder} is complete. Peak memory {peak_memory_gb():.2f} GB.")
        else:
            say(f"Study {folder} is complete and up to date: nothing was run.")
        say(f"Open it: streamlit run dashboard/app.py -- --studies {folder.parent}")


def _study_argument(command: argparse.ArgumentParser) -> None:
    command.add_argument("study", type=Path, metavar="STUDY", help="the study's folder")


def _sites(values: list[str] | None) -> dict[str, Path]:
    sites: dict[str, Path] = {}
    if not values:
        raise UserError(
            "Name at least one hospital: --site NAME=DIR (or --explain or --stay on a finished study)."
        )
    for value in values:
        name, equals, folder = value.partition("=")
        if not (name and equals and folder):
            raise UserError(f"--site {value!r} is not of the form NAME=DIR.")
        if name in sites:
            raise UserError(f"Two sites are called {name!r}; give every --site a name of its own.")
        path = Path(folder)
        if twin := next((other for other, known in sites.items() if known.resolve() == path.resolve()), None):
            raise UserError(
                f"{twin} and {name} are the same folder {folder}; every site needs its own tables."
            )
        sites[name] = path
    return sites


def positive_number(value: str) -> int:
    """A whole number from 1, for argparse."""
    if not value.isdecimal() or int(value) < 1:
        raise argparse.ArgumentTypeError(f"{value!r} is not a whole number from 1")
    return int(value)


def seed_number(value: str) -> int:
    """A whole number from 0 to 2³² − 1, what every library takes as a seed, for argparse."""
    if not value.isdecimal() or int(value) >= 2**32:
        raise argparse.ArgumentTypeError(f"{value!r} is not a whole number from 0 to {2**32 - 1}")
    return int(value)


def _remembered(manifest: Manifest, stage: str, key: str, given: Any, default: Any) -> Any:
    """What was given, else what the study was made with, else the default."""
    if given is not None:
        return given
    done = manifest.stages.get(stage)
    return done.settings.get(key, default) if done else default


def _pretrain_settings(manifest: Manifest, options: argparse.Namespace) -> PretrainSettings:
    """Settings as given, or as the study was made; a new size brings its own number of steps."""
    from ehrfm_core.model.pretrain import PretrainSettings

    size = _remembered(manifest, "pretrain", "size", options.size, "tiny")
    same = options.size is None
    steps = _remembered(manifest, "pretrain", "steps", options.steps, None) if same else options.steps
    seed = _remembered(manifest, "pretrain", "seed", options.seed, 0)
    return PretrainSettings(size=size, seed=seed, steps=steps)


def _device(wanted: str | None) -> str:
    import torch

    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise UserError("--device cuda: this machine has no GPU that torch can use; leave --device out.")
    return wanted or ("cuda" if available else "cpu")


def _quiet_transformers() -> None:
    """No download, no chatter: the model is made here."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    logging.getLogger("transformers").setLevel(logging.ERROR)


if __name__ == "__main__":
    sys.exit(main())
