"""The map from CLIF tables to events: which table, which column is the code, value and time, and which rows.

A map is a YAML file of data, never of code; the two that ship are `maps/paper.yaml` (the tables of the
paper) and `maps/all.yaml` (every CLIF 2.1 table that carries events). `maps/all.yaml` explains every key.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ehrfm_core.clif.yaml_file import read_yaml
from ehrfm_core.errors import UserError, brief
from ehrfm_core.typed import check_types

MAPS = Path(__file__).parent / "maps"
SHIPPED = ("paper", "all")
FAMILY = re.compile(r"[a-z][a-z0-9_]*")
FILTERS = ("equals", "one_of", "none_of", "at_least", "at_most", "present")
RESERVED = ("age", "answer", "time", "special")
TELL_THE_END = ("discharge_category", "discharge_name", "discharge_dttm", "death_dttm")
STATIC_TABLES = ("patient", "hospitalization")
LARGEST_NUMBER = 1e300


@dataclass(frozen=True)
class Filter:
    """Which rows count: `kind` is one of FILTERS, compared with `operand`; categories in CLIF 3.0's spelling.

    A row without a value passes `none_of` and `present: false` only.
    """

    column: str
    kind: str
    operand: Any


@dataclass(frozen=True)
class EventSource:
    """How columns of a CLIF table become events.

    The token is `family/code`, where the code stands in the column `code` or is the constant `name`.
    `times` are tried in order, the first that the table fills is used. `value` is a numeric column, `unit`
    the column of its unit, `answer` a categorical column used where the value is null. `detail` columns are
    added to the code in fine granularity. `key` is the id of the rows: hospitalization_id, or patient_id
    for rows that belong to whichever stay they fall into. `often_empty` sources have no code in many rows,
    which is nothing to tell.
    """

    table: str
    family: str
    times: tuple[str, ...]
    code: str | None = None
    name: str | None = None
    value: str | None = None
    unit: str | None = None
    answer: str | None = None
    detail: tuple[str, ...] = ()
    where: tuple[Filter, ...] = ()
    key: str = "hospitalization_id"
    often_empty: bool = False

    @property
    def categories(self) -> tuple[str, ...]:
        """Categorical columns that it reads, filters left out."""
        return tuple(c for c in (self.code, self.answer, *self.detail) if c)

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that it can read."""
        rest = (self.value, self.unit, *(f.column for f in self.where))
        return tuple(dict.fromkeys((self.key, *self.times, *self.categories, *(c for c in rest if c))))

    @property
    def required(self) -> tuple[str, ...]:
        """Columns without which the table cannot give these events: its id, its code and its value."""
        return tuple(c for c in (self.key, self.code, self.value) if c)


@dataclass(frozen=True)
class StaticField:
    """A category known from the start (`race`) or, in the suffix, at the end of a stay: table and column."""

    family: str
    table: str
    column: str


@dataclass(frozen=True)
class EventMap:
    """A map: its sources in the order of events that share a second, and the static tokens around them.

    `prefix` names the static families before the first event, in order, with `age` among them; `suffix` the
    one that tells how the stay ended.
    """

    name: str
    sources: tuple[EventSource, ...]
    prefix: tuple[StaticField, ...]
    suffix: tuple[StaticField, ...] = field(default=())

    @property
    def tables(self) -> tuple[str, ...]:
        """Tables that events come from."""
        return tuple(dict.fromkeys(source.table for source in self.sources))

    def to_json(self) -> dict[str, Any]:
        """A value for `tokenizer.json`, read back by `EventMap.from_json`."""
        return {
            "name": self.name,
            "prefix": [asdict(item) for item in self.prefix],
            "suffix": [asdict(item) for item in self.suffix],
            "sources": [_short(asdict(source)) for source in self.sources],
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> EventMap:
        """Read what `to_json` wrote; UserError where a part is missing or of another type."""
        try:
            sources = []
            for source in value["sources"]:
                plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in source.items()}
                where = tuple(Filter(**f) for f in source.get("where", ()))
                sources.append(EventSource(**plain | {"where": where}))
            prefix, suffix = (
                tuple(StaticField(**item) for item in value[key]) for key in ("prefix", "suffix")
            )
            found = cls(value["name"], tuple(sources), prefix, suffix)
            for part in (found, *sources, *prefix, *suffix, *(f for s in sources for f in s.where)):
                check_types(part)
            return found
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"The study's event map is not whole ({brief(error)}); run `python -m train tokenize` again."
            ) from None


def _short(source: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in source.items() if value not in (None, (), [], False)}


