"""Training by `cotorra train` (bbj-lab, on PyPI) on our timelines, measured.

The files are those that cocoa-tokenizer would have written, with our tokens under our ids. The configuration
is the one that comes with cotorra; in it are changed only

- the architecture and the length of sequences, which are ours, and the rows in a batch: as many as make the
  tokens of one of our steps,
- the tokens of interest, since ours are named otherwise,
- evaluation, saving and reports, all off, the CPU, the number of steps, and that a last batch that is not
  full is dropped: steps of training alone are timed (see clocked_cotorra), not the program's start and end.

So its default objective is trained (cross-entropy, the ordering of quantiles, tokens of interest), with its
positions by time. Weights, moments and products are of one `dtype`: bfloat16, as the preset's Llama-3.2-1B
has them from the Hub, or float32, as with a configuration that names none. What differs from ours
(26.10.1 with transformers 5.24; lines are those of its files):

- Rows are timelines in random order, joined end to end and cut every so many tokens, over the bounds of stays
  (util.py:31-41); what does not fill a row at the end is dropped. There is no padding, so none is scored; the
  first token of a stay is scored as the continuation of the stay before it (loss.py:166-172).
- A row's positions are its places plus the time since each stay's start (trainer.py:229-235), and no mask is
  given. transformers takes a position that is not 1 more than the one before it for a new sequence, so
  attention ends wherever time goes on: `attended`, tokens in the mean that one attends to, is then small.
  Without positions by time a row would be one sequence, and stays would see each other.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ehrfm_core.errors import UserError
from ehrfm_core.model.sizes import SIZES, llama_config
from ehrfm_core.ragged import Ragged
from ehrfm_core.tokens.vocabulary import END, FUSED, PAD, START, bin_index
from ehrfm_core.tokens.window import to_series
from train.bench.clock import median_after_first
from train.bench.process import run as run_process

HOW_TO_INSTALL = "python -m venv cotorra && cotorra/bin/pip install torch==2.13.0 cotorra"
ROOT = Path(__file__).parents[2]
EPOCH = datetime(2000, 1, 1)  # noqa: DTZ001 (cocoa's times have no zone)
OF_INTEREST = ("location/icu", "respiratory/imv", "discharge/expired")


@dataclass(frozen=True)
class Measured:
    """One run. Seconds are the median of the steps after the first; peak GB (10⁹ bytes) of its process.

    `real_share`: of the tokens that its loader feeds, those that are not padding. `attended`: tokens that one
    attends to in the mean, itself included. `step_seconds`: of every step.
    """

    seconds_per_step: float
    real_tokens_per_second: float
    real_share: float
    peak_gb: float
    attended: float
    version: str
    step_seconds: tuple[float, ...]

    @property
    def fed_tokens_per_second(self) -> float:
        """Tokens a second, padding included."""
        return self.real_tokens_per_second / self.real_share


def measure(
    program: Path | str,
    train: Ragged,
    tuning: Ragged,
    vocabulary: Mapping[str, int],
    *,
    batch_tokens: int,
    steps: int,
    folder: Path,
    minutes: tuple[Ragged, Ragged] | None = None,
    size: str = "small",
    max_tokens: int = 1024,
    dtype: str = "bfloat16",
) -> Measured:
    """Train for `steps` steps of `batch_tokens` tokens on two splits of timelines (lists of token ids).

    `folder` must be empty or not yet there; all that is written goes there. `minutes` are times of the tokens
    of both splits, since their stay's start; without them a token is a minute after the one before it.

    Raises UserError where cotorra is not there or fails, or where the data do not make a batch.
    """
    rows = batch_tokens // max_tokens
    if rows * max_tokens != batch_tokens:
        raise UserError(f"A batch of {batch_tokens:,} tokens is not a number of rows of {max_tokens:,}.")
    if len(train.values) < batch_tokens:
        raise UserError(
            f"The training split holds {len(train.values):,} tokens, less than a batch of {batch_tokens:,}."
        )
    python = find_python(program)
    folder = folder.resolve()
    write_inputs(folder / "tokens", train, tuning, vocabulary, minutes=minutes)
    write_architecture(folder / "model", vocabulary, size=size, max_tokens=max_tokens, dtype=dtype)
    command: list[str | Path] = [python, "-m", "train.bench.clocked_cotorra", folder, str(vocabulary[PAD])]
    command += ["train", "-p", folder / "tokens", "-o", folder / "out"]
    command += ["--", *settings(vocabulary, folder / "model", size=size, max_tokens=max_tokens)]
    command += [f"training_args.per_device_train_batch_size={rows}", f"training_args.max_steps={steps}"]
    finished = run_process(command, folder=ROOT)
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return measured(report, batch_tokens=batch_tokens, peak_gb=finished.peak_gb)


def measured(report: Mapping[str, Any], *, batch_tokens: int, peak_gb: float) -> Measured:
    """What clocked_cotorra reported, as rates."""
    share = 1 - report["padding"] / (report["rows"] * report["row_tokens"])
    median = median_after_first(report["step_seconds"])
    return Measured(
        seconds_per_step=median,
        real_tokens_per_second=batch_tokens * share / median,
        real_share=share,
        peak_gb=peak_gb,
        attended=report["attended"],
        version=report["version"],
        step_seconds=tuple(report["step_seconds"]),
    )


def find_python(program: Path | str) -> Path:
    """The Python that runs the given program cotorra: the one beside it.

    Raises UserError, with the way to install it, where there is none.
    """
    path = shutil.which(str(program))
    found = Path(path).resolve() if path else None  # pipx links to where it is
    python = found.parent / "python" if found else None
    if found is None or found.stem != "cotorra" or python is None or not python.exists():
        raise UserError(f"{program} is not the program of cotorra; install it: {HOW_TO_INSTALL}")
    return python


def write_inputs(
    folder: Path,
    train: Ragged,
    tuning: Ragged,
    vocabulary: Mapping[str, int],
    *,
    minutes: tuple[Ragged, Ragged] | None = None,
) -> None:
    """Write tokens_times.parquet, subject_splits.parquet and tokenizer.yaml, as cocoa would."""
    folder.mkdir(parents=True, exist_ok=True)
    times = minutes or (Ragged(train.positions, train.offsets), Ragged(tuning.positions, tuning.offsets))
    frames = [
        pl.DataFrame(
            {
                "subject_id": [f"{split}-{i}" for i in range(len(tokens))],
                "tokens": to_series(Ragged(tokens.values.astype(np.int64), tokens.offsets)),
                "times": to_series(_times(since)),
                "split": [split] * len(tokens),
            }
        )
        for split, tokens, since in zip(("train", "tuning"), (train, tuning), times, strict=True)
    ]
    # its loader opens all three splits, but trains on the first and evaluates on the second alone
    held_out = frames[0].head(1).with_columns(subject_id=pl.lit("held_out-0"), split=pl.lit("held_out"))
    table = pl.concat([*frames, held_out])
    table.drop("split").write_parquet(folder / "tokens_times.parquet")
    table.select("subject_id", "split").write_parquet(folder / "subject_splits.parquet")
    bins = [index for name in vocabulary if (index := bin_index(name)) is not None]
    tokenizer = {"cfg": {"n_bins": max(bins, default=9) + 1}, "lookup": lookup(vocabulary)}
    (folder / "tokenizer.yaml").write_text(json.dumps(tokenizer), encoding="utf-8")  # JSON is YAML


def _times(minutes: Ragged) -> Ragged:
    microseconds = np.rint(minutes.values.astype(np.float64) * 60e6).astype(np.int64)
    return Ragged(np.datetime64(EPOCH, "us") + microseconds, minutes.offsets)


def lookup(vocabulary: Mapping[str, int]) -> dict[str, int]:
    """Ids under the names by which cotorra knows a start, an end and a quantile of a code.

    >>> lookup({"TL_START": 3, "Q1": 6, "lab/sodium=Q1": 7})
    {'BOS': 3, 'Q1': 6, 'lab/sodium_Q1': 7}
    """
    names = {START: "BOS", END: "EOS"}
    return {names.get(name, re.sub(rf"{FUSED}(Q\d+)$", r"_\1", name)): i for name, i in vocabulary.items()}


def write_architecture(
    folder: Path, vocabulary: Mapping[str, int], *, size: str, max_tokens: int, dtype: str
) -> None:
    """Write config.json in place of the preset's from the Hub: our architecture, weights of `dtype`."""
    folder.mkdir(parents=True, exist_ok=True)
    config = llama_config(SIZES[size], vocabulary=dict(vocabulary), max_tokens=max_tokens).to_dict()
    text = json.dumps(config | {"dtype": dtype}, indent=2)
    (folder / "config.json").write_text(text, encoding="utf-8")


def settings(vocabulary: Mapping[str, int], model: Path, *, size: str, max_tokens: int) -> list[str]:
    """Overrides of cotorra's configuration, as its command line takes them."""
    own = SIZES[size]
    interest = [name for name in lookup(vocabulary) if name in OF_INTEREST]
    objective = "balanced_toi_loss"
    return [
        f"max_seq_len={max_tokens}",
        f"model.model_name={json.dumps(str(model))}",
        f"model.model_args.hidden_size={own.hidden}",
        f"model.model_args.intermediate_size={own.intermediate}",
        f"model.model_args.num_hidden_layers={own.layers}",
        f"model.model_args.num_attention_heads={own.heads}",
        f"{objective}.tokens_of_interest={json.dumps(interest)}" if interest else f"~{objective}",
        "training_args.report_to=none",
        "training_args.eval_strategy='no'",  # without the quotes YAML reads false
        "training_args.save_strategy='no'",
        "training_args.load_best_model_at_end=false",
        "training_args.use_cpu=true",
        "training_args.dataloader_drop_last=true",  # so that every step has as many rows
    ]
