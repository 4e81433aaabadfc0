"""One pack of windows through the model, and what is read out of it where it is computed.

Runs with torch, transformers, numpy and safetensors alone. Symbols: N tokens in the pack, S stays, D the
hidden size, H hours, K linear read-outs; R_t is the last hidden state (after the final norm) at token t of
a stay, Δ_t = R_t − R_{t−1}. No state leaves the device but those asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional
from transformers import LlamaForCausalLM

from ehrfm_core.dynamics.readouts import LinearReadouts
from ehrfm_core.model.attention import IMPLEMENTATION
from ehrfm_core.model.packing import NOT_SCORED
from ehrfm_core.model.pooling import pooled

LOGITS_AT_ONCE = 1 << 25  # token × vocabulary, 128 MB in fp32


@dataclass(frozen=True, eq=False)
class PackPlaces:
    """Where in a pack to read.

    `rows` (S × H + 1): the token that stands at each hour 0 … H; `first`, `start` and `last` (S): the first
    token of each window, the last one of its static prefix, and its last one.
    """

    rows: np.ndarray
    first: np.ndarray
    start: np.ndarray
    last: np.ndarray


@dataclass(frozen=True, eq=False)
class PackReadOut:
    """What is read from one pack; entries of `jumps`, `turns`, `information` and `risks` are tokens.

    `turns` is the cosine of the angle between Δ_t and Δ_{t−1}, not a number where either is missing or nil.
    `risks` (N × K) are logits. `states` (S × D), `hourly` (S × H + 1 × D, half precision),
    `hourly_steps` (S × H): ‖R(h) − R(h − 1)‖. Three straight lines (S each) end at the window's last token:
    `displacement` from the first token, `event_displacement` from the end of the prefix,
    `hourly_displacement` from the token that stands at hour 0.
    """

    states: np.ndarray
    hourly: np.ndarray
    hourly_steps: np.ndarray
    jumps: np.ndarray
    turns: np.ndarray
    information: np.ndarray
    risks: np.ndarray
    displacement: np.ndarray
    event_displacement: np.ndarray
    hourly_displacement: np.ndarray


@dataclass(frozen=True, eq=False)
class RowReadOut:
    """What is read at M tokens of a pack: `states` (M × D, half precision), `steps` (M), `risks` (M × K).

    `jumps` (N) are of every token.
    """

    states: np.ndarray
    steps: np.ndarray
    risks: np.ndarray
    jumps: np.ndarray


class Forward:
    """A model ready to be read: `states_of` alone, or everything in one pass (`read`).

    With `bf16`, products and the stream between layers are bfloat16, exactly as in training.
    """

    def __init__(
        self,
        model: LlamaForCausalLM,
        *,
        device: str = "cpu",
        bf16: bool = False,
        readouts: LinearReadouts | None = None,
    ) -> None:
        self.model, self.device, self.bf16 = model.eval(), device, bf16
        width, vocabulary = model.config.hidden_size, model.config.vocab_size
        self.n_readouts = len(readouts.names) if readouts else 0
        weight = readouts.weight if readouts else np.zeros((width, 0))
        bias = readouts.bias if readouts else np.zeros(0)
        self._weight = torch.tensor(weight, dtype=torch.float32, device=device)
        self._bias = torch.tensor(bias, dtype=torch.float32, device=device)
        self._chunk = max(1, LOGITS_AT_ONCE // vocabulary)

    def hidden(self, tokens: torch.Tensor, positions: torch.Tensor, stays: torch.Tensor) -> torch.Tensor:
        """R of every token of the pack (N × D, float32)."""
        before = self.model.config._attn_implementation
        self.model.set_attn_implementation(IMPLEMENTATION)
        try:
            with torch.autocast(tokens.device.type, torch.bfloat16, enabled=self.bf16):
                embedded = self.model.model.embed_tokens(tokens[None])
                if self.bf16:
                    embedded = embedded.to(torch.bfloat16)
                out = self.model.model(inputs_embeds=embedded, position_ids=positions[None], stays=stays)
        finally:
            self.model.set_attn_implementation(before)
        return out.last_hidden_state[0].float()

    @torch.inference_mode()
    def states_of(
        self, tensors: Sequence[torch.Tensor], first: np.ndarray, last: np.ndarray, *, pooling: str = "last"
    ) -> np.ndarray:
        """R at the tokens `last` alone (S × D), or pooled over `first` … `last` (see `model.pooling`)."""
        tokens, positions, _, stays = tensors
        hidden = self.hidden(tokens, positions, stays)
        rows = (self._on_device(first), self._on_device(last))
        return pooled(hidden, *rows, pooling=pooling).cpu().numpy()

    @torch.inference_mode()
    def read(self, tensors: Sequence[torch.Tensor], places: PackPlaces) -> PackReadOut:
        """Everything that is measured, in one pass; `tensors` as `scorer.to_tensors` makes them."""
        tokens, positions, targets, stays = tensors
        hidden = self.hidden(tokens, positions, stays)
        begins = positions == 0
        begins[self._on_device(places.first)] = True  # what stands before a window is no part of its path
        jumps, turns = _steps(hidden, begins)
        information = self._information(hidden, targets).roll(1)
        information[begins] = torch.nan
        risks = hidden @ self._weight + self._bias
        rows = self._on_device(places.rows)
        grid = hidden[rows.flatten()].view(*rows.shape, -1)
        first, start, last = (hidden[self._on_device(x)] for x in (places.first, places.start, places.last))
        on_host = [
            x.cpu().numpy()
            for x in (
                last,
                grid.half(),
                torch.linalg.vector_norm(grid.diff(dim=1), dim=-1),
                jumps,
                turns,
                information,
                risks,
                torch.linalg.vector_norm(last - first, dim=-1),
                torch.linalg.vector_norm(last - start, dim=-1),
                torch.linalg.vector_norm(last - grid[:, 0], dim=-1),
            )
        ]
        return PackReadOut(*on_host)

    @torch.inference_mode()
    def follow(self, tensors: Sequence[torch.Tensor], rows: np.ndarray, before: np.ndarray) -> RowReadOut:
        """R and the risks at the tokens `rows` (M), its distance to R at `before` (M), and every jump."""
        tokens, positions, _, stays = tensors
        hidden = self.hidden(tokens, positions, stays)
        jumps, _ = _steps(hidden, positions == 0)
        at = hidden[self._on_device(rows)]
        steps = torch.linalg.vector_norm(at - hidden[self._on_device(before)], dim=-1)
        on_host = (x.cpu().numpy() for x in (at.half(), steps, at @ self._weight + self._bias, jumps))
        return RowReadOut(*on_host)

    def _information(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """−ln p of each target in nats (N), a piece at a time: all logits together would fill the memory."""
        parts = []
        for states, wanted in zip(hidden.split(self._chunk), targets.split(self._chunk), strict=True):
            with torch.autocast(hidden.device.type, torch.bfloat16, enabled=self.bf16):
                logits = self.model.lm_head(states)
            parts.append(
                functional.cross_entropy(logits.float(), wanted, ignore_index=NOT_SCORED, reduction="none")
            )
        return torch.cat(parts)

    def _on_device(self, places: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(places.astype(np.int64)).to(self.device)


def _steps(hidden: torch.Tensor, begins: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Length of each step, 0 at a stay's first token, and the cosine between it and the one before (N)."""
    step = hidden.diff(dim=0, prepend=hidden[:1])
    step[begins] = 0.0
    length = torch.linalg.vector_norm(step, dim=-1)
    along = (step[1:] * step[:-1]).sum(-1)
    both = length[1:] * length[:-1]
    turns = torch.full_like(length, torch.nan)
    turns[1:] = torch.where(both > 0, along / both, torch.nan).clamp(-1, 1)
    return length, turns
