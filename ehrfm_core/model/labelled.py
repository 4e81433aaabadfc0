"""Windows with the outcomes of their stays, and packs of them. Needs numpy and torch.

Symbols: n stays, K outcomes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from ehrfm_core.model.packing import PAD_UNIT, Pieces, epoch_of_packs, make_pack
from ehrfm_core.model.scorer import to_tensors
from ehrfm_core.model.thinning import Roles, thinned
from ehrfm_core.ragged import Ragged

CUTS = ("last", "random")
Batch = tuple[tuple[torch.Tensor, ...], torch.Tensor, torch.Tensor, torch.Tensor]
"""A pack, the first token of each window, the token that is read, and the labels."""


@dataclass(frozen=True, eq=False)
class Labelled:
    """Windows (n lists of token ids) with their outcomes.

    `labels` (n × K): 1 or 0, not a number where a stay does not count for the outcome. `context` (n lists)
    stands before each window; `prefix` tokens come before the first event. `roles` of the token ids are
    needed where windows are thinned.
    """

    windows: Ragged
    labels: np.ndarray
    context: Ragged | None = None
    prefix: int = 1
    roles: Roles | None = None

    def __len__(self) -> int:
        return len(self.windows)

    def take(self, rows: np.ndarray) -> Labelled:
        """Some of the stays, in the order given."""
        context = self.context.take(rows) if self.context else None
        return replace(self, windows=self.windows.take(rows), labels=self.labels[rows], context=context)

    @property
    def counted(self) -> np.ndarray:
        """Stays that count for some outcome (indices)."""
        return np.flatnonzero(np.isfinite(self.labels).any(axis=1))


class LabelledEpochs:
    """Packs of windows, drawn anew in every epoch; the same seed gives the same ones.

    `cuts`: a window is read at its `last` token, or at one drawn anew in every epoch (`random`). `thinning`:
    the highest share of a window's events that an epoch leaves out (see `thinning`).
    """

    def __init__(
        self, data: Labelled, *, pack_tokens: int, cuts: str, seed: int, thinning: float = 0.0
    ) -> None:
        assert data.roles or not thinning, "which tokens make an event must be known"
        self.data, self.cuts, self.seed, self.thinning = data, cuts, seed, thinning
        n = len(data)
        self.before = data.context.lengths if data.context else np.zeros(n, dtype=np.int64)
        self.pack_tokens = max(pack_tokens, int((self.before + data.windows.lengths).max()))
        self.n_packs = len(self._packs(*self._drawn(1)))

    def batches(self, epoch: int, device: str) -> list[Batch]:
        """All packs of an epoch, counted from 1, on `device`."""
        windows, generator = self._drawn(epoch)
        whole = self.data.context.joined(windows) if self.data.context else windows
        pieces = Pieces(whole.values, whole.offsets[:-1], whole.lengths)
        return [
            self._batch(pieces, windows.lengths, pack, generator, device)
            for pack in self._packs(windows, generator)
        ]

    def _drawn(self, epoch: int) -> tuple[Ragged, np.random.Generator]:
        """The windows of an epoch, and the generator of what else is drawn in it."""
        generator = np.random.default_rng([self.seed, epoch])
        windows = self.data.windows
        if self.thinning:
            assert self.data.roles
            windows = thinned(
                windows, self.data.roles, self.thinning, prefix=self.data.prefix, generator=generator
            )
        return windows, generator

    def _packs(self, windows: Ragged, generator: np.random.Generator) -> list[np.ndarray]:
        lengths = self.before + windows.lengths
        return epoch_of_packs(lengths, pack_tokens=self.pack_tokens, generator=generator)

    def _batch(
        self,
        pieces: Pieces,
        lengths: np.ndarray,
        chosen: np.ndarray,
        generator: np.random.Generator,
        device: str,
    ) -> Batch:
        length = int(pieces.lengths[chosen].sum())
        pack = make_pack(pieces, chosen, pad=0, pad_to=-(-length // PAD_UNIT) * PAD_UNIT)
        last = lengths[chosen] - 1
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
