"""Windows with the outcomes of their stays, and packs of them. Needs numpy and torch.

Symbols: n stays, K outcomes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ehrfm_core.model.packing import PAD_UNIT, Pieces, epoch_of_packs, make_pack
from ehrfm_core.model.scorer import to_tensors
from ehrfm_core.ragged import Ragged

CUTS = ("last", "random")
Batch = tuple[tuple[torch.Tensor, ...], torch.Tensor, torch.Tensor, torch.Tensor]
"""A pack, the first token of each window, the token that is read, and the labels."""


@dataclass(frozen=True, eq=False)
class Labelled:
    """Windows (n lists of token ids) with their outcomes.

    `labels` (n × K): 1 or 0, not a number where a stay does not count for the outcome. `context` (n lists)
    stands before each window; `prefix` tokens come before the first event.
    """

    windows: Ragged
    labels: np.ndarray
    context: Ragged | None = None
    prefix: int = 1

    def __len__(self) -> int:
        return len(self.windows)

    def take(self, rows: np.ndarray) -> Labelled:
        """Some of the stays, in the order given."""
        context = self.context.take(rows) if self.context else None
        return Labelled(self.windows.take(rows), self.labels[rows], context, self.prefix)

    @property
    def counted(self) -> np.ndarray:
        """Stays that count for some outcome (indices)."""
        return np.flatnonzero(np.isfinite(self.labels).any(axis=1))


class LabelledEpochs:
    """Packs of whole windows, drawn anew in every epoch; the same seed gives the same ones.

    `cuts`: a window is read at its `last` token, or at one drawn anew in every epoch (`random`).
    """

    def __init__(self, data: Labelled, *, pack_tokens: int, cuts: str, seed: int) -> None:
        n = len(data)
        self.before = data.context.lengths if data.context else np.zeros(n, dtype=np.int64)
        sequences = data.context.joined(data.windows) if data.context else data.windows
        self.pieces = Pieces(sequences.values, sequences.offsets[:-1], sequences.lengths)
        self.data, self.cuts, self.seed = data, cuts, seed
        self.pack_tokens = max(pack_tokens, int(self.pieces.lengths.max()))
        self.n_packs = len(self._packs(np.random.default_rng([seed, 1])))

    def _packs(self, generator: np.random.Generator) -> list[np.ndarray]:
        return epoch_of_packs(self.pieces.lengths, pack_tokens=self.pack_tokens, generator=generator)

    def batches(self, epoch: int, device: str) -> list[Batch]:
        """All packs of an epoch, counted from 1, on `device`."""
        generator = np.random.default_rng([self.seed, epoch])
        return [self._batch(pack, generator, device) for pack in self._packs(generator)]

    def _batch(self, chosen: np.ndarray, generator: np.random.Generator, device: str) -> Batch:
        length = int(self.pieces.lengths[chosen].sum())
        pack = make_pack(self.pieces, chosen, pad=0, pad_to=-(-length // PAD_UNIT) * PAD_UNIT)
        last = self.data.windows.lengths[chosen] - 1
        at = last
        if self.cuts == "random":
            at = generator.integers(np.minimum(self.data.prefix - 1, last), last + 1)
        first = pack.bounds[: len(chosen)] + self.before[chosen]
        begins, rows = (torch.from_numpy(x.astype(np.int64)).to(device) for x in (first, first + at))
        labels = torch.from_numpy(self.data.labels[chosen].astype(np.float32))
        return (
            to_tensors(pack, device, fixed=False),
            begins,
            rows,
            labels.to(device),
        )
