"""Learn a tokenizer from the source's training split."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np
import polars as pl

from ehrfm_core.clif.event_map import EventMap, StaticField
from ehrfm_core.clif.event_store import Item
from ehrfm_core.clif.site import Site
from ehrfm_core.errors import UserError
from ehrfm_core.parallel import in_order
from ehrfm_core.tokens import vocabulary as names
from ehrfm_core.tokens.settings import TokenSettings
from ehrfm_core.tokens.spans import by_number, span_of
from ehrfm_core.tokens.tokenizer import MISSING, UNKNOWN_DISCHARGE, Tokenizer, reference_ranges

MOST_VALUES = 30_000_000  # values held at a time (8 bytes each): more codes are fitted in further passes


def fit_tokenizer(site: Site, settings: TokenSettings, event_map: EventMap) -> Tokenizer:
    """Learn cut points and vocabulary from the stays whose `split` is train.

    Cut points are the quantiles 1/n … of a code's values within the stays, linearly interpolated; a code
    with no more distinct values than bins has one bin a value. Where doses come in several units, the cut
    points are in the unit that most values have. Raises UserError where no stay is in the training split.
    """
    train = (site.stays["split"] == "train").to_numpy()
    if not train.any():
        raise UserError("The source site has no stay in its training split; it needs at least one patient.")
    items = site.store.items
    n_events, n_values = (np.zeros(len(items), dtype=np.int64) for _ in range(2))
    ranges = reference_ranges() if settings.bins == "reference" else {}
    cut_points = {"age": cuts(site.stays.filter(train)["age"].to_numpy(), settings.n_bins)}
    units: dict[str, str] = {}
    for group in _groups(site):
        found = _read_values(site, train, group)
        n_events += found.n_events
        for code, places in group.items():
            values = {place: np.concatenate(found.values[place]) for place in places if found.values[place]}
            n_values[list(values)] = [len(own) for own in values.values()]
            if not values:
                continue
            unit = _main_unit(items, values)
            if unit:
                units[code] = unit
            if base_code(code) not in ranges:
                own = [v for place, v in values.items() if items[place].unit == unit]
                cut_points[code] = cuts(np.concatenate(own), settings.n_bins)
    codes = {items[place].code for place in np.flatnonzero(n_events)}
    valued = {items[place].code for place in np.flatnonzero(n_values)}
    reference = {code: ranges[base_code(code)] for code in sorted(valued) if base_code(code) in ranges}
    tokenizer = Tokenizer(settings, dict(sorted(cut_points.items())), {}, event_map, reference, units)
    answers = {(items[i].code, items[i].answer) for i in np.flatnonzero(n_events) if items[i].answer}
    static = _static_tokens(site.stays.filter(train), (*event_map.prefix, *event_map.suffix))
    return _with_vocabulary(tokenizer, codes, answers, static)


def cuts(values: np.ndarray, n_bins: int) -> list[float]:
    """Cut points of values (n), ascending.

    >>> cuts(np.array([1.0, 2.0, 3.0, 4.0, 5.0]), 2), cuts(np.array([3.0, 4.0, 3.0]), 10)
    ([3.0], [4.0])
    >>> cuts(np.array([7.0, 7.0]), 10)
    []
    """
    values = values + 0.0  # −0 is 0
    if len(np.unique(values[: 50 * n_bins])) <= n_bins:
        distinct = np.unique(values)
        if len(distinct) <= n_bins:
            return distinct[1:].tolist()
    return np.quantile(values, np.arange(1, n_bins) / n_bins).tolist()


@dataclass
class _Values:
    """Events by item, and pieces of values by item, of the training stays."""

    n_events: np.ndarray
    values: dict[int, list[np.ndarray]]


def _groups(site: Site) -> list[dict[str, list[int]]]:
    """Items by code, in groups of codes whose values surely fit into memory together."""
    by_code: dict[str, list[int]] = defaultdict(list)
    for place, item in enumerate(site.store.items):
        by_code[item.code].append(place)
    groups: list[dict[str, list[int]]] = [{}]
    held = 0
    for code, places in sorted(by_code.items()):
        n = int(site.store.n_by_item[places].sum())
        if held and held + n > MOST_VALUES:
            groups.append({})
            held = 0
        groups[-1][code] = places
        held += n
    return groups


def _read_values(site: Site, train: np.ndarray, group: dict[str, list[int]]) -> _Values:
    size = len(site.store.items)
    wanted = np.zeros(size, dtype=bool)
    wanted[[place for places in group.values() for place in places]] = True
    found = _Values(np.zeros(size, dtype=np.int64), defaultdict(list))

    def read(part: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        span = span_of(site, part)
        rows = np.flatnonzero(train[span.stay] & wanted[span.item])
        item, value = span.item[rows], span.value[rows]
        valued = np.flatnonzero(~np.isnan(value))
        order, begin = by_number(item[valued], size)
        return np.bincount(item, minlength=size), value[valued[order]], begin

    for n_events, value, begin in in_order(read, range(site.store.n_partitions)):
        found.n_events += n_events
        for place in np.flatnonzero(np.diff(begin)):
            found.values[int(place)].append(value[begin[place] : begin[place + 1]])
    return found


def _main_unit(items: list[Item], values: dict[int, np.ndarray]) -> str | None:
    """The unit that most values have; the first by name where two have as many."""
    counts: Counter[str | None] = Counter()
    for place, own in values.items():
        counts[items[place].unit] += len(own)
    return min(counts, key=lambda unit: (-counts[unit], unit or ""))


def base_code(code: str) -> str:
    """A code without what fine labs add to it.

    >>> base_code("lab/pt:plasma_blood:coags")
    'lab/pt'
    """
    return code.partition(":")[0]


def _static_tokens(stays: pl.DataFrame, fields: tuple[StaticField, ...]) -> set[str]:
    tokens = set()
    for item in fields:
        if item.family != names.AGE:
            found = stays[f"static_{item.family}"].fill_null(MISSING).unique()
            tokens |= {f"{item.family}/{text}" for text in found}
    return tokens


def _with_vocabulary(
    tokenizer: Tokenizer, codes: set[str], answers: set[tuple[str, str | None]], static: set[str]
) -> Tokenizer:
    settings = tokenizer.settings
    categories = static | {UNKNOWN_DISCHARGE}
    if settings.scheme == "fused":
        valued = {*tokenizer.cut_points, *tokenizer.reference} - {"age"}
        # bare codes as well: an event whose value is lost elsewhere is still known
        categories |= codes | {names.fuse(c, value) for c in valued for value in tokenizer.value_tokens(c)}
        categories |= {names.fuse(code, str(answer)) for code, answer in answers}
        categories |= {names.fuse("age/years", value) for value in tokenizer.value_tokens("age")}
    else:
        categories |= codes | {f"{names.ANSWER_FAMILY}/{answer}" for _, answer in answers}
    more = (
        *(names.REFERENCE if tokenizer.reference and settings.scheme == "paper" else ()),
        *(f"{names.SPACING_FAMILY}/{gap}" for gap in names.SPACINGS if settings.spacing),
    )
    n_bins = 0 if settings.scheme == "fused" else settings.n_bins
    vocabulary = names.build(categories, n_bins=n_bins, more=more)
    return Tokenizer(
        settings, tokenizer.cut_points, vocabulary, tokenizer.events, tokenizer.reference, tokenizer.units
    )
