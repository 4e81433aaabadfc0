"""`python -m train.recipes.controlled_shift WORK`: the paper's experiment where the truth is known.

One synthetic hospital is the source. The targets differ from it in known parts, one target a shift, and the
true risk of every stay is known. So it can be told how much of what a model loses on the way is its own, and
how much is the target's harder task; and, where the shift is `none` and both hospitals are the same, that the
method finds no loss. What is finished is not run again.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from ehrfm_core.errors import UserError
from ehrfm_core.study.files import write_json
from ehrfm_core.study.layout import SITE_NAME
from ehrfm_core.synthesis.hospital import PARTS, SITES, shift_parts
from train.__main__ import main as train
from train.numbers import positive_number, seed_number
from train.progress import bar_if_long, say
from train.recipes.shift_report import make_report
from train.recipes.shift_tables import markdown
from train.training_options import SIZES

SHIFTS = ("none", "institution", "time", "all")
PARTS_ALONE = "parts"  # for --shifts: none, each part of the shift alone, and all of them
STAYS = 10_000
SOURCE, TARGET = SITES  # as the synthesis names the two
SOURCE_FOLDER, STUDY, REPORT = "source", "studies/controlled-shift", "controlled_shift.json"
DRAWS = 64  # more than the synthesis makes of itself: the oracle is the yardstick here


def main(arguments: list[str] | None = None) -> int:
    """Run the experiment; return the exit status (0 done, 1 the input is at fault, 130 interrupted)."""
    options = _parser().parse_args(arguments)
    try:
        with contextlib.redirect_stdout(sys.stderr) if options.as_json else contextlib.nullcontext():
            sites = shifts_of(options.shifts)
            for site, parts in ({SOURCE: frozenset[str]()} | sites).items():
                _make(options.work / _folder(site), site, parts, options)
            if status := train(_study_arguments(options, sites)):
                return status
            truths = {site: _truth(options.work, site) for site in (SOURCE, *sites)}
            report = make_report(options.work / STUDY, truths, sites)
            write_json(options.work / REPORT, report)
        say(json.dumps(report, indent=1, ensure_ascii=False) if options.as_json else markdown(report))
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; run the same command again to go on.", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m train.recipes.controlled_shift",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "work", type=Path, metavar="WORK", help="folder of the hospitals, the study, the report"
    )
    parser.add_argument(
        "--stays", type=positive_number, default=STAYS, metavar="N", help=f"stays a hospital ({STAYS})"
    )
    parser.add_argument(
        "--seed", type=seed_number, default=0, metavar="N", help="seed of all that is random (0)"
    )
    parser.add_argument(
        "--shifts",
        nargs="+",
        default=SHIFTS,
        metavar="SHIFT",
        help=f"a target for each: parts divided by commas, or a group of them ({' '.join(SHIFTS)}); "
        f"`{PARTS_ALONE}` stands for none {' '.join(PARTS)} all, and tells what each part costs by itself",
    )
    parser.add_argument(
        "--draws",
        type=positive_number,
        default=DRAWS,
        metavar="N",
        help=f"simulated futures behind each true risk ({DRAWS})",
    )
    parser.add_argument("--size", choices=SIZES, default="tiny", help="size of the model (tiny)")
    parser.add_argument("--steps", type=positive_number, metavar="N", help="training steps at most (by size)")
    parser.add_argument("--device", choices=["cpu", "cuda"], help="default: cuda where there is one")
    parser.add_argument(
        "--bootstrap", type=positive_number, metavar="N", help="replicates behind each interval"
    )
    parser.add_argument(
        "--json",
        action="store_true",
        dest="as_json",
        help="print the report as JSON alone, the rest as errors",
    )
    return parser


def shifts_of(shifts: list[str]) -> dict[str, frozenset[str]]:
    """The parts of each shift by its target's name; UserError where one is unknown or stands twice."""
    sites: dict[str, frozenset[str]] = {}
    for shift in _told(shifts):
        parts, name = shift_parts(shift), "-".join(part.strip() for part in shift.split(","))
        if twin := next((other for other, known in sites.items() if known == parts), None):
            raise UserError(f"--shifts: {twin} and {shift} are the same shift; name it once.")
        if not SITE_NAME.fullmatch(name):
            raise UserError(f"--shifts: {shift!r} is too long a name for a site; name fewer parts or `all`.")
        sites[name] = parts
    return sites


def _told(shifts: list[str]) -> Iterator[str]:
    """The shifts with `parts` written out."""
    for shift in shifts:
        yield from ("none", *PARTS, "all") if shift.strip() == PARTS_ALONE else (shift,)


def _folder(site: str) -> str:
    return SOURCE_FOLDER if site == SOURCE else site


def _own(site: str) -> str:
    """What the synthesis calls the hospital."""
    return SOURCE if site == SOURCE else TARGET


def _make(out: Path, site: str, parts: frozenset[str], options: argparse.Namespace) -> None:
    """Synthesize one hospital into `out`, unless it is there."""
    from ehrfm_core.synthesis.write import synthesize

    own = (_own(site),)
    with bar_if_long(f"{site}: synthesizing", " stays") as progress:
        ran = synthesize(
            out,
            stays=options.stays,
            seed=options.seed,
            parts=parts,
            sites=own,
            draws=options.draws,
            progress=progress,
        )
    say(f"{site}: {f'{options.stays:,} stays synthesized' if ran else 'nothing to do, made before'}.")


def _truth(work: Path, site: str) -> Path:
    return work / _folder(site) / "truth" / _own(site) / "stays.parquet"


def _study_arguments(options: argparse.Namespace, sites: Mapping[str, object]) -> list[str]:
    """The command line of the study: the source and one target a shift."""
    arguments = ["study", str(options.work / STUDY), "--source", SOURCE, "--synthetic"]
    arguments += ["--size", options.size, "--seed", str(options.seed)]
    arguments += ["--finetune", "none", "--repeats", "1"]  # the report is of the probe and of all local stays
    for site in (SOURCE, *sites):
        arguments += ["--site", f"{site}={options.work / _folder(site) / _own(site)}"]
    for name in ("steps", "device", "bootstrap"):
        value = getattr(options, name)
        arguments += [f"--{name}", str(value)] if value is not None else []
    return arguments


if __name__ == "__main__":
    sys.exit(main())
