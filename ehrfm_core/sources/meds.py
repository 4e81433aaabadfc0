"""A MEDS dataset as a site: stays from admission and discharge codes, every other code an event.

MEDS (Medical Event Data Standard, https://github.com/Medical-Event-Data-Standard/meds) holds one row an
event in `data/**/*.parquet`: subject_id, time (without a zone, taken as UTC), code, numeric_value.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ehrfm_core.clif.columns import category
from ehrfm_core.clif.event_map import MAPS, EventMap
from ehrfm_core.clif.event_store import EventStore, Item
from ehrfm_core.clif.files import readable
from ehrfm_core.clif.lookup import Lookup
from ehrfm_core.clif.open_stays import OPEN
from ehrfm_core.clif.site import Progress, Site
from ehrfm_core.clif.tables import ID
from ehrfm_core.clif.yaml_file import read_yaml
from ehrfm_core.cohort import (
    EDGE_HOURS,
    HOUR,
    SPELLING,
    Watch,
    edges,
    finish_stays,
    leave_out,
)
from ehrfm_core.errors import UserError, brief
from ehrfm_core.parquet_size import check_size

ROLES = ("admission", "discharge", "death", "birth", "sex", "race", "ethnicity", "icu", "ventilation")
DESCRIBES = ROLES[:7]  # codes of these roles are no events
REQUIRED = ("subject_id", "time", "code", "numeric_value")
SEXES = {"m": "Male", "f": "Female"}
YEAR = 365.25 * 24  # hours


@dataclass(frozen=True)
class MedsDirectory:
    """A MEDS dataset on disk and the codes of its roles."""

    folder: Path
    parts: tuple[Path, ...]
    roles: dict[str, tuple[str, ...]]

    def scan(self) -> pl.LazyFrame:
        """Rows: subject (text), time (µs since 1970, UTC), code (text), value (Float64)."""
        frames = []
        for part in self.parts:
            time = pl.col("time").dt.epoch("us")
            frames.append(
                pl.scan_parquet(part, hive_partitioning=False, glob=False).select(
                    pl.col("subject_id").cast(pl.String).alias("subject"),
                    time.alias("time"),
                    pl.col("code").cast(pl.String),
                    pl.col("numeric_value").cast(pl.Float64).alias("value"),
                )
            )
        return pl.concat(frames)

    def of_role(self, role: str) -> pl.Expr:
        """Whether a code has a role."""
        return pl.any_horizontal(
            pl.lit(value=False),
            *((pl.col("code") == c) | pl.col("code").str.starts_with(f"{c}//") for c in self.roles[role]),
        )


def is_meds(folder: Path) -> bool:
    """Whether a folder looks like a MEDS dataset: parquet files below `data`, and no CLIF table beside it."""
    has_clif = any(path.name.lower().startswith("clif_") for path in folder.glob("*"))
    return not has_clif and next((folder / "data").rglob("*.parquet"), None) is not None


def open_meds(folder: Path, map_file: Path | None = None) -> MedsDirectory:
    """Find the files of a dataset and check their columns; `map_file` replaces `clif/maps/meds.yaml`.

    Raises UserError where a file is not readable or lacks a column, or the map is not one.
    """
    roles = _roles(map_file or MAPS / "meds.yaml")
    parts = tuple(sorted((folder / "data").rglob("*.parquet")))
    for part in parts:
        check_size(part)
        try:
            schema = pl.read_parquet_schema(part)
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
            raise UserError(
                f"{part} is not readable as parquet ({brief(error, 100)}); export it again."
            ) from None
        missing = [column for column in REQUIRED if column not in schema]
        if missing:
            raise UserError(f"{part}: column {missing[0]!r} is missing; MEDS needs {', '.join(REQUIRED)}.")
        if not isinstance(schema["time"], pl.Datetime):
            raise UserError(f"{part}: column 'time' is {schema['time']}, not a date and time; convert it.")
        if not schema["numeric_value"].is_numeric() and schema["numeric_value"] != pl.Null:
            raise UserError(f"{part}: column 'numeric_value' is {schema['numeric_value']}, not a number.")
    return MedsDirectory(folder, parts, roles)


def _roles(path: Path) -> dict[str, tuple[str, ...]]:
    try:
        value: Any = read_yaml(path)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} is not a readable YAML file ({' '.join(str(error).split())[:120]})."
        ) from None
    if not isinstance(value, dict) or set(value) != {"format", *ROLES} or value["format"] != 1:
        raise UserError(
            f"{path}: a MEDS map holds `format: 1` and a list of codes for each of {', '.join(ROLES)}."
        )
    for role in ROLES:
        codes = value[role]
        if not isinstance(codes, list) or not all(isinstance(code, str) and code for code in codes):
            raise UserError(f"{path}: `{role}` must be a list of codes.")
    for role in ("admission", "discharge", "birth"):
        if not value[role]:
            raise UserError(f"{path}: `{role}` needs at least one code.")
    return {role: tuple(value[role]) for role in ROLES}


def read_meds(
    directory: MedsDirectory,
    event_map: EventMap,
    scratch: Path,
    *,
    window_hours: float,
    progress: Progress | None = None,
) -> Site:
    """Read the cohort and the events of a MEDS dataset.

    A stay lasts from an admission to the subject's next discharge, before its next admission; its id is the
    subject's and a number. It ended in death where the subject died in it or within 24 h after. Age is in
    years of 365.25 days. An event belongs to the first stay that has not ended yet, at most 24 h before its
    admission. Raises UserError where no stay is found or none is left.
    """
    with readable(directory.folder / "data", directory.parts):
        return _read(directory, event_map, scratch, window_hours, progress)


def _read(
    directory: MedsDirectory,
    event_map: EventMap,
    scratch: Path,
    window_hours: float,
    progress: Progress | None,
) -> Site:
    stays, notes = _stays(directory, event_map, window_hours)
    length = (stays["discharge_time"] - stays["admission"]).dt.total_microseconds().to_numpy()
    watch = Watch(length)
    rows = int(directory.scan().select(pl.len()).collect().item())
    store = EventStore(stays.height, expected=rows, folder=scratch)
    not_numbers = _read_events(directory, stays, store, watch, progress)
    stays = finish_stays(stays, watch, window_hours=window_hours)
    if not stays["death"].any():
        notes.append("No code tells of a death within a stay or a day after: the outcome death is unknown.")
        stays = stays.with_columns(pl.lit(None, dtype=pl.Boolean).alias("death"))
    start, end = edges(watch)
    if not_numbers:
        notes.append(
            f"{not_numbers.total():,} values of numeric_value are no finite numbers; their events have none."
        )
    return Site(stays, store, start, end, notes, dict(not_numbers))


def _stays(
    directory: MedsDirectory, event_map: EventMap, window_hours: float
) -> tuple[pl.DataFrame, list[str]]:
    roles = [directory.of_role(role).alias(role) for role in DESCRIBES]
    told = directory.scan().with_columns(roles).filter(pl.any_horizontal(DESCRIBES)).collect()
    rest = category(pl.col("code").str.splitn("//", 2).struct.field("field_1"))
    told = told.with_columns(rest.alias("rest"))
    admissions = told.filter("admission", pl.col("time").is_not_null())
    admissions = admissions.sort("subject", "time", "rest").unique(["subject", "time"], keep="first")
    discharges = told.filter("discharge", pl.col("time").is_not_null()).sort("time", "rest")
    if admissions.is_empty() or discharges.is_empty():
        role = "admission" if admissions.is_empty() else "discharge"
        raise UserError(
            f"{directory.folder}: no row has a code of the role {role} ({', '.join(directory.roles[role])}); "
            "name its codes in a map of your own (--meds-map)."
        )
    stays = admissions.sort("subject", "time").select(
        "subject",
        pl.col("time").alias("from"),
        pl.col("rest").alias("static_admission"),
        pl.col("time").shift(-1).over("subject").alias("next"),
        pl.int_range(1, pl.len() + 1).over("subject").alias("number"),
    )
    stays = stays.sort("from").join_asof(
        discharges.select("subject", pl.col("time").alias("to"), pl.col("rest").alias("place")),
        left_on="from",
        right_on="to",
        by="subject",
        strategy="forward",
        check_sortedness=False,
    )
    read = stays.height
    stays = stays.filter(
        pl.col("to").is_not_null() & (pl.col("to") <= pl.col("next").fill_null(pl.col("to")))
    )
    whole = stays.height
    for role in ("birth", "death"):
        first = told.filter(role).group_by("subject").agg(pl.col("time").min().alias(role))
        stays = stays.join(first, on="subject", how="left")
    for role in ("sex", "race", "ethnicity"):
        ordered = told.filter(role).sort("time", "code", nulls_last=False)
        first = ordered.group_by("subject", maintain_order=True).agg(pl.col("rest").first().alias(role))
        stays = stays.join(first, on="subject", how="left")
    died = (pl.col("death") >= pl.col("from")) & (pl.col("death") <= pl.col("to") + EDGE_HOURS * HOUR)
    shown = SPELLING | SEXES
    stays = stays.select(
        pl.concat_str("subject", pl.lit("-"), "number").alias(ID),
        pl.col("subject").alias("patient_id"),
        pl.col("from").cast(pl.Datetime("us")).dt.replace_time_zone("UTC").alias("admission"),
        pl.col("to").cast(pl.Datetime("us")).dt.replace_time_zone("UTC").alias("discharge_time"),
        ((pl.col("from") - pl.col("birth")) / HOUR / YEAR).alias("age"),
        pl.when(died.fill_null(value=False))
        .then(pl.lit("expired"))
        .otherwise(pl.col("place"))
        .alias("discharge"),
        ((pl.col("to") - pl.col("from")) / HOUR).alias("los_hours"),
        pl.lit(value=False).alias(OPEN),
        *(pl.col(c).replace(shown).alias(c) for c in ("sex", "race", "ethnicity")),
        "static_admission",
    )
    known = {"admission", "age"}
    own = {family: category(pl.col(family)) for family in ("sex", "race", "ethnicity")}
    own["discharge"] = pl.col("discharge")
    fields = [f.family for f in (*event_map.prefix, *event_map.suffix) if f.family not in known]
    nothing = pl.lit(None, dtype=pl.String)
    stays = stays.with_columns(own.get(family, nothing).alias(f"static_{family}") for family in fields)
    stays, notes = leave_out(stays, directory.folder / "data", window_hours=window_hours)
    if whole < read:
        notes.append(
            f"{read - whole} of {read} admissions have no discharge before the next; they are left out."
        )
    return stays, notes


def _read_events(
    directory: MedsDirectory, stays: pl.DataFrame, store: EventStore, watch: Watch, progress: Progress | None
) -> Counter[str]:
    """Add the events to the store; values that are no finite numbers, by code."""
    subjects = (
        stays.select(pl.col("patient_id").alias("subject")).unique().sort("subject").with_row_index("row")
    )
    admission = stays["admission"].to_physical().to_numpy()
    ends = stays.select(pl.col("patient_id").alias("subject")).join(
        subjects, on="subject", how="left", maintain_order="left"
    )
    keys = _key(ends["row"].to_numpy(), admission + watch.length)
    order = np.argsort(keys)
    keys, owner = keys[order], ends["row"].to_numpy()[order]
    not_numbers: Counter[str] = Counter()

    def resolve(texts: list[str]) -> list[int]:
        frame = pl.DataFrame({"code": texts})
        told = frame.select(pl.any_horizontal(directory.of_role(role) for role in DESCRIBES)).to_series()
        codes = [_code(text) for text in texts]
        return [
            -1 if skip or code is None else store.place(Item(0, code))
            for code, skip in zip(codes, told, strict=True)
        ]

    item_of = Lookup(resolve, empty=-1)
    hits = {
        name: Lookup(_role_test(directory, role), empty=0)
        for name, role in (("icu", "icu"), ("imv", "ventilation"))
    }
    frame = directory.scan().drop_nulls(["subject", "time", "code"]).join(subjects.lazy(), on="subject")
    query = frame.select("row", "time", pl.col("code").cast(pl.Categorical), "value")
    for batch in query.collect_batches(maintain_order=False, engine="streaming"):
        row, time = batch["row"].to_numpy(), batch["time"].to_numpy()
        place = np.minimum(np.searchsorted(keys, _key(row, time)), len(keys) - 1)
        stay = order[place]
        micros = time - admission[stay]
        own = (owner[place] == row) & (micros >= -EDGE_HOURS * HOUR) & (micros <= watch.length[stay])
        for name, test in hits.items():
            hit = test(batch["code"]).astype(bool) & own
            if hit.any():
                watch.outcome(name, stay[hit], micros[hit], np.ones(hit.sum(), dtype=bool))
                watch.seen[name][:] = True  # the dataset tells it: a stay without it had none
        item = item_of(batch["code"])
        rows = np.flatnonzero(own & (item >= 0))
        value = batch["value"].to_numpy()[rows]
        bad = ~np.isfinite(value) & batch["value"].is_not_null().to_numpy()[rows]
        for number, n in zip(*np.unique(item[rows][bad], return_counts=True), strict=True):
            not_numbers[store.items[number].code] += int(n)
        value = np.where(np.isfinite(value), value, np.nan)
        store.add(stay[rows], item[rows], micros[rows], value)
        if progress:
            progress(store.n_events, store.expected)
    return not_numbers


def _key(row: np.ndarray, micros: np.ndarray) -> np.ndarray:
    """Subject and second as one integer that sorts by both."""
    return (row.astype(np.int64) << 36) | (micros // 1_000_000 + (1 << 35))


def _role_test(directory: MedsDirectory, role: str) -> Callable[[list[str]], list[int]]:
    def resolve(texts: list[str]) -> list[int]:
        return (
            pl.DataFrame({"code": texts}).select(directory.of_role(role)).to_series().cast(pl.Int8).to_list()
        )

    return resolve


def _code(text: str) -> str | None:
    """The code of an event as family/name.

    >>> _code("LAB//50971//mEq/L"), _code("Heart Rate")
    ('lab/50971_meq_or_l', 'code/heart_rate')
    """
    head, slashes, rest = text.partition("//")
    frame = pl.DataFrame(
        {"text": [head if slashes else "code", rest.replace("//", "_") if slashes else text]}
    )
    family, name = frame.select(category(pl.col("text"))).to_series()
    return f"{family}/{name}" if family and name else None
