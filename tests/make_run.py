"""The files of a training run as the engine writes them, with made-up figures."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ehrfm_core.study.layout import RUN, RUN_CURVE


def line(step: int, *, floor: float = 1.2, look: bool = False) -> dict[str, Any]:
    """One line of the log at a step."""
    loss = floor + 3.5 / (1 + step / 20)
    figures = {
        "step": step,
        "tokens": step * 4096,
        "loss": loss,
        "learning_rate": 0.002,
        "grad_norm": 0.8,
        "tokens_per_second": 15_000.0 + step % 7,
        "mfu": 0.41,
        "memory_gb": 1.2,
        "seconds": step * 0.27,
        "remaining_seconds": max(0, 200 - step) * 0.27,
    }
    return figures | ({"tuning_loss": loss + 0.05} if look else {})


def make_run(
    folder: Path,
    *,
    steps: int = 200,
    taken: int | None = None,
    floor: float = 1.2,
    settings: dict[str, Any] | None = None,
    **about: Any,
) -> Path:
    """Write `training/` into a study's folder; `about` replaces fields of run.json.

    Returns the path of the log.
    """
    taken = taken or steps
    lines = [line(step, floor=floor, look=step % 50 == 0) for step in range(10, taken + 1, 10)]
    looks = [point for point in lines if "tuning_loss" in point]
    told = {
        "status": "finished",
        "reason": None,
        "settings": {"size": "tiny", "seed": 0, "learning_rate": 0.002, "batch_tokens": 4096}
        | {"total_steps": steps, "schedule": "cosine", "weight_decay": 0.1, "max_tokens": 1024}
        | (settings or {}),
        "parameters": 1_072_640,
        "device": "a processor, 2 threads",
        "precision": "fp32",
        "peak_tflops": 0.2,
        "peak_source": "measured matrix product",
        "world_size": 1,
        "train_stays": 1400,
        "train_tokens": 420_000,
        "tuning_stays": 200,
        "tuning_tokens": 61_000,
        "uniform_nats": 5.2,
        "unigram_nats": 3.7,
        "bigram_nats": 2.8,
        "updated": datetime.now(UTC).isoformat(timespec="seconds"),
        "total_steps": steps,
        "step": taken,
        "best_step": looks[-1]["step"] if looks else None,
        "best_tuning_loss": looks[-1]["tuning_loss"] if looks else None,
        "starts_from": None,
    }
    (folder / RUN).parent.mkdir(parents=True, exist_ok=True)
    (folder / RUN).write_text(json.dumps(told | about), encoding="utf-8")
    log = folder / RUN_CURVE
    log.write_text("".join(json.dumps(point) + "\n" for point in lines), encoding="utf-8")
    return log
