"""One causal pass over each window: states, jumps and information.

Runs with torch, transformers, numpy and safetensors alone. Symbols: R_t is the last hidden state (after
the final norm) at token t, x_t the token; B stays, T tokens, D the hidden size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from transformers import LlamaForCausalLM

from ehrfm_core.model.batches import groups_by_length, pad_right
from ehrfm_core.ragged import Ragged

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class ReadOut:
    """What one pass over n windows leaves behind; stays in the order given.

    `states` (n × D): R at the last token of the window, the 24 h representation.
    `hourly` (n × H × D): R at the last token at or before each of the hours 0 … H − 1.
    `jumps` (lists): ‖R_t − R_{t−1}‖₂, 0 for the first token.
    `information` (lists): −ln p(x_t | x_<t) in nats, not a number for the first token.
    `displacement` (n): ‖R_last − R_first‖₂.
    """

    states: np.ndarray
    hourly: np.ndarray
    jumps: Ragged
    information: Ragged
    displacement: np.ndarray


def last_token_at_hours(minutes: Ragged, *, hours: int) -> np.ndarray:
    """Index within its list of the last token at or before each hour 0 … `hours` (n × hours + 1).

    Every list starts at minute 0, so that there always is one.

    >>> last_token_at_hours(Ragged.from_lengths(np.array([0.0, 0.0, 61.0]), np.array([3])), hours=2)
    array([[1, 1, 2]])
    """
    starts = minutes.offsets[:-1]  # no list is empty, as reduceat needs
    reached = [np.add.reduceat(minutes.values <= 60 * h, starts, dtype=np.int64) for h in range(hours + 1)]
    return np.stack(reached, axis=1) - 1


@torch.no_grad()
def read_out(
    model: LlamaForCausalLM,
    windows: Ragged,
    minutes: Ragged,
    *,
    hours: int,
    pad: int,
    device: str = "cpu",
    batch_tokens: int = 8_192,
    progress: Progress | None = None,
) -> ReadOut:
    """Pass every window (lists of token ids, at least one token each) through the model once.

    Windows of like length share a batch, padded on the right: causal attention keeps padding and other
    stays out of every state.
    """
    n, width = len(windows), model.config.hidden_size
    at_hours = last_token_at_hours(minutes, hours=hours)
    states = np.empty((n, width), dtype=np.float32)
    hourly = np.empty((n, hours + 1, width), dtype=np.float32)
    displacement = np.empty(n)
    jumps = np.zeros(len(windows.values), dtype=np.float32)
    information = np.full(len(windows.values), np.nan, dtype=np.float32)
    done = 0
    for group in groups_by_length(windows.lengths, batch_tokens=batch_tokens):
        lengths = windows.lengths[group]
        batch = torch.from_numpy(pad_right(windows, group, fill=pad)).to(device)
        hidden, step, nats = _forward(model, batch)
        rows = np.arange(len(group))
        states[group] = hidden[rows, lengths - 1]
        hourly[group] = hidden[rows[:, None], at_hours[group]]
        displacement[group] = np.linalg.norm(
            hidden[rows, lengths - 1].astype(np.float64) - hidden[:, 0].astype(np.float64), axis=1
        )
        for row, index in enumerate(group):
            begin, end = windows.offsets[index], windows.offsets[index + 1]
            jumps[begin + 1 : end] = step[row, : end - begin - 1]
            information[begin + 1 : end] = nats[row, : end - begin - 1]
        done += int(lengths.sum())
        if progress:
            progress(done, len(windows.values), "")
    return ReadOut(
        states,
        hourly,
        Ragged(jumps, windows.offsets),
        Ragged(information, windows.offsets),
        displacement,
    )


def _forward(model: LlamaForCausalLM, batch: torch.Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """States (B × T × D), jumps and information from the second token on (B × T − 1 each)."""
    hidden = model.model(input_ids=batch).last_hidden_state
    step = torch.linalg.vector_norm(hidden[:, 1:].float() - hidden[:, :-1].float(), dim=-1)
    logits = model.lm_head(hidden[:, :-1]).float()
    log_p = torch.log_softmax(logits, dim=-1).gather(2, batch[:, 1:, None]).squeeze(2)
    return hidden.float().cpu().numpy(), step.cpu().numpy(), -log_p.cpu().numpy()
