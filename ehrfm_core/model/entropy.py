"""What a model must beat: the loss of guessing from token frequencies."""

from __future__ import annotations

import numpy as np

from ehrfm_core.ragged import Ragged


def unigram_loss(train: Ragged, held_out: Ragged, *, vocabulary_size: int) -> float:
    """Nats per token on `held_out` of the token frequencies of `train` (add-one smoothed).

    The first token of each list is not predicted, as in the model's loss.

    >>> lists = Ragged.from_lengths(np.array([0, 1, 1, 0, 1, 1]), np.array([3, 3]))
    >>> round(unigram_loss(lists, lists, vocabulary_size=2), 3)
    0.182
    """
    counts = np.bincount(train.values[train.positions > 0], minlength=vocabulary_size) + 1.0
    log_share = np.log(counts / counts.sum())
    return float(-log_share[held_out.values[held_out.positions > 0]].mean())


def bigram_loss(train: Ragged, held_out: Ragged, *, vocabulary_size: int, mix: float = 0.9) -> float:
    """Nats per token on `held_out` of the frequencies after each token of `train`.

    The bigram share is mixed with the unigram share (`mix` to 1 − `mix`), so that no pair has none.
    """
    inner = train.positions > 0
    pairs = np.zeros((vocabulary_size, vocabulary_size))
    np.add.at(pairs, (train.values[np.flatnonzero(inner) - 1], train.values[inner]), 1.0)
    unigram = np.bincount(train.values[inner], minlength=vocabulary_size) + 1.0
    unigram /= unigram.sum()
    share = pairs / np.maximum(pairs.sum(axis=1, keepdims=True), 1)
    mixed = mix * share + (1 - mix) * unigram
    later = np.flatnonzero(held_out.positions > 0)
    return float(-np.log(mixed[held_out.values[later - 1], held_out.values[later]]).mean())
