"""What anyone could predict without the foundation model: the models every probe is set beside."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl

from ehrfm_core.errors import UserError
from ehrfm_core.evaluation.sites import Stays

POOLED = "probe_pooled"
Encoder = Callable[[Stays], np.ndarray]
"""Stays in, features (n × features) out; everything it had to learn was learnt in training."""


def token_counts(stays: Stays, *, vocabulary_size: int) -> np.ndarray:
    """log(1 + how often each token of the vocabulary stands in the window) (n × vocabulary, float64).

    Raises UserError where a token lies outside the vocabulary.
    """
    values = stays.tokens.values
    if len(values) and not 0 <= int(values.min()) <= int(values.max()) < vocabulary_size:
        raise UserError(
            f"{stays.site}: the windows hold tokens outside the vocabulary of {vocabulary_size}; "
            "tokenize and embed this site again with the study's tokenizer."
        )
    cells = stays.tokens.rows * vocabulary_size + values
    counts = np.bincount(cells, minlength=len(stays) * vocabulary_size)
    return np.log1p(counts.reshape(len(stays), vocabulary_size))


def n_tokens(stays: Stays) -> np.ndarray:
    """Logarithm of the number of tokens in the window, its prefix included (n × 1); 0 for an empty one."""
    return np.log(np.maximum(stays.tokens.lengths, 1))[:, None].astype(np.float64)


def age_sex_encoder(training: Stays) -> Encoder:
    """Age in years, the training median where unknown, and one column for each sex seen in training.

    A sex that is null is a value of its own; one that training has not seen has 0 in every column.
    Without any known age in training, age says nothing and is 0.
    """
    median = _ages(training).median()
    typical = float(median) if isinstance(median, (int, float)) else None
    sexes = sorted(set(_sexes(training)))

    def encode(stays: Stays) -> np.ndarray:
        ages = _ages(stays)
        age = np.zeros(len(stays)) if typical is None else ages.fill_null(typical).to_numpy()
        sex = np.array(_sexes(stays), dtype=object)
        return np.column_stack([age, *(sex == value for value in sexes)]).astype(np.float64)

    return encode


def _ages(stays: Stays) -> pl.Series:
    return stays.frame["age"].cast(pl.Float64).fill_nan(None)


def _sexes(stays: Stays) -> list[str]:
    return stays.frame["sex"].fill_null("unknown").to_list()


def _pooled(stays: Stays) -> np.ndarray:
    assert stays.pooled is not None, "all sites are pooled, or none"
    return stays.pooled


def encoders(training: Stays, *, vocabulary_size: int) -> dict[str, Encoder]:
    """Features of the probes and of each baseline, by the model's name in `metrics.parquet`."""
    pooled: dict[str, Encoder] = {} if training.pooled is None else {POOLED: _pooled}
    return {
        "probe": lambda stays: stays.states,
        **pooled,
        "baseline_token_counts": lambda stays: token_counts(stays, vocabulary_size=vocabulary_size),
        "baseline_n_tokens": n_tokens,
        "baseline_age_sex": age_sex_encoder(training),
    }
