"""Categories: which values a column holds, which of them CLIF does not know, and of which version."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import polars as pl

from ehrfm_core.clif.columns import category
from ehrfm_core.clif.validation.needs import Needs
from ehrfm_core.clif.validation.opening import OpenTable
from ehrfm_core.clif.validation.report import Finding, Level, listed, of
from ehrfm_core.clif.validation.schemas import VERSIONS, known_categories


@dataclass(frozen=True)
class Values:
    """Values of a categorical column: frame with value (as written), spelled (as CLIF 3.0) and n (rows)."""

    column: str
    frame: pl.DataFrame

    @property
    def empty(self) -> int:
        """Rows without a category, blank text included."""
        return int(self.frame.filter(pl.col("spelled").is_null())["n"].sum())

    def written(self, spelled: Iterable[str | None]) -> list[str | None]:
        """How the site writes these categories."""
        wanted = pl.Series(list(spelled), dtype=pl.String)
        hit = pl.col("spelled").is_in(wanted.implode(), nulls_equal=True)
        return self.frame.filter(hit)["value"].to_list()


def read_values(table: OpenTable, needs: Needs) -> dict[str, Values]:
    """Values of the columns whose categories CLIF fixes or the event map reads, one pass over the table."""
    read = {c for source in needs.sources(table.name) for c in source.categories}
    read |= {item.column for source in needs.sources(table.name) for item in source.where}
    read |= set(needs.statics(table.name))
    wanted = [
        column
        for column, kind in table.kinds.items()
        if kind == "text" and (column in read or _permitted(table, column))
    ]
    queries = [
        table.frame.group_by(pl.col(column).alias("value")).agg(pl.len().alias("n")) for column in wanted
    ]
    found = {}
    for column, counted in zip(wanted, pl.collect_all(queries, engine="streaming"), strict=True):
        spelled = category(pl.col("value"), table.name, column).alias("spelled")
        found[column] = Values(column, counted.with_columns(spelled).sort("value"))
    return found


def _permitted(table: OpenTable, column: str) -> Mapping[str, frozenset[str]]:
    known = table.schema.columns.get(column)
    return known.permitted if known else {}


def check_categories(table: OpenTable, needs: Needs, values: Mapping[str, Values]) -> list[Finding]:
    """Categories that CLIF does not know, and rows without one."""
    if not table.rows:
        return []
    findings = []
    for column, found in values.items():
        findings += _unknown(table, needs, column, found)
        findings += _empty(table, needs, column, found)
    return findings


def _unknown(table: OpenTable, needs: Needs, column: str, found: Values) -> list[Finding]:
    permitted = _permitted(table, column)
    if not permitted:
        return []
    known = pl.Series(known_categories(table.name, column), dtype=pl.String)
    unknown = found.frame.filter(
        pl.col("spelled").is_not_null(), ~pl.col("spelled").is_in(known.implode())
    ).sort(["n", "value"], descending=[True, False])
    if unknown.is_empty():
        return []
    count, total = int(unknown["n"].sum()), int(found.frame["n"].sum()) - found.empty
    names = listed(f"{value!r} ({n:,})" for value, n in unknown.select("value", "n").iter_rows())
    read = {c for source in needs.sources(table.name) for c in source.categories}
    kept = ", or keep them if they are meant: they become codes of their own" if column in read else ""
    message = (
        f"{table.file}: {of(count, total)} values of {column} are not among CLIF's categories: {names}; "
        f"rename them{kept}."
    )
    return [Finding("warning", table.name, column, "unknown_category", count, total, message)]


def _empty(table: OpenTable, needs: Needs, column: str, found: Values) -> list[Finding]:
    count = found.empty
    codes = [source for source in needs.sources(table.name) if source.code == column]
    if not count or not (codes or column in needs.statics(table.name)):
        return []
    if (table.name, column) == ("hospitalization", "discharge_category") and count == table.rows:
        return []  # an outcome's matter, told there
    level: Level = "info"
    if any(not source.often_empty for source in codes):
        level = "error" if count == table.rows else "warning"
        consequence = "and are left out; fill it in"
    elif codes:
        consequence = "which is common and as it should be"
    else:
        consequence = "so that it is unknown there; fill it in where it can be known"
    message = f"{table.file}: {of(count, table.rows)} rows have no {column}, {consequence}."
    return [Finding(level, table.name, column, "null_category", count, table.rows, message)]


def version_votes(table: OpenTable, values: Mapping[str, Values]) -> Counter[str]:
    """How many values, as written, are in one version's schema and not in the other's."""
    votes: Counter[str] = Counter()
    for column, found in values.items():
        permitted = _permitted(table, column)
        if set(permitted) != set(VERSIONS):
            continue
        written = {value.strip() for value in found.frame["value"].drop_nulls().to_list()}
        for version, other in (VERSIONS, VERSIONS[::-1]):
            votes[version] += len(written & (permitted[version] - permitted[other]))
    return votes


def guess_version(votes: Counter[str]) -> str | None:
    """The version that more values speak for; None where they do not tell.

    >>> guess_version(Counter({"2.1": 9, "3.0": 1})), guess_version(Counter())
    ('2.1', None)
    """
    old, new = (votes[version] for version in VERSIONS)
    return None if old == new else VERSIONS[old < new]
