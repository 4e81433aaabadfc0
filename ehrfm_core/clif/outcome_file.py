"""A user's own outcomes: a YAML file that says from which events or which table they are read.

    format: 1
    outcomes:
      - name: vasopressor
        label: Vasopressor after 24 h
        table: medication_admin_continuous      # events of a CLIF table …
        time: admin_dttm
        where: {column: med_group, equals: vasoactives}
      - name: hyperkalaemia
        label: Potassium of 6.0 or more after 24 h
        table: labs
        time: [lab_result_dttm, lab_collect_dttm]
        among: {column: lab_category, equals: potassium}    # a stay without such a row is not known
        where: {column: lab_value_numeric, at_least: 6.0}
      - name: sepsis
        label: Sepsis after 24 h
        file: outcomes                           # … or outcomes.parquet or .csv in the site's folder
        unlisted: unknown                        # stays without a row: `no` event, or `unknown`

Filters are those of an event map (`event_map.py`). An outcome counts for stays with no event in the window.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ehrfm_core.clif.event_map import Filter, filters_of, texts_of
from ehrfm_core.clif.yaml_file import read_yaml
from ehrfm_core.errors import UserError, brief
from ehrfm_core.outcomes import OUTCOMES, early
from ehrfm_core.typed import check_types

NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")
FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,60}")  # a plain name: nothing outside the site's folder
UNLISTED = ("unknown", "no")
LABEL, DEFINITION = 40, 300  # characters
MARKUP = re.compile(r"[<`*_\[\]{}#$|~\\]")  # of pages and charts, where a label stands as it is
KEYS = {"name", "label", "definition", "table", "time", "where", "among", "file", "unlisted"}
# columns of stays and what is made of them, which an outcome may not be called
TAKEN = {
    *(
        "hospitalization_id",
        "patient_id",
        "split",
        "age",
        "sex",
        "race",
        "ethnicity",
        "los_hours",
        "n_tokens",
    ),
    *("start", "end", "admission", "discharge", "discharge_time", "counts", "hour", "outlier", "label"),
    *OUTCOMES,
    *(early(name) for name in OUTCOMES),
}


@dataclass(frozen=True)
class OwnOutcome:
    """One outcome of the user's own.

    Of a CLIF `table`: the event is the first row that passes `where` and `among`; `times` are tried in
    order; with `among`, a stay without a row that passes it is not known. Of a `file` in the site's folder
    (hospitalization_id, outcome, event_time): a stay without a row has no event where `unlisted` is "no",
    and is not known where it is "unknown".
    """

    name: str
    label: str
    definition: str
    table: str | None = None
    times: tuple[str, ...] = ()
    where: tuple[Filter, ...] = ()
    among: tuple[Filter, ...] = ()
    file: str | None = None
    unlisted: str = "unknown"

    @property
    def filters(self) -> tuple[Filter, ...]:
        """All of them."""
        return (*self.among, *self.where)

    def to_json(self) -> dict[str, Any]:
        """A value for `study.json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> OwnOutcome:
        """Read what `to_json` wrote; UserError where a part is missing or another."""
        try:
            filters = {key: tuple(Filter(**f) for f in value[key]) for key in ("where", "among")}
            own = cls(**value | filters | {"times": tuple(value["times"])})
            for part in (own, *own.filters):
                check_types(part)
            return own
        except (KeyError, TypeError) as error:
            raise UserError(
                f"study.json: an outcome is not whole ({brief(error)}); give --outcomes with its file again."
            ) from None


def load_outcomes(path: Path) -> tuple[OwnOutcome, ...]:
    """The outcomes that a YAML file defines; UserError naming the file, the entry and what is wrong."""
    try:
        value = read_yaml(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise UserError(
            f"--outcomes {path}: {reason}; give the path of a YAML file, or `none` for the paper's alone."
        ) from None
    if not isinstance(value, dict) or set(value) != {"format", "outcomes"} or value["format"] != 1:
        raise UserError(f"{path}: a file of outcomes holds `format: 1` and `outcomes`, and nothing else.")
    if not isinstance(value["outcomes"], list) or not value["outcomes"]:
        raise UserError(f"{path}: `outcomes` must be a list with at least one entry.")
    found = tuple(_entry(path, place, entry) for place, entry in enumerate(value["outcomes"], start=1))
    names = [own.name for own in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"{path}: two outcomes are called {twice!r}; give each a name of its own.")
    return found


def _entry(path: Path, place: int, entry: Any) -> OwnOutcome:
    where = f"{path}: entry {place} of outcomes"
    if not isinstance(entry, dict):
        raise UserError(f"{where} is not a mapping of keys.")
    if unknown := sorted(set(entry) - KEYS, key=str):
        raise UserError(f"{where} has a key {unknown[0]!r}; known keys are {', '.join(sorted(KEYS))}.")
    for key in ("name", "label"):
        if not isinstance(entry.get(key), str) or not entry[key].strip():
            raise UserError(f"{where} needs a `{key}`.")
    name = entry["name"]
    if not NAME.fullmatch(name) or name in TAKEN or name.endswith("_24h"):
        raise UserError(
            f"{where}: {name!r} cannot be a name; use up to 31 lower-case letters, digits and _, and none "
            "that a column of stays has."
        )
    if ("table" in entry) == ("file" in entry):
        raise UserError(f"{where} needs either `table` (of CLIF) or `file` (in each site's folder).")
    label = _text(where, "label", entry["label"], LABEL)
    definition = entry.get("definition")
    definition = None if definition is None else _text(where, "definition", definition, DEFINITION)
    if "file" in entry:
        return _of_file(where, entry, name, label, definition)
    return _of_table(where, entry, name, label, definition)


def _text(where: str, key: str, value: Any, longest: int) -> str:
    """Text for the screen, on one line."""
    if not isinstance(value, str) or len(value) > longest or not value.strip():
        raise UserError(f"{where}: `{key}` must be text of up to {longest} characters.")
    if key == "label" and (mark := MARKUP.search(value)):
        raise UserError(f"{where}: `label` stands in charts and pages as it is; leave out the {mark[0]!r}.")
    return " ".join(value.split())


def _of_file(where: str, entry: dict[str, Any], name: str, label: str, definition: str | None) -> OwnOutcome:
    if wrong := sorted(set(entry) & {"time", "where", "among"}):
        raise UserError(f"{where}: `{wrong[0]}` goes with `table`, not with `file`.")
    file, unlisted = entry["file"], entry.get("unlisted", "unknown")
    unlisted = "no" if unlisted is False else unlisted  # YAML 1.1 reads a bare `no` as false
    if not isinstance(file, str) or not FILE.fullmatch(file):
        raise UserError(
            f"{where}: `file` must be the name of a file in the site's folder, without its ending."
        )
    if unlisted not in UNLISTED:
        raise UserError(f"{where}: `unlisted` must be unknown or no, not {unlisted!r}.")
    told = definition or f"As listed in {file}, among stays with no event in the window."
    return OwnOutcome(name, label, told, file=file, unlisted=unlisted)


def _of_table(where: str, entry: dict[str, Any], name: str, label: str, definition: str | None) -> OwnOutcome:
    if "unlisted" in entry:
        raise UserError(f"{where}: `unlisted` goes with `file`; for a table, `among` says who is known.")
    table, times = entry["table"], entry.get("time")
    if not isinstance(table, str) or not FILE.fullmatch(table):
        raise UserError(f"{where}: `table` must be the name of a CLIF table, such as labs.")
    if not times or "where" not in entry:
        raise UserError(f"{where} lacks `{'where' if times else 'time'}`.")
    times = texts_of(where, "time", [times] if isinstance(times, str) else times)
    tests = filters_of(where, entry["where"])
    among = filters_of(where, entry.get("among", []))
    if not tests:
        raise UserError(f"{where}: `where` is empty, so every row of {table} would be the event.")
    told = definition or f"First {_told((*among, *tests))} in {table}, among stays with none in the window."
    return OwnOutcome(name, label, told, table, tuple(times), tests, among)


def _told(filters: Sequence[Filter]) -> str:
    """Filters in words.

    >>> _told((Filter("lab_category", "equals", "potassium"), Filter("lab_value_numeric", "at_least", 6.0)))
    'lab_category potassium, lab_value_numeric at least 6.0'
    """
    words = {"equals": "", "one_of": "", "none_of": "not ", "at_least": "at least ", "at_most": "at most "}
    parts = []
    for test in filters:
        if test.kind == "present":
            parts.append(f"{test.column} {'filled' if test.operand else 'empty'}")
            continue
        operand = " or ".join(test.operand) if isinstance(test.operand, list) else str(test.operand)
        parts.append(f"{test.column} {words[test.kind]}{operand}")
    return ", ".join(parts)
