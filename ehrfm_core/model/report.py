"""What a run says while it goes on: its speed against the device's peak, and how long it will take."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from transformers import LlamaConfig

from ehrfm_core.model.hardware import device_name, flops_per_token, memory_gb, peak
from ehrfm_core.model.history import History
from ehrfm_core.model.keeper import Counted
from ehrfm_core.model.packing import Pieces
from ehrfm_core.model.settings import Execution, Plan, PretrainSettings


class Report:
    """Lines of figures of one run, to its history and to the one who watches."""

    def __init__(
        self,
        settings: PretrainSettings,
        execution: Execution,
        plan: Plan,
        config: LlamaConfig,
        pieces: Pieces,
    ) -> None:
        self._settings, self._execution, self._plan, self._config = settings, execution, plan, config
        self._pieces = pieces
        self._peak = peak(execution.device, bf16=execution.bf16)

    def begin(self, counted: Counted, parameters: int, tuning_tokens: int, about: dict[str, Any]) -> None:
        """Open the history, at the step where the run goes on; describe the run."""
        execution, plan = self._execution, self._plan
        lengths = self._pieces.lengths.astype(np.float64)
        context = float((lengths**2).sum() / lengths.sum())
        self._flops = flops_per_token(self._config, parameters, context)
        self._history = History(execution.folder if execution.group.first else None, after_step=counted.step)
        settings = asdict(self._settings) | {
            "learning_rate": plan.learning_rate,
            "batch_tokens": plan.pack_tokens * plan.packs_per_step,
            "pack_tokens": plan.pack_tokens,
            "total_steps": plan.total_steps,
        }
        self._history.describe(
            status="running",
            reason=None,
            settings=settings,
            parameters=parameters,
            device=device_name(execution.device),
            precision=execution.words,
            compiled=execution.compiled,
            peak_tflops=round(self._peak.tflops, 4),
            peak_source=self._peak.source,
            world_size=execution.group.world,
            train_tokens=self._pieces.n_tokens,
            tuning_tokens=tuning_tokens,
            total_steps=plan.total_steps,
            resumed_at=counted.step or None,
            **about,
            **_standing(counted, counted.best_loss),
        )

    def line(
        self, counted: Counted, loss: float, rate: float, norm: float, tokens_per_second: float
    ) -> dict[str, Any]:
        """Figures since the last line; MFU counts the floating point operations of `flops_per_token`."""
        top = self._peak.tflops * 1e12 * self._execution.group.world
        left = (self._plan.total_steps - counted.step) * counted.tokens / counted.step
        return {
            "step": counted.step,
            "tokens": counted.tokens,
            "loss": loss,
            "learning_rate": rate,
            "grad_norm": norm,
            "tokens_per_second": round(tokens_per_second, 1),
            "mfu": round(tokens_per_second * self._flops / top, 4),
            "memory_gb": round(memory_gb(self._execution.device), 3),
            "remaining_seconds": round(left / tokens_per_second, 1),
        }

    def tell(self, counted: Counted, line: dict[str, Any]) -> None:
        """Add a line to the history and show it."""
        line["seconds"] = round(counted.seconds, 2)
        self._history.add(line)
        self._history.describe(**_standing(counted, counted.best_loss))
        if self._execution.progress:
            self._execution.progress(counted.step, self._plan.total_steps, words(line))

    def end(self, counted: Counted, status: str, reason: str | None, best_loss: float | None) -> None:
        """Describe how the run ended and close the history."""
        self._history.describe(status=status, reason=reason, **_standing(counted, best_loss))
        self._history.close()


def words(line: dict[str, Any]) -> str:
    """A line of figures as it is shown."""
    tuning = f" (tuning {line['tuning_loss']:.3f})" if "tuning_loss" in line else ""
    return (
        f"{line['tokens'] / 1e6:.1f} M tokens, loss {line['loss']:.3f}{tuning}, "
        f"rate {line['learning_rate']:.1e}, {line['tokens_per_second'] / 1e3:.1f}k tokens/s, "
        f"MFU {line['mfu']:.0%}, {line['memory_gb']:.1f} GB"
    )


def _standing(counted: Counted, best_loss: float | None) -> dict[str, Any]:
    return {"step": counted.step, "best_step": counted.best_step or None, "best_tuning_loss": best_loss}
