"""`python -m train synthesize`: two synthetic hospitals as CLIF, with the truth beside them."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from train.numbers import positive_number, seed_number
from train.progress import bar_if_long, say

STORY = """\
Writes two hospitals of nobody: OUT/mimic and OUT/ucmc as valid CLIF 2.1, and in OUT/truth what no hospital
knows (the latent state of every hour, the true risk of each outcome at 24 h), which the pipeline never reads.
Every stay lasts 24 hours or more. The same options give the same files.

--shift says in what the second hospital differs from the first, one or more of these, divided by commas:
  population   age, race, disease, what people come for
  coverage     what wards chart (the first hospital's wards chart almost no vital signs)
  policy       when somebody goes to the ICU, is ventilated, is discharged
  measurement  panels, assays, scales; labs that one has and the other lacks
  time         a pandemic in waves: who comes and how they are treated
or one of: all, institution (all but time), none (both are one distribution).
"""


def add_synthesize_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of the command; imports nothing heavy."""
    command.description = STORY
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    command.add_argument("out", type=Path, metavar="OUT", help="new or empty folder")
    command.add_argument(
        "--stays",
        type=stays_number,
        default=2000,
        metavar="N",
        help="stays a hospital, one number or mimic=N,ucmc=N (2000)",
    )
    command.add_argument(
        "--seed", type=seed_number, default=0, metavar="S", help="seed of all that is random (0)"
    )
    command.add_argument("--shift", default="all", metavar="PARTS", help="how the second differs (all)")
    command.add_argument(
        "--draws",
        type=int,
        default=None,
        metavar="N",
        help="simulated futures behind each true risk (16); more make it more exact and take longer",
    )


def synthesize(options: argparse.Namespace) -> None:
    """Run the command."""
    from ehrfm_core.synthesis.hospital import shift_parts
    from ehrfm_core.synthesis.write import DRAWS, SITES
    from ehrfm_core.synthesis.write import synthesize as write

    parts = shift_parts(options.shift)
    begun = time.monotonic()
    with bar_if_long("synthesize", " stays") as progress:
        ran = write(
            options.out,
            stays=options.stays,
            seed=options.seed,
            parts=parts,
            draws=DRAWS if options.draws is None else options.draws,
            progress=progress,
        )
    if not ran:
        say(f"{options.out}: nothing to do, made before with the same options.")
        return
    named = ", ".join(sorted(parts)) or "nothing: both are one distribution"
    stays = options.stays if isinstance(options.stays, dict) else dict.fromkeys(SITES, options.stays)
    counts = ", ".join(f"{site} {n:,}" for site, n in stays.items())
    say(f"Wrote {counts} stays in {time.monotonic() - begun:.0f} s. Shift: {named}.")
    for site in SITES:
        say(f"  {options.out / site}")
    say(f"  {options.out / 'truth'}   (true states and risks; never read by the pipeline)")
    sites = " ".join(f"--site {site}={options.out / site}" for site in SITES)
    say(f"Go on: python -m train study STUDY {sites}")


def stays_number(value: str) -> int | dict[str, int]:
    """A number of stays for both hospitals, or one for each, for argparse.

    >>> stays_number("20"), stays_number("mimic=20,ucmc=10")
    (20, {'mimic': 20, 'ucmc': 10})
    """
    if "=" not in value:
        return positive_number(value)
    named = value.split(",")
    parts = dict(part.strip().split("=", 1) for part in named if "=" in part)
    if sorted(parts) != ["mimic", "ucmc"] or len(named) != 2:
        raise argparse.ArgumentTypeError(f"{value!r} is neither a number nor of the form mimic=N,ucmc=N")
    return {site: positive_number(parts[site]) for site in ("mimic", "ucmc")}