def load_map(name: str) -> EventMap:
    """A map that ships (`paper`, `all`), or one's own: the path of a YAML file.

    Raises UserError naming the file, the entry and what is wrong with it.
    """
    path = MAPS / f"{name}.yaml" if name in SHIPPED else Path(name)
    try:
        value = read_yaml(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise UserError(
            f"--events {name}: {reason}; give {' or '.join(SHIPPED)} or the path of a YAML file."
        ) from None
    return _parse(path, name if name in SHIPPED else path.stem, value)


def _parse(path: Path, name: str, value: Any) -> EventMap:
    if not isinstance(value, dict) or set(value) != {"format", "static", "events"} or value["format"] != 1:
        raise UserError(f"{path}: an event map holds `format: 1`, `static` and `events`, and nothing else.")
    static, events = value["static"], value["events"]
    if not isinstance(events, list) or not events:
        raise UserError(f"{path}: `events` must be a list with at least one entry.")
    lists = isinstance(static, dict) and all(isinstance(part or [], list) for part in static.values())
    if not lists or not set(static) <= {"prefix", "suffix"}:
        raise UserError(f"{path}: `static` holds `prefix` and `suffix`, each a list.")
    sources = tuple(_source(path, place, entry) for place, entry in enumerate(events, start=1))
    prefix, suffix = (
        tuple(_static(path, key, place, entry) for place, entry in enumerate(static.get(key) or (), start=1))
        for key in ("prefix", "suffix")
    )
    families = [item.family for item in (*prefix, *suffix)]
    if [item.family for item in suffix] != ["discharge"]:
        raise UserError(f"{path}: static `suffix` holds exactly one entry, of the family discharge.")
    shared = set(families) & {source.family for source in sources}
    if len(set(families)) < len(families) or shared:
        twice = next(iter(shared or {f for f in families if families.count(f) > 1}))
        raise UserError(f"{path}: the static family {twice!r} is used twice; give each a name of its own.")
    return EventMap(name, sources, prefix, suffix)


def _static(path: Path, part: str, place: int, entry: Any) -> StaticField:
    where = f"{path}: entry {place} of static {part}"
    keys = {"family", "table", "column"}
    if (
        not isinstance(entry, dict)
        or set(entry) != keys
        or not all(isinstance(v, str) for v in entry.values())
    ):
        raise UserError(f"{where} needs exactly `family`, `table` and `column`.")
    if entry["table"] not in STATIC_TABLES:
        raise UserError(f"{where}: `table` must be patient or hospitalization, not {entry['table']!r}.")
    if not FAMILY.fullmatch(entry["family"]) or (entry["family"] in RESERVED and entry["family"] != "age"):
        raise UserError(f"{where}: {entry['family']!r} cannot be a family; use lower-case letters and _.")
    if part == "prefix" and entry["column"] in TELL_THE_END:
        raise UserError(f"{where}: {entry['column']!r} tells how the stay ends; it cannot stand before it.")
    return StaticField(**entry)


def _source(path: Path, place: int, entry: Any) -> EventSource:
    where = f"{path}: entry {place} of events"
    if not isinstance(entry, dict):
        raise UserError(f"{where} is not a mapping of keys to columns.")
    known = {"table", "family", "time", *EventSource.__dataclass_fields__} - {"times"}
    unknown = sorted(set(entry) - known, key=str)
    if unknown:
        raise UserError(f"{where} has a key {unknown[0]!r}; known keys are {', '.join(sorted(known))}.")
    entry = dict(entry)
    times = entry.pop("time", None)
    times = [times] if isinstance(times, str) else times
    filters = filters_of(where, entry.pop("where", []))
    for key in ("often_empty",):
        if not isinstance(entry.get(key, False), bool):
            raise UserError(f"{where}: `{key}` must be true or false.")
    detail = entry.get("detail", [])
    entry["detail"] = tuple(texts_of(where, "detail", [detail] if isinstance(detail, str) else detail))
    for key in set(entry) - {"often_empty", "detail"}:
        if not isinstance(entry[key], str) or not entry[key]:
            raise UserError(f"{where}: `{key}` must be text, not {entry[key]!r}.")
    if not times or not {"table", "family"} <= set(entry):
        raise UserError(f"{where} lacks `{'time' if not times else 'table` or `family'}`.")
    source = EventSource(**entry, times=tuple(texts_of(where, "time", times)), where=filters)
    if (source.code is None) == (source.name is None):
        raise UserError(f"{where} needs either `code` (a column) or `name` (one code for all rows).")
    if source.name is not None and not (source.value or source.where):
        raise UserError(
            f"{where}: with `name`, give a `value` or a `where`, or every row would be this event."
        )
    if not FAMILY.fullmatch(source.family) or source.family in RESERVED:
        raise UserError(f"{where}: {source.family!r} cannot be a family; use lower-case letters and _.")
    if source.key not in ("hospitalization_id", "patient_id"):
        raise UserError(f"{where}: `key` must be hospitalization_id or patient_id, not {source.key!r}.")
    if source.unit and not source.value:
        raise UserError(f"{where}: `unit` needs a `value`.")
    return source


def texts_of(where: str, key: str, value: Any) -> list[str]:
    """A list of columns as YAML gives it; UserError, beginning with `where`, where it is none."""
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise UserError(f"{where}: `{key}` must be a column or a list of columns.")
    return value


def filters_of(where: str, value: Any) -> tuple[Filter, ...]:
    """Filters as YAML gives them, one or a list; UserError, beginning with `where`, where one is none."""
    entries = [value] if isinstance(value, dict) else value
    filters = []
    for entry in entries if isinstance(entries, list) else [{}]:
        if not isinstance(entry, dict):
            entry = {}
        kinds = [key for key in entry if key != "column"]
        if len(kinds) != 1 or kinds[0] not in FILTERS or not isinstance(entry.get("column"), str):
            raise UserError(f"{where}: a filter is `column` and one of {', '.join(FILTERS)}.")
        kind, operand = kinds[0], entry[kinds[0]]
        fits = {
            "equals": isinstance(operand, str | bool),
            "one_of": isinstance(operand, list) and all(isinstance(item, str) for item in operand),
            "none_of": isinstance(operand, list) and all(isinstance(item, str) for item in operand),
            "at_least": _is_number(operand),
            "at_most": _is_number(operand),
            "present": isinstance(operand, bool),
        }[kind]
        if not fits:
            raise UserError(f"{where}: the filter {kind} cannot be compared with {repr(operand)[:80]}.")
        filters.append(Filter(entry["column"], kind, operand))
    return tuple(filters)


def _is_number(value: Any) -> bool:
    """Whether values can be compared with it: finite, within what a Float64 holds, and not true or false."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST_NUMBER
