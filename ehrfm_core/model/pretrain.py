"""Pretraining: predict the next token of whole stays, stop when the tuning split gets no better.

Runs with torch, transformers, numpy and safetensors alone, in one process or many (see `parallel`). A run
with a folder goes on where it was stopped: at the next stay, with the same moments.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from ehrfm_core.errors import UserError
from ehrfm_core.model.feed import Feed, in_order, share, some
from ehrfm_core.model.keeper import Keeper
from ehrfm_core.model.packing import PAD_UNIT, Pieces, make_pack
from ehrfm_core.model.parallel import no_sync_until_last, shard_again, spread, whole
from ehrfm_core.model.report import Report
from ehrfm_core.model.scorer import Scorer, mean_loss, to_tensors
from ehrfm_core.model.settings import Execution, Plan, PretrainSettings
from ehrfm_core.model.sizes import llama_config
from ehrfm_core.model.state import assemble, weights_of
from ehrfm_core.ragged import Ragged

LOG_EVERY = 10  # steps


class StoppedError(UserError):
    """The run was asked to stop; its state is saved."""


@dataclass
class Pretrained:
    """The best model by tuning loss, and how it came about. Losses are nats per token."""

    model: LlamaForCausalLM
    last: LlamaForCausalLM  # after the last step; the same object where that is the best
    parameters: int
    steps: int
    best_step: int
    epochs: float
    tuning_loss: float | None  # of `model` in fp32; those of the curve are in the precision of training
    curve: list[dict[str, float]]
    precision: str
    plan: Plan


def pretrain(
    train: Ragged,
    tuning: Ragged,
    vocabulary: dict[str, int],
    settings: PretrainSettings,
    execution: Execution | None = None,
    *,
    start: LlamaForCausalLM | None = None,
    about: dict[str, Any] | None = None,
) -> Pretrained:
    """Train a Llama on whole timelines (lists of token ids), from a random start or from `start`.

    Timelines longer than `max_tokens` are cut into pieces; every piece is a sequence of its own. Without
    tuning timelines there is no early stopping and the last weights count. `about` goes into run.json.

    Raises UserError where there is nothing to train on, the loss is not a number or a state cannot be
    written, and StoppedError where the run was asked to stop.
    """
    return _Run(train, tuning, vocabulary, settings, execution or Execution(), start).go(about or {})


class _Run:
    def __init__(
        self,
        train: Ragged,
        tuning: Ragged,
        vocabulary: dict[str, int],
        settings: PretrainSettings,
        execution: Execution,
        start: LlamaForCausalLM | None,
    ) -> None:
        self.settings, self.execution, self.group = settings, execution, execution.group
        self.pad = vocabulary["PAD"]
        self.pieces = Pieces.of(train, max_tokens=settings.max_tokens)
        if not len(self.pieces):
            raise UserError(
                "The training split holds no timeline of two tokens or more: nothing to train on."
            )
        held_out = Pieces.of(tuning, max_tokens=settings.max_tokens)
        self.held_out = some(held_out, at_most=settings.tuning_tokens, seed=settings.seed)
        self.plan = Plan.of(settings, n_tokens=self.pieces.n_tokens)
        torch.manual_seed(settings.seed)
        config = llama_config(self.plan.size, vocabulary=vocabulary, max_tokens=settings.max_tokens)
        self.model = start or LlamaForCausalLM(config)
        self.config: LlamaConfig = self.model.config
        longest = max(self.config.max_position_embeddings, settings.max_tokens)  # a start may know less
        self.config.max_position_embeddings = longest
        self.parameters = sum(p.numel() for p in self.model.parameters())
        self.model.to(execution.device).train()  # type: ignore[arg-type]
        scorer = Scorer(self.model, bf16=execution.bf16)
        self.scorer: nn.Module = spread(scorer, self.group, shard=execution.shard)
        if execution.compiled:
            self.scorer = torch.compile(self.scorer)  # type: ignore[assignment]
        self.optimizer = optimizer_of(self.model, self.plan.learning_rate, settings)
        self.keeper = Keeper(execution)

    def go(self, about: dict[str, Any]) -> Pretrained:
        self.counted = self.keeper.resume(self.model, self.optimizer)
        self.feed = Feed(
            self.pieces,
            pack_tokens=self.plan.pack_tokens,
            packs_per_step=self.plan.packs_per_step,
            seed=self.settings.seed,
            epoch=self.counted.epoch,
            pack=self.counted.pack,
        )
        self.report = Report(self.settings, self.execution, self.plan, self.config, self.pieces)
        self.report.begin(self.counted, self.parameters, self.held_out.n_tokens, about)
        try:
            self._steps()
            done = self._finished()
            self.report.end(self.counted, "finished", self._reason(), done.tuning_loss)
        except BaseException as error:
            with suppress(UserError):  # a full disk may have been why
                self.report.end(self.counted, "stopped", str(error) or "Interrupted.", self.counted.best_loss)
            raise
        return done

    def _steps(self) -> None:
        counted, plan, execution = self.counted, self.plan, self.execution
        summed, scored, tokens = self._zero(), 0, 0
        began = time.monotonic()
        while counted.step < plan.total_steps and counted.worse < self.settings.patience:
            rate = plan.rate(counted.step, self.settings)
            loss, n_scored, n_tokens, norm = self._step(rate)
            summed, scored, tokens = summed + loss, scored + n_scored, tokens + n_tokens
            counted.step, counted.tokens = counted.step + 1, counted.tokens + n_tokens
            counted.epoch, counted.pack = self.feed.epoch, self.feed.pack
            look = counted.step % plan.evaluate_every == 0 or counted.step == plan.total_steps
            tell = look or counted.step % LOG_EVERY == 0
            stop = (tell or self.group.world == 1) and self.group.any(execution.stop(), execution.device)
            if tell or stop or not execution.cuda:  # on a GPU asking means waiting for it
                self._check(float(whole(norm)))
            if not (tell or stop):
                continue
            mean = self.group.sum(summed).item() / scored
            seconds = time.monotonic() - began
            line = self.report.line(counted, mean, rate, float(whole(norm)), tokens / seconds)
            if look:
                self._look(line)
            counted.seconds += time.monotonic() - began
            self.report.tell(counted, line)
            self.keeper.save(self.model, self.optimizer, counted, always=look or stop)
            if stop and counted.step < plan.total_steps:
                raise StoppedError(
                    f"Stopped at step {counted.step:,} of {plan.total_steps:,}; its state is saved: run the "
                    "same command again to go on."
                )
            summed, scored, tokens, began = self._zero(), 0, 0, time.monotonic()

    def _step(self, rate: float) -> tuple[torch.Tensor, int, int, torch.Tensor]:
        """One optimizer step: nats summed by this process, tokens scored and read by all, gradient norm."""
        packs = self.feed.next_step()
        n_tokens = sum(int(self.pieces.lengths[pack].sum()) for pack in packs)
        scored = n_tokens - sum(len(pack) for pack in packs)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        summed, mine = self._zero(), share(packs, self.group)
        for place, (indices, weight) in enumerate(mine):
            tensors = self._tensors(self.pieces, indices)
            with no_sync_until_last(self.scorer, last=place == len(mine) - 1):
                loss = self.scorer(*tensors)
                (loss * (weight * self.group.world / scored)).backward()
            summed += loss.detach() * weight
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip_norm)
        self.optimizer.step()
        return summed, scored, n_tokens, norm

    def _tensors(self, pieces: Pieces, indices: np.ndarray) -> tuple[torch.Tensor, ...]:
        fixed = self.execution.compiled
        unit = self.plan.pack_tokens if fixed else PAD_UNIT
        pad_to = -(-int(pieces.lengths[indices].sum()) // unit) * unit
        pack = make_pack(pieces, indices, pad=self.pad, pad_to=pad_to)
        return to_tensors(pack, self.execution.device, fixed=fixed)

    def _look(self, line: dict[str, Any]) -> None:
        """Look at the tuning split; keep the weights if they are the best so far."""
        counted = self.counted
        point = {"step": float(counted.step), "train_loss": line["loss"]}
        if len(self.held_out):
            loss = self._tuning_loss()
            self._check(loss)
            line["tuning_loss"] = point["tuning_loss"] = loss
            if counted.best_loss is None or loss < counted.best_loss:
                counted.best_loss, counted.best_step, counted.worse = loss, counted.step, 0
                self.keeper.keep_best(self.model, counted)
            else:
                counted.worse += 1
        counted.curve.append(point)

    @torch.no_grad()
    def _tuning_loss(self) -> float:
        packs = in_order(self.held_out, pack_tokens=self.plan.pack_tokens)
        sums = torch.zeros(2, dtype=torch.float64, device=self.execution.device)
        self.scorer.eval()
        for indices, weight in share(packs, self.group):
            sums[0] += self.scorer(*self._tensors(self.held_out, indices)) * weight
            sums[1] += float(self.held_out.lengths[indices].sum() - len(indices)) * weight
        self.scorer.train()
        shard_again(self.scorer)
        nats, count = self.group.sum(sums).tolist()
        return nats / count

    def _check(self, figure: float) -> None:
        if math.isfinite(figure):
            return
        saved = self.keeper.saved_step
        kept = f"the state of step {saved:,} is kept" if saved else "no state had been saved yet"
        raise UserError(
            f"The loss is not a number at step {self.counted.step:,} ({kept}): train with a lower "
            f"--learning-rate than {self.plan.learning_rate:g}, or with --precision fp32."
        )

    def _reason(self) -> str | None:
        if self.counted.step >= self.plan.total_steps:
            return None
        return f"Stopped early: nothing better in {self.counted.worse} looks at the tuning split."

    def _finished(self) -> Pretrained:
        counted = self.counted
        last = assemble(self.config, weights_of(self.model), self.execution.device)
        best = self.keeper.best(counted)
        model = assemble(self.config, best, self.execution.device) if best else last
        loss = mean_loss(model, self.held_out, device=self.execution.device) if len(self.held_out) else None
        return Pretrained(
            model,
            last,
            self.parameters,
            counted.step,
            counted.best_step or counted.step,
            counted.tokens / self.pieces.n_tokens,
            loss,
            counted.curve,
            self.execution.words,
            self.plan,
        )

    def _zero(self) -> torch.Tensor:
        return torch.zeros((), dtype=torch.float64, device=self.execution.device)


def optimizer_of(model: nn.Module, learning_rate: float, settings: PretrainSettings) -> torch.optim.AdamW:
    """AdamW, fused; matrices decay, norms do not."""
    parameters: Sequence[nn.Parameter] = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.95), fused=True)
