"""What a model must beat: the loss of guessing from token frequencies, or from the token before."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ehrfm_core.model.packing import Pieces

PIECES_AT_A_TIME = 10_000


def simple_losses(
    train: Pieces, held_out: Pieces, *, vocabulary_size: int, mix: float = 0.9
) -> tuple[float, float]:
    """Nats per token on `held_out` of the token frequencies of `train`, alone and after each token.

    The first token of each piece is not predicted, as in the model's loss. Frequencies are add-one smoothed;
    the share after a token is mixed with them (`mix` to 1 − `mix`), so that no pair has none. A few thousand
    pieces are held at a time.

    >>> from ehrfm_core.ragged import Ragged
    >>> lists = Ragged.from_lengths(np.array([0, 1, 1, 0, 1, 1]), np.array([3, 3]))
    >>> pieces = Pieces.of(lists, max_tokens=8)
    >>> [round(loss, 3) for loss in simple_losses(pieces, pieces, vocabulary_size=2)]
    [0.182, 0.017]
    """
    pairs = np.zeros(vocabulary_size**2)
    for before, after in _pairs(train):
        pairs += np.bincount(before * vocabulary_size + after, minlength=vocabulary_size**2)
    counts = pairs.reshape(vocabulary_size, vocabulary_size)
    unigram = (counts.sum(axis=0) + 1) / (counts.sum() + vocabulary_size)
    after_each = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    mixed = mix * after_each + (1 - mix) * unigram
    alone = paired = 0.0
    n = 0
    for before, after in _pairs(held_out):
        alone -= float(np.log(unigram[after]).sum())
        paired -= float(np.log(mixed[before, after]).sum())
        n += len(after)
    return alone / n, paired / n


def _pairs(pieces: Pieces) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Each token but the last of a piece, and the token after it."""
    for begin in range(0, len(pieces), PIECES_AT_A_TIME):
        some = [pieces[i] for i in range(begin, min(begin + PIECES_AT_A_TIME, len(pieces)))]
        values = np.concatenate(some).astype(np.int64)
        last = np.cumsum([len(piece) for piece in some]) - 1
        inner = np.ones(len(values), dtype=bool)
        inner[last] = False
        before = np.flatnonzero(inner)
        yield values[before], values[before + 1]
