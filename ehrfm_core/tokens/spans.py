"""Which events of a stay count, and at which second: shared by fitting and tokenizing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ehrfm_core.clif.site import Site
from ehrfm_core.cohort import EDGE_HOURS, HOUR

EDGE_SECONDS = EDGE_HOURS * 3600


@dataclass(frozen=True)
class Span:
    """Events of the stays `first` … `last` − 1 that lie from 24 h before the start to the end of their stay.

    `stay` (n, within the site), `item` (n), `second` (n, whole seconds since the start, rounded up,
    negative before it), `value` (n, NaN where there is none). `n_outside` counts the events left out.
    """

    first: int
    last: int
    stay: np.ndarray
    item: np.ndarray
    second: np.ndarray
    value: np.ndarray
    n_outside: int


def span_of(site: Site, part: int) -> Span:
    """The events of one partition of a site's stays, in no order."""
    stay, item, micros, value = site.store.partition(part)
    first, last = (int(bound) for bound in site.store.bounds[part : part + 2])
    since = micros - site.start[stay]
    inside = (since >= -EDGE_HOURS * HOUR) & (since <= (site.end - site.start)[stay])
    n_outside = len(inside) - int(np.count_nonzero(inside))
    if n_outside:
        stay, item, since, value = stay[inside], item[inside], since[inside], value[inside]
    # rounded up, so that nothing after a cut is ever counted before it
    return Span(first, last, stay, item, -(-since // 1_000_000), value, n_outside)


def by_number(numbers: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows in order of their number (0 … size − 1), and where each number begins (size + 1)."""
    small = numbers.astype(np.uint16 if size < 2**16 else np.uint32)
    order = np.argsort(small, kind="stable")
    return order, np.concatenate([[0], np.cumsum(np.bincount(numbers, minlength=size))])
