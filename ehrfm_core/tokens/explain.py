"""Which tokens an event becomes, and why; and a stay's timeline as a table."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

import numpy as np
import polars as pl

from ehrfm_core.clif.columns import category
from ehrfm_core.clif.event_map import EventSource
from ehrfm_core.clif.event_store import Item
from ehrfm_core.clif.source import DIGITS
from ehrfm_core.clif.units import base_unit
from ehrfm_core.errors import UserError
from ehrfm_core.tokens.categories import event_codes
from ehrfm_core.tokens.decode import decode
from ehrfm_core.tokens.kinds import Kinds
from ehrfm_core.tokens.tokenizer import Tokenizer
from ehrfm_core.tokens.vocabulary import REFERENCE, UNK, fuse
from ehrfm_core.tokens.weights import transition


@dataclass(frozen=True)
class Explanation:
    """One event of one source.

    The tokens it becomes with their ids, the reasons, a sentence each, and whether the vocabulary knows its
    code.
    """

    tokens: list[tuple[str, int]]
    reasons: list[str]
    known: bool


def explain(tokenizer: Tokenizer, text: str) -> list[Explanation]:
    """What an event becomes, for every source of the map that it fits.

    `text` is the table (or family), the code, and where there is one the value with its unit or the answer,
    as in `labs potassium 5.5`, `medication_admin_continuous norepinephrine 0.1 mcg/kg/min` or
    `patient_assessments cam_total Positive`. Raises UserError where no source of the map reads such a
    table.
    """
    words = text.split()
    if len(words) < 2:
        raise UserError(f"--explain {text!r}: give a table, a code and, where there is one, a value.")
    table, rest = words[0].lower().removeprefix("clif_"), words[1:]
    if table == "age":
        return [_explain_age(tokenizer, rest)]
    sources = [s for s in tokenizer.events.sources if table in (s.table, s.family)]
    if not sources:
        tables = dict.fromkeys(s.table for s in tokenizer.events.sources)
        raise UserError(f"--explain {text!r}: no event comes from {table!r}; tables are {', '.join(tables)}.")
    named = [s for s in sources if s.name is not None and s.name == rest[0].lower()]
    found = [
        _explain(tokenizer, source, code, tail)
        for source in named or sources
        if source.name is None or named
        for code, tail in _split(tokenizer, source, rest)
    ]
    known = [explanation for explanation in found if explanation.known]
    return known or found[:1]


def _explain(tokenizer: Tokenizer, source: EventSource, code: str, words: list[str]) -> Explanation:
    name = f"{source.family}/{code}"
    column = f"column {source.code}" if source.code else f"the entry {source.name}"
    only = "".join(f", where {f.column} {f.kind} {f.operand}" for f in source.where)
    reasons = [f"{name}: {column} of clif_{source.table}{only}, known at {source.times[0]}."]
    base = tokenizer.units.get(name)
    value = answer = None
    if source.value and words:
        value, unit = _value(words)
        if value is None and source.answer:
            answer = _spelled(" ".join(words), source.table, source.answer)
        elif value is None:
            reasons.append(f"{' '.join(words)!r} is no finite number: the event has no value.")
        elif base:
            value, reason = _converted(value, unit, base)
            reasons.append(reason)
    elif words:
        reasons.append(f"Values of {name} are not read.")
    kinds = Kinds(tokenizer, [Item(0, name, answer, base)])
    kind = int(kinds.of(np.array([0]), np.array([np.nan if value is None else value]))[0])
    ids = [int(i) for i in kinds.tokens[kind] if i >= 0]
    by_id = {i: token for token, i in tokenizer.vocabulary.items()}
    codes = _codes(tokenizer, source)
    known = code in codes
    if not known:
        near = difflib.get_close_matches(code, codes, n=3)
        hint = f" Near it: {', '.join(near)}." if near else ""
        reasons.append(f"{UNK}: the source's training split has no {name}.{hint}")
    elif value is not None:
        reasons.append(_bin_reason(tokenizer, name, value))
    elif answer and len(ids) == 1 and answer not in by_id[ids[0]]:
        reasons.append(f"The answer {answer!r} never occurs in the source's training split.")
    return Explanation([(by_id[i], i) for i in ids], reasons, known)


def _explain_age(tokenizer: Tokenizer, words: list[str]) -> Explanation:
    value, _ = _value(words)
    if value is None:
        raise UserError(f"--explain 'age {' '.join(words)}': the age must be a number of years.")
    index = int(np.searchsorted(tokenizer.cut_points["age"], value, side="right"))
    token = tokenizer.value_tokens("age")[index]
    if tokenizer.settings.scheme == "fused":
        token = fuse("age/years", token)
    return Explanation([(token, tokenizer.vocabulary[token])], [_bin_reason(tokenizer, "age", value)], True)


def _codes(tokenizer: Tokenizer, source: EventSource) -> set[str]:
    return {code.partition("/")[2] for code in event_codes(tokenizer) if code.startswith(f"{source.family}/")}


def _split(tokenizer: Tokenizer, source: EventSource, words: list[str]) -> list[tuple[str, list[str]]]:
    """Codes that the words begin with, and the words after them.

    The longest codes that are known, else the first word. With fine labs, `potassium` stands for each of
    its specimens and orders.
    """
    if source.name is not None:
        return [(source.name, words[1:])]
    codes = _codes(tokenizer, source)
    for size in range(len(words), 0, -1):
        typed = " ".join(words[:size])
        if typed in codes:  # in full, with specimen and order
            return [(typed, words[size:])]
        code = _spelled(typed, source.table, source.code or "")
        fitting = sorted(known for known in codes if code in (known, known.partition(":")[0]))
        if fitting:
            return [(known, words[size:]) for known in fitting]
    return [(_spelled(words[0], source.table, source.code or "") or "", words[1:])]


def _spelled(text: str, table: str, column: str) -> str | None:
    return pl.DataFrame({"text": [text]}).select(category(pl.col("text"), table, column)).item()


def _value(words: list[str]) -> tuple[float | None, str]:
    try:
        value = float(words[0]) if words else None
    except ValueError:
        return None, ""
    return (value if value is not None and np.isfinite(value) else None), " ".join(words[1:])


def _converted(value: float, unit: str, base: str) -> tuple[float | None, str]:
    if not unit:
        return value, f"The dose is taken to be in {base}, the unit of the cut points."
    known = base_unit(unit)
    if known is not None and transition(known[1], base):
        how = "divided" if transition(known[1], base) > 0 else "multiplied"
        return (
            None,
            f"{unit} is {how} by the last weight charted before it to give {base}: no bin without one.",
        )
    if known is None or known[1] != base:
        return (
            None,
            f"{unit} cannot be converted to {base}, the unit of the cut points: the event has no value.",
        )
    dose = float(f"{value * known[0]:.{DIGITS}g}")
    return dose, f"{value:g} {unit} is {dose:g} {base}, the unit of the cut points."


def _bin_reason(tokenizer: Tokenizer, code: str, value: float) -> str:
    tokens = tokenizer.value_tokens(code)
    if not tokens:
        return "The source's training split has no value of it: no value token."
    if code in tokenizer.reference:
        lower, upper = tokenizer.reference[code]
        place = REFERENCE[int(value >= lower) + int(value > upper)]
        return f"{place}: the reference range is {lower:g} to {upper:g}, both ends within."
    cuts = tokenizer.cut_points[code]
    if not cuts:
        return f"{tokens[0]}: the source's training split has one value of it only, so there is one bin."
    index = int(np.searchsorted(cuts, value, side="right"))
    line = " | ".join([*(f"{c:g}" for c in cuts[:index]), f"[{value:g}]", *(f"{c:g}" for c in cuts[index:])])
    return f"{tokens[index]}: {value:g} is at or above {index} of {len(cuts)} cut points: {line}"


def bin_range(tokenizer: Tokenizer, code: str, index: int) -> str:
    """The values that fall into a bin, for a reader.

    >>> from ehrfm_core.tokens.settings import TokenSettings
    >>> tokenizer = Tokenizer(TokenSettings(), {"lab/potassium": [3.9, 4.2]}, {})
    >>> [bin_range(tokenizer, "lab/potassium", i) for i in range(3)]
    ['< 3.9', '3.9 to < 4.2', '≥ 4.2']
    """
    if code in tokenizer.reference:
        lower, upper = tokenizer.reference[code]
        return (f"< {lower:g}", f"{lower:g} to {upper:g}", f"> {upper:g}")[index]
    cuts = tokenizer.cut_points.get(code, [])
    if not cuts:
        return ""
    if index == 0:
        return f"< {cuts[0]:g}"
    return f"≥ {cuts[-1]:g}" if index == len(cuts) else f"{cuts[index - 1]:g} to < {cuts[index]:g}"


def stay_table(tokenizer: Tokenizer, tokens: list[int], minutes: list[float]) -> pl.DataFrame:
    """One row an event of a timeline: hour, event (family/name), tokens, value (range of bin, or answer)."""
    rows = decode(tokens, minutes, tokenizer.vocabulary, age_position=tokenizer.age_position)
    events = rows.group_by("event", maintain_order=True).agg(
        (pl.col("minute").first() / 60).alias("hour"),
        pl.concat_str(pl.col("family").first(), pl.lit("/"), pl.col("name").first()).alias("name"),
        pl.col("family").first() == "special",
        pl.col("token").first().alias("first"),
        pl.col("token").str.join(" ").alias("tokens"),
        pl.col("bin").drop_nulls().last(),
        pl.col("answer").drop_nulls().last(),
    )
    shown = []
    for row in events.iter_rows(named=True):
        code = "age" if row["name"] == "age/age" or row["name"] == "age/years" else row["name"]
        value = row["answer"] or "" if row["bin"] is None else bin_range(tokenizer, code, row["bin"])
        name = row["first"] if row["family"] else code
        shown.append((row["hour"], name, row["tokens"], value))
    schema = {"hour": pl.Float64, "event": pl.String, "tokens": pl.String, "value": pl.String}
    return pl.DataFrame(shown, schema=schema, orient="row")
