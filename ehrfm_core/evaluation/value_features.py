"""Count, last, lowest, highest and mean value of every code of a window: what a table of features would hold.

Values are the bins that the tokenizer put them in (0, 1, …), for these are what a study keeps; the bins are
the source's quantiles, so that the order of values is whole and their distances are ranks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ehrfm_core.evaluation.sites import Stays
from ehrfm_core.tokens import vocabulary as names

STATISTICS = ("count", "last", "lowest", "highest", "mean")


@dataclass(frozen=True, eq=False)
class Codes:
    """What each token of a vocabulary stands for.

    `code` (tokens): number of its code, −1 for value and special tokens; `value` (tokens): its bin, −1
    without; `own` (tokens): whether code and bin are in one token. `columns` names the codes.
    """

    code: np.ndarray
    value: np.ndarray
    columns: tuple[str, ...]

    @classmethod
    def of(cls, vocabulary: Mapping[str, int]) -> Codes:
        """Read the names of the tokens; fused tokens of one code share its number."""
        size = max(vocabulary.values()) + 1
        code, value = np.full(size, -1), np.full(size, -1)
        columns: dict[str, int] = {}
        for token, i in vocabulary.items():
            bin_ = names.bin_index(token)
            value[i] = -1 if bin_ is None else bin_
            if names.family(token) not in ("special", names.SPACING_FAMILY) and not names.is_bin(token):
                code[i] = columns.setdefault(token.partition(names.FUSED)[0], len(columns))
        return cls(code, value, tuple(columns))


def value_features(stays: Stays, codes: Codes) -> np.ndarray:
    """The five statistics of every code (n × 5 · codes, float32); values not a number where there is none.

    A value token belongs to the code token right before it.
    """
    n, width = len(stays), len(codes.columns)
    tokens, rows = stays.tokens.values, stays.tokens.rows
    code, value = codes.code[tokens], codes.value[tokens]
    count = np.bincount(rows[code >= 0] * width + code[code >= 0], minlength=n * width)
    fused = (code >= 0) & (value >= 0)
    after = np.zeros(len(tokens), dtype=bool)
    after[1:] = (code[1:] < 0) & (value[1:] >= 0) & (code[:-1] >= 0) & (rows[1:] == rows[:-1])
    at = np.flatnonzero(fused | after)
    owner = np.where(fused[at], code[at], code[np.maximum(at - 1, 0)])
    cell, found = rows[at] * width + owner, value[at].astype(np.float32)
    lowest, highest = np.full(n * width, np.inf, np.float32), np.full(n * width, -np.inf, np.float32)
    np.minimum.at(lowest, cell, found)
    np.maximum.at(highest, cell, found)
    number = np.bincount(cell, minlength=n * width)
    last = np.full(n * width, np.nan, np.float32)
    last[cell] = found  # in order of time: the last one stays
    with np.errstate(invalid="ignore"):
        mean = np.bincount(cell, weights=found, minlength=n * width) / np.where(number > 0, number, np.nan)
    lowest[number == 0] = highest[number == 0] = np.nan
    parts = [part.reshape(n, width).astype(np.float32) for part in (count, last, lowest, highest, mean)]
    return np.concatenate(parts, axis=1)
