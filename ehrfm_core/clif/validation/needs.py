"""What a study reads of a CLIF directory, and which columns it cannot do without."""

from __future__ import annotations

from dataclasses import dataclass

from ehrfm_core.clif.event_map import EventMap, EventSource
from ehrfm_core.clif.tables import NEEDED, WATCHED
from ehrfm_core.clif.validation.report import Level
from ehrfm_core.clif.validation.schemas import Kind

ID, PATIENT = "hospitalization_id", "patient_id"
ADMISSION, DISCHARGE, AGE = "admission_dttm", "discharge_dttm", "age_at_admission"
STATIC_TABLES = ("hospitalization", "patient")
# what cohort and outcomes read whatever the event map says
COHORT_READS: dict[str, tuple[str, ...]] = {**NEEDED, **WATCHED}


@dataclass(frozen=True)
class Needs:
    """What one event map, together with cohort and outcomes, reads."""

    events: EventMap

    @property
    def tables(self) -> tuple[str, ...]:
        """Tables that should be there: the two of the stays, then those that events come from."""
        return tuple(dict.fromkeys((*STATIC_TABLES, *self.events.tables)))

    def uses(self, table: str) -> bool:
        """Whether a study reads a table, for events, the cohort or outcomes."""
        return table in self.tables or table in COHORT_READS

    def sources(self, table: str) -> list[EventSource]:
        """Entries of the event map that read a table."""
        return [source for source in self.events.sources if source.table == table]

    def statics(self, table: str) -> list[str]:
        """Columns of a table that become static tokens."""
        fields = (*self.events.prefix, *self.events.suffix)
        return [item.column for item in fields if item.table == table]

    def reads(self, table: str) -> list[str]:
        """Columns in use, in order."""
        columns = [*COHORT_READS.get(table, ()), *self.statics(table)]
        columns += [column for source in self.sources(table) for column in source.columns]
        return list(dict.fromkeys(columns))

    def needed(self, table: str) -> list[str]:
        """Columns that must be there. Times are left out: one of several is enough, see `times`.

        The value of an entry with a constant name (`fio2_set`) is not among them: without it only that one
        event is missing.
        """
        columns = [*COHORT_READS.get(table, ()), *self.statics(table)]
        for source in self.sources(table):
            columns += source.required if source.code else (source.key,)
        return list(dict.fromkeys(columns))

    def times(self, table: str) -> list[tuple[str, ...]]:
        """The choices of time of a table's entries."""
        return list(dict.fromkeys(source.times for source in self.sources(table)))

    def kinds(self, table: str) -> dict[str, Kind]:
        """How columns in use are read, which goes before the schema."""
        found: dict[str, Kind] = dict.fromkeys(self.statics(table), "text")
        for source in self.sources(table):
            found |= dict.fromkeys((*source.categories, *(item.column for item in source.where)), "text")
            found |= {source.unit: "text"} if source.unit else {}
        for source in self.sources(table):  # a number or a time for one entry is so for all
            found |= dict.fromkeys(source.times, "time")
            found |= {item.column: "number" for item in source.where if item.kind in ("at_least", "at_most")}
            found |= {source.value: "number"} if source.value else {}
            found |= {source.key: "id"}
        return found | {column: _kind(column) for column in COHORT_READS.get(table, ())}

    def level(self, table: str, column: str) -> Level:
        """How bad it is that a column cannot be read: an error where it is in use."""
        return "error" if column in self.reads(table) else "warning"


def _kind(column: str) -> Kind:
    """How cohort and outcomes read a column."""
    if column in (ID, PATIENT):
        return "id"
    if column == AGE:
        return "number"
    return "time" if column.endswith("_dttm") else "text"
