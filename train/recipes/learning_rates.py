"""Which learning rate and batch a size wants: short runs on one study's source, side by side.

    python -m train.recipes.learning_rates STUDY --size tiny --rates 1e-3 2e-3 --batches 4096 --tokens 2e6

Every run reads the same number of tokens and ends its schedule there, so that final tuning losses compare.
Nothing of the study is changed. Rates of larger sizes that no run was made for are set by the usual rule, in
inverse proportion to the width.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from ehrfm_core.model.pretrain import pretrain
from ehrfm_core.model.settings import Execution, PretrainSettings
from ehrfm_core.study.reader import open_study
from ehrfm_core.study.token_arrays import read_token_arrays, write_token_arrays
from train.numbers import positive_number
from train.progress import progress_bar, say
from train.training_options import SIZES, above_zero


def main(arguments: list[str] | None = None) -> int:
    """Run the recipe; print a table in Markdown, a line a run."""
    parser = argparse.ArgumentParser(
        prog="python -m train.recipes.learning_rates",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("study", type=Path, metavar="STUDY", help="a tokenized study")
    parser.add_argument("--size", choices=SIZES, default="tiny", help="(tiny)")
    parser.add_argument("--rates", type=above_zero, nargs="+", default=[1e-3, 2e-3, 4e-3], metavar="X")
    parser.add_argument("--batches", type=positive_number, nargs="+", default=[4096], metavar="TOKENS")
    parser.add_argument("--tokens", type=above_zero, default=2e6, metavar="N", help="read in every run (2e6)")
    parser.add_argument("--seeds", type=positive_number, default=1, metavar="N", help="seeds 0 … N − 1 (1)")
    parser.add_argument("--device", default="cpu", help="(cpu)")
    options = parser.parse_args(arguments)
    study = open_study(options.study)
    vocabulary = study.tokenizer()["vocabulary"]
    longest = study.manifest.stages["tokenize"].settings["max_tokens"]
    say("| size | batch | learning rate | seed | steps | tuning loss | worst to best | seconds |")
    say("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        write_token_arrays(study, study.manifest.source, ("train", "tuning"), Path(folder) / "arrays")
        train, tuning = (read_token_arrays(Path(folder) / "arrays", split) for split in ("train", "tuning"))
        for batch in options.batches:
            for rate in options.rates:
                for seed in range(options.seeds):
                    settings = PretrainSettings(
                        size=options.size,
                        seed=seed,
                        max_tokens=longest,
                        steps=max(1, round(options.tokens / batch)),
                        learning_rate=rate,
                        batch_tokens=batch,
                        patience=1000,
                    )
                    begun = time.monotonic()
                    with progress_bar(f"{batch} × {rate:g}", " steps") as progress:
                        execution = Execution(device=options.device, progress=progress)
                        run = pretrain(train, tuning, vocabulary, settings, execution)
                    losses = [point["tuning_loss"] for point in run.curve]
                    say(
                        f"| {options.size} | {batch:,} | {rate:g} | {seed} | {run.steps:,} "
                        f"| {run.tuning_loss:.4f} | {max(losses):.3f} → {min(losses):.3f} "
                        f"| {time.monotonic() - begun:.0f} |"
                    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
