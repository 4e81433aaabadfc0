"""How a study's model was or is being trained: the run's own files, or what the manifest keeps of it.

The files in `training/` may be read while the run goes on. They are no part of the study's hashes and may
have been left behind when a study was copied; the manifest then gives a coarser curve.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from ehrfm_core.study.curves import CURVE, manifest_curve, number, read_curve, thin
from ehrfm_core.study.layout import RUN, RUN_CURVE, TOKENIZER, site_file
from ehrfm_core.study.reader import Study

RUNNING, FINISHED, STOPPED, UNKNOWN = "running", "finished", "stopped", "unknown"

_WHOLE = (
    "parameters",
    "world_size",
    "train_stays",
    "train_tokens",
    "tuning_stays",
    "tuning_tokens",
    "resumed_at",
)
_NUMBERS = ("peak_tflops", "uniform_nats", "unigram_nats", "bigram_nats")
_TEXTS = ("device", "precision", "peak_source", "starts_from")
_LONGEST = 400  # characters of a text
_LARGEST = 2**53  # beyond, a number of JSON is no longer a whole one


@dataclass(frozen=True)
class Run:
    """One training run; None is what is not known. Losses are nats a token.

    `curve` has the columns of `curves.CURVE`, ascending by step, thinned from `lines` rows. `problems` are
    sentences on files that could not be read.
    """

    name: str
    synthetic: bool
    status: str = UNKNOWN
    reason: str | None = None
    logged: bool = True  # False: the curve is the manifest's
    curve: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=CURVE))
    lines: int = 0
    problems: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    parameters: int | None = None
    device: str | None = None
    precision: str | None = None
    world_size: int | None = None
    peak_tflops: float | None = None
    peak_source: str | None = None
    train_stays: int | None = None
    train_tokens: int | None = None
    tuning_stays: int | None = None
    tuning_tokens: int | None = None
    uniform_nats: float | None = None
    unigram_nats: float | None = None
    bigram_nats: float | None = None
    step: int | None = None
    total_steps: int | None = None
    best_step: int | None = None
    best_tuning_loss: float | None = None
    tokens: float | None = None  # seen so far; reckoned from the epochs where the curve is the manifest's
    seconds: float | None = None  # of training so far
    remaining_seconds: float | None = None
    tokens_per_second: float | None = None  # median of the lines
    mfu: float | None = None  # median of the lines, a share of `peak_tflops`
    memory_gb: float | None = None  # largest of the lines
    updated: datetime | None = None
    starts_from: str | None = None
    resumed_at: int | None = None  # step, at the last resumption
    vocabulary: int | None = None
    tokenizer: str | None = None  # sha256: the loss on other tokens is another quantity
    stays: str | None = None  # sha256 of the source's timelines

    @property
    def epochs(self) -> float | None:
        """How often every training token was seen, on average."""
        return self.tokens / self.train_tokens if self.tokens and self.train_tokens else None

    @property
    def share(self) -> float:
        """Of the steps planned, those taken."""
        return min(1.0, (self.step or 0) / self.total_steps) if self.total_steps else 0.0


def read_run(study: Study) -> Run | None:
    """How the study's model was or is being trained; None where nothing says that it ever was.

    Never raises for what lies in `training/`: that goes into `problems`.
    """
    stage = study.manifest.stages.get("pretrain")
    summary = stage.summary if stage else {}
    told, problem = _read_told(study.folder / RUN)
    curve, other = read_curve(study.folder / RUN_CURVE)
    problems = tuple(sentence for sentence in (problem, other) if sentence)
    if stage is None and told is None and curve is None and not problems:
        return None
    # the manifest may be of an earlier run, while a new one with other settings writes its files
    earlier = told is not None and told.get("best_step") != summary.get("best_step")
    if curve is not None and curve.is_empty() and told and told.get("status") != RUNNING:
        curve = None
    logged = curve is not None
    if curve is None:
        curve = manifest_curve({} if earlier else summary)
    facts: Mapping[str, Any] = summary if told is None else told
    if logged and problem:
        facts = {}
    status = UNKNOWN if told or stage is None or logged else FINISHED
    if told and told.get("status") in (RUNNING, FINISHED, STOPPED):
        status = told["status"]
    settings = facts.get("settings", stage.settings if stage and facts is summary else None)
    return Run(
        name=study.name,
        synthetic=study.manifest.synthetic,
        status=status,
        logged=logged,
        curve=thin(curve),
        lines=len(curve),
        problems=problems,
        settings=settings if isinstance(settings, dict) else {},
        **_facts(facts),
        **_reached(curve, facts),
        **_tokens(study, number(facts.get("uniform_nats"))),
    )


def _read_told(path: Path) -> tuple[dict[str, Any] | None, str | None]:
    """The content of `run.json`, None where there is none, and a sentence where it is broken."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None, None
    except (OSError, ValueError, RecursionError):
        value = None
    if isinstance(value, dict):
        return value, None
    return None, f"{path} cannot be read: how this run was set up and how it ended is not known."


