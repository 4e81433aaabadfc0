"""Learn a tokenizer from the source's training split."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import polars as pl

from ehrfm_core.clif.event_map import EventMap, StaticField
from ehrfm_core.clif.event_store import Item
from ehrfm_core.clif.site import Site
from ehrfm_core.errors import UserError
from ehrfm_core.tokens import vocabulary as names
from ehrfm_core.tokens.settings import TokenSettings
from ehrfm_core.tokens.spans import spans
from ehrfm_core.tokens.tokenizer import MISSING, UNKNOWN_DISCHARGE, Tokenizer, reference_ranges

MOST_VALUES = 30_000_000  # values held at a time (8 bytes each): more codes are fitted in further passes


def fit_tokenizer(site: Site, settings: TokenSettings, event_map: EventMap) -> Tokenizer:
    """Learn cut points and vocabulary from the stays whose `split` is train.

    Cut points are the quantiles 1/n … of a code's values within the stays, linearly interpolated; a code with no more
    distinct values than bins has one bin a value. Where doses come in several units, the cut points are in the
    unit that most values have. Raises UserError where no stay is in the training split.
    """
    train = (site.stays["split"] == "train").to_numpy()
    if not train.any():
        raise UserError("The source site has no stay in its training split; it needs at least one patient.")
    n_events, n_values = _count(site, train)
    items = site.store.items
    codes = {items[place].code for place in np.flatnonzero(n_events)}
    units = _units(items, n_values)
    values = defaultdict(list)
    for place in np.flatnonzero(n_values):
        if items[place].unit == units.get(items[place].code):
            values[items[place].code].append(place)
    reference = {}
    if settings.bins == "reference":
        reference = {code: ends for code, ends in reference_ranges().items() if code in values}
    cut_points = {"age": cuts(site.stays.filter(train)["age"].to_numpy(), settings.n_bins)}
    wanted = {code: places for code, places in sorted(values.items()) if code not in reference}
    for group in _groups(wanted, n_values):
        cut_points |= _fit_group(site, train, group, settings.n_bins)
    units = {code: unit for code, unit in units.items() if code in values and unit}
    tokenizer = Tokenizer(settings, cut_points, {}, event_map, reference, units)
    answers = {(items[i].code, items[i].answer) for i in np.flatnonzero(n_events) if items[i].answer}
    bare = {items[i].code for i in np.flatnonzero(n_events > n_values) if not items[i].answer}
    static = _static_tokens(site.stays.filter(train), (*event_map.prefix, *event_map.suffix))
    return _with_vocabulary(tokenizer, codes, answers, bare, static)


def cuts(values: np.ndarray, n_bins: int) -> list[float]:
    """Cut points of values (n), ascending.

    >>> cuts(np.array([1.0, 2.0, 3.0, 4.0, 5.0]), 2), cuts(np.array([3.0, 4.0, 3.0]), 10), cuts(np.array([7.0]), 10)
    ([3.0], [4.0], [])
    """
    values = values + 0.0  # −0 is 0
    if len(np.unique(values[: 50 * n_bins])) <= n_bins:
        distinct = np.unique(values)
        if len(distinct) <= n_bins:
            return distinct[1:].tolist()
    return np.quantile(values, np.arange(1, n_bins) / n_bins).tolist()


def _count(site: Site, train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Events and values of training stays, by item."""
    size = len(site.store.items)
    n_events, n_values = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64)
    for span in spans(site):
        own = train[span.stay]
        n_events += np.bincount(span.item[own], minlength=size)
        n_values += np.bincount(span.item[own & ~np.isnan(span.value)], minlength=size)
    return n_events, n_values


def _units(items: list[Item], n_values: np.ndarray) -> dict[str, str | None]:
    """For each code the unit that most of its values have; the first by name where two have as many."""
    by_code: dict[str, dict[str | None, int]] = defaultdict(dict)
    for item, n in zip(items, n_values.tolist(), strict=True):
        if n:
            by_code[item.code][item.unit] = by_code[item.code].get(item.unit, 0) + n
    return {code: min(units, key=lambda unit: (-units[unit], unit or "")) for code, units in by_code.items()}


def _groups(values: dict[str, list[int]], n_values: np.ndarray) -> list[dict[str, list[int]]]:
    """Codes in groups whose values fit into memory together."""
    groups: list[dict[str, list[int]]] = []
    held = MOST_VALUES + 1
    for code, places in values.items():
        n = int(n_values[places].sum())
        if held + n > MOST_VALUES:
            groups.append({})
            held = 0
        groups[-1][code] = places
        held += n
    return groups


def _fit_group(
    site: Site, train: np.ndarray, group: dict[str, list[int]], n_bins: int
) -> dict[str, list[float]]:
    code_of = np.full(len(site.store.items), -1, dtype=np.int32)
    for number, places in enumerate(group.values()):
        code_of[places] = number
    pieces: list[list[np.ndarray]] = [[] for _ in group]
    for span in spans(site):
        code = code_of[span.item]
        rows = np.flatnonzero((code >= 0) & train[span.stay] & ~np.isnan(span.value))
        rows = rows[np.argsort(code[rows].astype(np.uint32), kind="stable")]
        edges = np.searchsorted(code[rows], np.arange(len(group) + 1))
        value = span.value[rows]
        for number in np.flatnonzero(np.diff(edges)):
            pieces[number].append(value[edges[number] : edges[number + 1]])
    return {code: cuts(np.concatenate(own), n_bins) for code, own in zip(group, pieces, strict=True)}


def _static_tokens(stays: pl.DataFrame, fields: tuple[StaticField, ...]) -> set[str]:
    tokens = set()
    for item in fields:
        if item.family != names.AGE:
            found = stays[f"static_{item.family}"].fill_null(MISSING).unique()
            tokens |= {f"{item.family}/{text}" for text in found}
    return tokens


def _with_vocabulary(
    tokenizer: Tokenizer, codes: set[str], answers: set[tuple[str, str | None]], bare: set[str], static: set[str]
) -> Tokenizer:
    settings = tokenizer.settings
    categories = static | {UNKNOWN_DISCHARGE}
    if settings.scheme == "fused":
        valued = {*tokenizer.cut_points, *tokenizer.reference} - {"age"}
        categories |= bare | {names.fuse(c, value) for c in valued for value in tokenizer.value_tokens(c)}
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
