"""What a site charts: events and coverage of every category, and how its values drift from the source's."""

from __future__ import annotations

import numpy as np
import polars as pl

from ehrfm_core.tokens.kinds import Kinds
from ehrfm_core.tokens.timelines import Block
from ehrfm_core.tokens.tokenizer import Tokenizer
from ehrfm_core.tokens.vocabulary import AGE, ANSWER_FAMILY, FUSED, SPACING_FAMILY, SUFFIX_FAMILY, family

FLOOR = 1e-4  # share given to an empty bin, so that its logarithm exists
Bins = dict[str, np.ndarray]


class CategoryCounts:
    """Counts over the blocks of one site. `train` (stays) marks those that the tokenizer was fitted on."""

    def __init__(self, kinds: Kinds, train: np.ndarray, *, window_hours: float) -> None:
        self._kinds, self._train, self._minutes = kinds, train, window_hours * 60
        self.stays, self.stays_window = (np.zeros(len(kinds.codes), dtype=np.int64) for _ in range(2))
        self._by_kind = np.zeros((len(kinds), 2, 2), dtype=np.int64)  # kind, training stay, in the window
        self.n_events = self.n_outside = self.n_strange_units = 0

    def add(self, block: Block) -> None:
        """Count the events of one block."""
        inside = block.minute <= self._minutes
        train = self._train[block.first : block.last][block.stay]
        cell = block.kind * 4 + train * 2 + inside
        self._by_kind += np.bincount(cell, minlength=self._by_kind.size).reshape(self._by_kind.shape)
        code = self._kinds.code[block.kind]
        seen = np.zeros((block.last - block.first, len(self._kinds.codes)), dtype=np.uint8)
        seen[block.stay, code] = 1
        seen[block.stay[inside], code[inside]] = 2
        self.stays += (seen > 0).sum(axis=0)
        self.stays_window += (seen > 1).sum(axis=0)
        self.n_events += len(code)
        self.n_outside += block.n_outside
        self.n_strange_units += block.n_strange_units

    @property
    def kinds_window(self) -> np.ndarray:
        """Events in the window by kind."""
        return self._by_kind[:, :, 1].sum(axis=1)

    def _by_code(self, by_kind: np.ndarray) -> np.ndarray:
        counts = np.bincount(self._kinds.code, weights=by_kind, minlength=len(self._kinds.codes))
        return counts.astype(np.int64)

    @property
    def unknown(self) -> dict[str, int]:
        """Events by code that the vocabulary does not know, most first."""
        counts = self._by_code(np.where(self._kinds.known, 0, self._by_kind.sum(axis=(1, 2))))
        order = sorted(np.flatnonzero(counts), key=lambda i: (-counts[i], self._kinds.codes[i]))
        return {self._kinds.codes[i]: int(counts[i]) for i in order}

    def bins(self, *, train: bool) -> Bins:
        """Values by code and bin, of training stays or of the others."""
        found: Bins = {}
        counts = self._by_kind[:, int(train)].sum(axis=1)
        for kind in np.flatnonzero(self._kinds.bin >= 0):
            code, place = self._kinds.codes[self._kinds.code[kind]], int(self._kinds.bin[kind])
            held = found.setdefault(code, np.zeros(0, dtype=np.int64))
            if place >= len(held):
                held = found[code] = np.concatenate([held, np.zeros(place + 1 - len(held), dtype=np.int64)])
            held[place] += counts[kind]
        return found

    def frame(
        self, tokenizer: Tokenizer, expected: Bins, not_numbers: dict[str, int], *, n_stays: int
    ) -> pl.DataFrame:
        """One row a code of the vocabulary or of the site, by code: the columns of `categories.parquet`."""
        drift = {code: psi(expected.get(code), own) for code, own in self.bins(train=False).items()}
        values: dict[str, int] = {}
        for train in (False, True):
            for code, n in self.bins(train=train).items():
                values[code] = values.get(code, 0) + int(n.sum())
        known = event_codes(tokenizer)
        own = pl.DataFrame(
            {
                "code": pl.Series(self._kinds.codes, dtype=pl.String),
                "n_events": self._by_code(self._by_kind.sum(axis=(1, 2))),
                "n_stays": self.stays,
                "n_events_window": self._by_code(self.kinds_window),
                "n_stays_window": self.stays_window,
            }
        )
        # what the map's filters leave out, or lies outside every stay, is no code of the site
        codes = sorted(known | set(own.filter(pl.col("n_events") > 0)["code"]))
        frame = pl.DataFrame({"code": codes}, schema={"code": pl.String})
        frame = frame.join(own, on="code", how="left").fill_null(0)
        return frame.with_columns(
            pl.Series("family", [family(code) for code in codes], dtype=pl.String),
            pl.Series("known", [code in known for code in codes], dtype=pl.Boolean),
            (pl.col("n_stays_window") / n_stays).alias("coverage"),
            pl.Series("n_values", [values.get(code, 0) for code in codes], dtype=pl.Int64),
            pl.Series("not_numbers", [not_numbers.get(code, 0) for code in codes], dtype=pl.Int64),
            pl.Series("psi", [drift.get(code, (None, None))[0] for code in codes], dtype=pl.Float64),
            pl.Series("psi_noise", [drift.get(code, (None, None))[1] for code in codes], dtype=pl.Float64),
        )


def event_codes(tokenizer: Tokenizer) -> set[str]:
    """Codes of events (family/name) that the vocabulary knows, static and spacing tokens left out."""
    others = {*tokenizer.prefix, SUFFIX_FAMILY, ANSWER_FAMILY, SPACING_FAMILY, AGE, "special"}
    return {token.partition(FUSED)[0] for token in tokenizer.vocabulary if family(token) not in others}


def psi(expected: np.ndarray | None, actual: np.ndarray) -> tuple[float | None, float | None]:
    """Population stability index of counts by bin, and what chance alone would give on average.

    The index is Σ (a − e) ln(a / e) over the shares of the bins. An empty bin counts as a share of 10⁻⁴.
    Without drift the index is on average about (B − 1)(1/n + 1/m) for B bins and n and m values (Yurdakul
    and Naranjo 2020). Both are None where either side has no values.

    >>> psi(np.array([50, 50]), np.array([50, 50]))
    (0.0, 0.02)
    >>> round(psi(np.array([50, 50]), np.array([80, 20]))[0], 3)
    0.416
    """
    if expected is None or not expected.sum() or not actual.sum():
        return None, None
    size = max(len(expected), len(actual))
    e, a = (np.pad(counts, (0, size - len(counts))) / counts.sum() for counts in (expected, actual))
    e, a = np.maximum(e, FLOOR), np.maximum(a, FLOOR)
    noise = (size - 1) * (1 / expected.sum() + 1 / actual.sum())
    return float(((a - e) * np.log(a / e)).sum()), float(noise)
