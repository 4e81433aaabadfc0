"""`python -m train.recipes.open_hospitals COLLECTION WORK SRC …`: the study on real, open patients.

COLLECTION is one of three.

cinc2012: one collection of ICU stays; a model is pretrained, read and fine-tuned on a part of them and tested
on the others: death in hospital and a stay over 7 days.

units2012: the same stays by type of ICU; a model of the medical one goes to the surgical, the coronary and
the cardiac surgery recovery one.

cinc2019: two hospitals, sepsis after the first 24 hours; a model of A goes to B, unchanged and adapted, and a
model of B to A.

Beside every model stands gradient boosting on the values as they were charted (last, lowest, highest, mean
and number of each variable, age, sex, type of unit), fitted on the same stays. Figures are those of the test
splits; nothing is chosen there. WORK/report.md has the tables, WORK/studies the studies for the dashboard.
What is finished is not run again. SRC is what PhysioNet gives (`python -m train import cinc2012 --help`).
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from ehrfm_core.errors import UserError
from ehrfm_core.evaluation.adaptation import REPEATS
from ehrfm_core.study.files import replacing
from ehrfm_core.study.reader import open_study
from train.__main__ import main as train
from train.numbers import positive_number, seed_number
from train.progress import say
from train.recipes.open_tables import Direction, markdown
from train.training_options import SIZES


@dataclass(frozen=True)
class Plan:
    """What is imported, at which of its `sites` a model is trained, whether it has an outcome of its own."""

    imported: tuple[str, ...]
    sites: tuple[str, ...]
    sources: tuple[str, ...]
    own_outcomes: bool = False


OPTIONS = (
    *("--preset", "fused", "--events", "all", "--probe-c", "tuned", "--local-training", "none"),
    *("--finetune-pooling", "mean", "--finetune-rate", "1e-4"),
)
# of pretraining and, at most, of fine-tuning: fewer where there are more stays
EPOCHS = {"bidmc": (10, 6), "medical": (10, 6), "hospital_a": (4, 4), "hospital_b": (8, 6)}
# the share of events that fine-tuning leaves out at most, by the tuning split of each (docs/log.md)
THINNING = {"bidmc": 0.5, "medical": 0.0, "hospital_a": 0.0, "hospital_b": 0.5}
UNITS = ("medical", "surgical", "coronary", "cardiac_surgery")
HOSPITALS = ("hospital_a", "hospital_b")
PLANS = {
    "cinc2012": Plan(("cinc2012",), ("bidmc",), ("bidmc",)),
    "units2012": Plan(("cinc2012", "--by", "icu-type"), UNITS, ("medical",)),
    "cinc2019": Plan(("cinc2019",), HOSPITALS, HOSPITALS, own_outcomes=True),
}


def main(arguments: list[str] | None = None) -> int:
    """Run the study; return the exit status (0 done, 1 the input is at fault, 130 interrupted)."""
    options = _parser().parse_args(arguments)
    try:
        return _run(options, PLANS[options.collection])
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; run the same command again to go on.", file=sys.stderr)
        return 130


def _run(options: argparse.Namespace, plan: Plan) -> int:
    clif = options.work / "clif"
    collection, *how = plan.imported
    if status := train(["import", collection, *map(str, options.sources), str(clif), *how]):
        return status
    folders = {site: clif / site if len(plan.sites) > 1 else clif for site in plan.sites}
    directions = []
    for source in plan.sources:
        others = [site for site in plan.sites if site != source]
        name = "-to-".join([source, "-".join(others)] if others else [source])
        study = options.work / "studies" / name
        if status := train([*_study_arguments(study, folders, source, plan, options)]):
            return status
        directions.append(Direction(open_study(study), folders))
    repeats = options.repeats or REPEATS
    text = markdown(options.collection, directions, repeats=repeats, seed=options.seed)
    with replacing(options.work / "report.md") as file:
        file.write_text(text, encoding="utf-8")
    say(text)
    return 0


def _study_arguments(
    study: Path, folders: dict[str, Path], source: str, plan: Plan, options: argparse.Namespace
) -> list[str]:
    found = ["study", str(study), "--source", source, "--size", options.size, "--seed", str(options.seed)]
    for site, folder in folders.items():
        found += ["--site", f"{site}={folder}"]
    pretraining, finetuning = EPOCHS[source]
    found += ["--epochs", str(options.epochs or pretraining), *OPTIONS]
    found += ["--finetune-epochs", str(options.finetune_epochs or finetuning)]
    found += ["--finetune-thinning", str(THINNING[source])]
    found += ["--outcomes", str(options.work / "clif" / "outcomes.yaml")] if plan.own_outcomes else []
    for name in ("device", "repeats", "bootstrap"):
        value = getattr(options, name)
        found += [] if value is None else [f"--{name.replace('_', '-')}", str(value)]
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m train.recipes.open_hospitals",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("collection", choices=sorted(PLANS))
    parser.add_argument("work", type=Path, metavar="WORK", help="folder of tables, studies and report")
    parser.add_argument("sources", type=Path, nargs="+", metavar="SRC", help="the collection's files")
    parser.add_argument("--size", choices=SIZES, default="tiny", help="size of the model (tiny)")
    parser.add_argument("--epochs", type=positive_number, metavar="N", help="of pretraining (by collection)")
    parser.add_argument(
        "--finetune-epochs", type=positive_number, metavar="N", help="at most (by collection)"
    )
    parser.add_argument("--repeats", type=positive_number, metavar="N", help="draws of local stays (5)")
    parser.add_argument("--bootstrap", type=positive_number, metavar="N", help="replicates (1000)")
    parser.add_argument("--device", choices=["cpu", "cuda"], help="default: cuda where there is one")
    parser.add_argument("--seed", type=seed_number, default=0, metavar="N", help="of all that is random (0)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
