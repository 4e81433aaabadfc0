"""Which events of a stay count, and at which second: shared by fitting and tokenizing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ehrfm_core.clif.site import Site
from ehrfm_core.cohort import EDGE_HOURS, HOUR

EDGE_SECONDS = EDGE_HOURS * 3600


@dataclass(frozen=True)
class Span:
    """Events of the stays `first` … `last` − 1 that lie from 24 h before the start to the end of their stay.

    `stay` (n, within the site), `item` (n), `second` (n, whole seconds since the start, rounded up, negative before
    it), `value` (n, NaN where there is none). `n_outside` counts the events left out.
    """

    first: int
    last: int
    stay: np.ndarray
    item: np.ndarray
    second: np.ndarray
    value: np.ndarray
    n_outside: int


def spans(site: Site) -> Iterator[Span]:
    """The events of a site, stay range after stay range, in no order within."""
    for first, last, rows in site.store.partitions():
        stay, since = rows["stay"], rows["micros"] - site.start[rows["stay"]]
        inside = (since >= -EDGE_HOURS * HOUR) & (since <= (site.end - site.start)[stay])
        # rounded up, so that nothing after a cut is ever counted before it
        second = -(-since[inside] // 1_000_000)
        yield Span(
            first,
            last,
            stay[inside],
            rows["item"][inside],
            second,
            rows["value"][inside],
            int(len(rows) - inside.sum()),
        )