def _facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What is told and not measured from the curve."""
    found: dict[str, Any] = {name: _whole(facts.get(name)) for name in _WHOLE}
    found |= {name: number(facts.get(name)) for name in _NUMBERS}
    found |= {name: _text(facts.get(name)) for name in _TEXTS}
    return found | {"reason": _text(facts.get("reason")), "updated": _time(facts.get("updated"))}


def _reached(curve: pl.DataFrame, facts: Mapping[str, Any]) -> dict[str, Any]:
    """How far the run came, and how fast; of the curve before it is thinned."""
    last = {name: _last(curve[name]) for name in ("step", "tokens", "seconds", "remaining_seconds")}
    told = _whole(facts.get("step", facts.get("steps")))
    best = number(facts.get("best_tuning_loss", facts.get("tuning_loss")))
    best_step = _whole(facts.get("best_step"))
    tuned = curve.drop_nulls("tuning_loss").sort("tuning_loss", "step").head(1)
    # A line is written before run.json, so that the curve may know of a better step. Once the run has ended
    # its own figure counts: it is measured again, in full precision.
    going = facts.get("status") == RUNNING
    if len(tuned) and (best is None or (going and tuned["tuning_loss"][0] < best)):
        best, best_step = tuned["tuning_loss"][0], tuned["step"][0]
    return last | {
        "step": max((step for step in (last["step"], told) if step is not None), default=None),
        "total_steps": _whole(facts.get("total_steps", facts.get("steps"))),
        "best_step": best_step if best is not None else None,
        "best_tuning_loss": best,
        "tokens_per_second": curve["tokens_per_second"].median(),
        "mfu": curve["mfu"].median(),
        "memory_gb": curve["memory_gb"].max(),
    }


def _tokens(study: Study, uniform: float | None) -> dict[str, Any]:
    """What tells whether two losses are of the same tokens of the same stays."""
    stages = study.manifest.stages
    hashes = {path: sha for stage in stages.values() for path, sha in stage.files.items()}
    size = stages["tokenize"].summary.get("vocabulary_size") if "tokenize" in stages else None
    if size is None and uniform is not None and uniform < 20:
        size = math.exp(uniform)
    return {
        "vocabulary": _whole(size),
        "tokenizer": hashes.get(TOKENIZER),
        "stays": hashes.get(site_file(study.source, "timelines")),
    }


def _last(values: pl.Series) -> Any:
    known = values.drop_nulls()
    return known[-1] if len(known) else None


def _whole(value: Any) -> int | None:
    found = number(value)
    return None if found is None or abs(found) > _LARGEST else round(found)


def _text(value: Any) -> str | None:
    if not isinstance(value, str):
        return None
    return value.encode(errors="replace").decode().strip()[:_LONGEST] or None  # half a surrogate pair is ?


def _time(value: Any) -> datetime | None:
    """A time from ISO text; without a zone it is UTC."""
    try:
        found = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
