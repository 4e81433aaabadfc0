"""Training runs beside each other: what they differ in, whether their losses can be compared, two tables."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import polars as pl

from dashboard.runs import duration, silent
from ehrfm_core.study.curves import number
from ehrfm_core.study.runs import RUNNING, Run

_NAMES = {
    "total_steps": "steps planned",
    "batch_tokens": "tokens a batch",
    "pack_tokens": "tokens a pass",
    "warmup_share": "share of warm-up",
    "final_share": "final share of the learning rate",
    "max_tokens": "longest sequence",
    "clip_norm": "largest gradient norm",
    "tuning_tokens": "tokens of the tuning split looked at",
    "starts_from": "continued from",
    "version": "version of this program",
}
_LONGEST = 60  # characters of a setting's value
_RESULTS: dict[str, Any] = {
    "run": pl.String,
    "status": pl.String,
    "tuning_loss": pl.Float64,
    "best_step": pl.Int64,
    "below_bigram": pl.Float64,
    "below_unigram": pl.Float64,
    "step": pl.Int64,
    "tokens": pl.Float64,
    "epochs": pl.Float64,
    "time": pl.String,
}
_SET_UP: dict[str, Any] = {
    "run": pl.String,
    "size": pl.String,
    "parameters": pl.Int64,
    "learning_rate": pl.Float64,
    "batch_tokens": pl.Float64,
    "seed": pl.Int64,
    "tokens_per_second": pl.Float64,
    "mfu": pl.Float64,
    "memory_gb": pl.Float64,
    "precision": pl.String,
    "device": pl.String,
    "peak": pl.String,
}


def differences(runs: Sequence[Run]) -> list[tuple[str, str | None]]:
    """What the settings differ in: each with the runs' values, or None where the table of `set_up` has them.

    A setting that a run does not know is not compared.

    >>> a = Run("a", False, settings={"seed": 0, "size": "tiny", "weight_decay": 0.1})
    >>> differences([a, Run("b", False, settings={"seed": 1, "size": "tiny", "weight_decay": 0.0})])
    [('seed', None), ('weight decay', '0.1 (a), 0 (b)')]
    """
    told: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        more = {"precision": run.precision, "device": run.device, "starts_from": run.starts_from or "nothing"}
        for name, value in {**run.settings, **more}.items():
            if value is not None:
                told[name][_value(value)].append(run.name)
    found: list[tuple[str, str | None]] = []
    for name, values in told.items():
        if len(values) > 1:
            each = ", ".join(f"{value} ({', '.join(names)})" for value, names in values.items())
            label = _NAMES.get(name, name.replace("_", " "))
            found.append((label, None if name in _SET_UP else each))
    return sorted(found, key=lambda entry: entry[1] is not None)


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def apart(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """Why losses of these runs cannot be compared: headings with a sentence; empty where they can."""
    found = []
    groups = _grouped(runs, "tokenizer")
    if len(groups) > 1:
        told = "; ".join(
            f"{', '.join(run.name for run in group)}: {_words(group[0])}" for group in groups.values()
        )
        found.append(
            (
                "These losses cannot be compared: the runs read different tokens.",
                f"{told}. A loss in nats a token depends on what a token is: read each run beside its own "
                "guesses, in the columns “below …” of the first table.",
            )
        )
    elif len(_grouped(runs, "stays")) > 1:
        found.append(
            (
                "The tokens are the same, the stays are not.",
                "Tuning losses are of different stays: a small difference may be theirs, not the model's.",
            )
        )
    unknown = [run.name for run in runs if run.tokenizer is None]
    if unknown and len(runs) > 1:
        found.append(
            (
                f"Which tokens {', '.join(unknown)} reads is not recorded.",
                "Whether its loss can be compared is not known.",
            )
        )
    return found


def _grouped(runs: Sequence[Run], by: str) -> dict[str, list[Run]]:
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        if getattr(run, by) is not None:
            groups[getattr(run, by)].append(run)
    return groups


def _words(run: Run) -> str:
    return "a vocabulary of its own" if run.vocabulary is None else f"vocabulary of {run.vocabulary:,}"


def results(runs: Sequence[Run]) -> pl.DataFrame:
    """One row a run: how good it is beside simple guesses, and how far it came."""
    rows = [
        {
            "run": run.name,
            "status": _status(run),
            "tuning_loss": run.best_tuning_loss,
            "best_step": run.best_step,
            "below_bigram": below(run.bigram_nats, run),
            "below_unigram": below(run.unigram_nats, run),
            "step": run.step,
            "tokens": run.tokens,
            "epochs": run.epochs,
            "time": duration(run.seconds),
        }
        for run in runs
    ]
    return pl.DataFrame(rows, schema=_RESULTS)


def set_up(runs: Sequence[Run]) -> pl.DataFrame:
    """One row a run: what was trained, on what, and how fast."""
    rows = []
    for run in runs:
        size, seed = run.settings.get("size"), number(run.settings.get("seed"))
        devices = f"{run.world_size} × {run.device}" if (run.world_size or 1) > 1 else run.device
        peak = None if run.peak_tflops is None else f"{run.peak_tflops:,.4g} TFLOP/s"
        rows.append(
            {
                "run": run.name,
                "size": size if isinstance(size, str) else None,
                "parameters": run.parameters,
                "learning_rate": number(run.settings.get("learning_rate")),
                "batch_tokens": number(run.settings.get("batch_tokens")),
                "seed": None if seed is None else round(seed),
                "tokens_per_second": None if run.tokens_per_second is None else round(run.tokens_per_second),
                "mfu": None if run.mfu is None else round(run.mfu, 3),
                "peak": f"{peak}, {run.peak_source}" if peak and run.peak_source else peak,
                "memory_gb": run.memory_gb,
                "precision": run.precision,
                "device": devices,
            }
        )
    return pl.DataFrame(rows, schema=_SET_UP)


def below(nats: float | None, run: Run) -> float | None:
    """By how many nats a token the run's best tuning loss is below that of a guess."""
    return None if nats is None or run.best_tuning_loss is None else nats - run.best_tuning_loss


def _status(run: Run) -> str:
    if run.status != RUNNING:
        return run.status
    return "silent" if silent(run) else f"running, {run.share:.0%}"
