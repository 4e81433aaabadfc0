"""Every kind of event that a site can have under a tokenizer: an item with one of its bins; its tokens."""

from __future__ import annotations

import numpy as np

from ehrfm_core.clif.event_store import Item
from ehrfm_core.tokens import vocabulary as names
from ehrfm_core.tokens.spans import by_number
from ehrfm_core.tokens.tokenizer import Tokenizer
from ehrfm_core.tokens.vocabulary import UNK
from ehrfm_core.tokens.weights import WEIGHT, transition

LAST = 2**31 - 1


class Kinds:
    """Kinds are numbered in the order of simultaneous events: rank of the source, then token ids.

    `tokens` (kinds, 2) int32, −1 where there is no second; `lengths` (kinds); `code` (kinds): place in
    `codes`; `bin` (kinds): −1 without a value; `known` (kinds): whether the vocabulary has the code.
    By item: `transitions` and `is_weight` as `weights.weighed` wants them, `strange` where a value's unit is
    not that of the cut points and cannot be made so.
    """

    def __init__(self, tokenizer: Tokenizer, items: list[Item]) -> None:
        self.codes = sorted({item.code for item in items})
        place_of = {code: place for place, code in enumerate(self.codes)}
        targets = [tokenizer.units.get(item.code) for item in items]
        pairs = list(zip(items, targets, strict=True))
        self.transitions = np.array([transition(item.unit, to) for item, to in pairs], dtype=np.int8)
        self.is_weight = np.array([item.code == WEIGHT for item in items], dtype=bool)
        # values in a unit that is not that of the cut points, and that no weight turns into it
        valued = {*tokenizer.cut_points, *tokenizer.reference}
        other = [item.unit != to and item.code in valued for item, to in pairs]
        self.strange = np.array(other, dtype=bool) & (self.transitions == 0)
        self._cuts = [
            None if odd else _cuts(tokenizer, item) for item, odd in zip(items, self.strange, strict=True)
        ]
        sizes = np.array([1 if cuts is None else len(cuts) + 2 for cuts in self._cuts], dtype=np.int64)
        self._base = np.cumsum(sizes) - sizes  # first kind of an item: without a value; then its bins
        rows, keys = [], []
        for item, cuts in zip(items, self._cuts, strict=True):
            for index in range(-1, 0 if cuts is None else len(cuts) + 1):
                first, second = _tokens(tokenizer, item, index)
                known = first != tokenizer.vocabulary[UNK]
                rows.append((first, second, place_of[item.code], index if known else -1, known))
                keys.append((item.rank, first, second if second >= 0 else LAST))  # without a value: last
        order = sorted(range(len(rows)), key=lambda i: (keys[i], rows[i]))
        self._number = np.empty(len(rows), dtype=np.int64)
        self._number[order] = np.arange(len(rows))
        table = np.array([rows[i] for i in order], dtype=np.int64).reshape(len(rows), 5)
        self.tokens = table[:, :2].astype(np.int32)
        self.lengths = 1 + (self.tokens[:, 1] >= 0).astype(np.int64)
        self.code, self.bin, self.known = table[:, 2], table[:, 3], table[:, 4].astype(bool)

    def __len__(self) -> int:
        return len(self._number)

    def of(self, item: np.ndarray, value: np.ndarray) -> np.ndarray:
        """Kind of each event (n): a value's bin is the number of cut points at or below it."""
        index = self._base[item]
        rows = np.flatnonzero(~np.isnan(value))
        order, begin = by_number(item[rows], len(self._cuts))
        rows = rows[order]
        values = value[rows]
        for place in np.flatnonzero(np.diff(begin)):
            cuts = self._cuts[place]
            if cuts is not None:
                part = slice(begin[place], begin[place + 1])
                index[rows[part]] += 1 + np.searchsorted(cuts, values[part], side="right")
        return self._number[index]


def _cuts(tokenizer: Tokenizer, item: Item) -> np.ndarray | None:
    """Cut points of an item; None where values have no bins (no cut points, or an answer)."""
    if item.answer is not None:
        return None
    if item.code in tokenizer.reference:
        lower, upper = tokenizer.reference[item.code]
        return np.array([lower, np.nextafter(upper, np.inf)])  # both ends are normal
    cut_points = tokenizer.cut_points.get(item.code)
    return None if cut_points is None else np.array(cut_points)


def _tokens(tokenizer: Tokenizer, item: Item, index: int) -> tuple[int, int]:
    """Token ids of an item with the bin `index` (−1: without a value); −1 in place of a second token."""
    vocabulary, unknown = tokenizer.vocabulary, tokenizer.vocabulary[UNK]
    value = tokenizer.value_tokens(item.code)[index] if index >= 0 else None
    answer = f"{names.ANSWER_FAMILY}/{item.answer}" if item.answer else None
    if tokenizer.settings.scheme == "fused":
        token = item.code
        if value or answer:
            token = names.fuse(item.code, str(value or answer))
        return vocabulary.get(token, vocabulary.get(item.code, unknown)), -1
    if item.code not in vocabulary:
        return unknown, -1
    return vocabulary[item.code], vocabulary.get(str(value or answer), -1)
