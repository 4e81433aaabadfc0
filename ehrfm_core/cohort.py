"""Which stays, when they start and end, how they ended, and which split they belong to."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from ehrfm_core.clif.columns import category
from ehrfm_core.clif.event_map import EventMap
from ehrfm_core.clif.open_stays import OPEN, hide_unknown, with_observed_end
from ehrfm_core.clif.tables import ID, ClifDirectory
from ehrfm_core.errors import UserError
from ehrfm_core.outcomes import LONG_STAY_HOURS, WINDOW_HOURS

ADULT_YEARS, OLDEST_YEARS = 18, 130
EDGE_HOURS = 24  # charting this long before admission or after discharge still belongs to the stay
HOUR = 3_600_000_000  # µs
SPLITS = ("train", "tuning", "test")

# How demographic categories are shown, by CLIF 3.0's spelling: sites that write them in different case
# speak of the same thing
SPELLING = {
    name.lower().replace(" ", "_").replace("-", "_"): name
    for name in (
        *("Female", "Male", "Unknown", "Other", "Hispanic", "Non-Hispanic"),
        *("American Indian or Alaska Native", "Asian", "Black or African American", "White"),
        "Native Hawaiian or Other Pacific Islander",
    )
}


@dataclass(frozen=True)
class SplitFractions:
    """Shares of patients in train, tuning and test. Defaults of the paper: source, then target sites."""

    train: float
    tuning: float
    test: float


SOURCE_SPLIT = SplitFractions(0.7, 0.1, 0.2)
TARGET_SPLIT = SplitFractions(0.05, 0.05, 0.9)


@dataclass
class Watch:
    """What the pass over the tables sees of each stay of the cohort (n stays), in µs since admission.

    `first` and `last` vital within a day of the stay; `seen[name]`: whether a table that tells an outcome
    has any row of the stay; `hits[name]`: stays and times of rows that are the outcome.
    """

    length: np.ndarray  # discharge − admission
    first: np.ndarray = field(init=False)
    last: np.ndarray = field(init=False)
    seen: dict[str, np.ndarray] = field(default_factory=dict)
    hits: dict[str, list[tuple[np.ndarray, np.ndarray]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        far = np.iinfo(np.int64).max
        self.first = np.full(len(self.length), far)
        self.last = np.full(len(self.length), -far)

    def vitals(self, stay: np.ndarray, micros: np.ndarray) -> None:
        """Take times of vitals (n): those within a day of their stay may move its edges."""
        near = self._near(stay, micros, before=EDGE_HOURS)
        np.minimum.at(self.first, stay[near], micros[near])
        np.maximum.at(self.last, stay[near], micros[near])

    def outcome(self, name: str, stay: np.ndarray, micros: np.ndarray, hit: np.ndarray) -> None:
        """Take rows (n) of the table that tells an outcome; `hit` marks those that are it."""
        near = self._near(stay, micros, before=2 * EDGE_HOURS)
        seen = self.seen.setdefault(name, np.zeros(len(self.length), dtype=bool))
        seen[stay[near]] = True
        hit = near & hit
        self.hits.setdefault(name, []).append((stay[hit], micros[hit]))

    def _near(self, stay: np.ndarray, micros: np.ndarray, *, before: int) -> np.ndarray:
        return (micros >= -before * HOUR) & (micros <= self.length[stay] + EDGE_HOURS * HOUR)


def read_hospitalizations(
    directory: ClifDirectory, event_map: EventMap, *, window_hours: float = WINDOW_HOURS
) -> tuple[pl.DataFrame, pl.DataFrame, list[str]]:
    """Stays of adults that last at least the window, every known id, and notes on what was left out.

    Stays, sorted by id: hospitalization_id, patient_id, admission and discharge_time (UTC), age (years), sex,
    race, ethnicity, discharge, los_hours, and `static_x` for each static family x of the map, in CLIF 3.0's
    spelling; `open` where the end of the stay is not known (`clif.open_stays`), discharge_time and los_hours
    then tell up to when it has been seen. Raises UserError on repeated ids and where no stay is left.
    """
    stays = _hospitalizations(directory, event_map)
    patients = _patients(directory, event_map)
    everybody = stays.select(ID, "patient_id", "admission", "discharge_time")
    read, path = stays.height, directory.path("hospitalization")
    if not read:
        raise UserError(f"{path} has no row with a hospitalization_id.")
    if patients.height and not stays["patient_id"].is_in(patients["patient_id"].implode()).any():
        theirs, ours = patients["patient_id"][0], stays["patient_id"].drop_nulls().first()
        raise UserError(
            f"{directory.path('patient')}: none of {patients.height} values of 'patient_id' is in "
            f"{path.name} ({theirs!r} here, {ours!r} there); use one form."
        )
    stays = with_observed_end(stays.join(patients, on="patient_id", how="left"), directory)
    hours = (pl.col("discharge_time") - pl.col("admission")).dt.total_microseconds() / HOUR
    stays, notes = leave_out(stays.with_columns(hours.alias("los_hours")), path, window_hours=window_hours)
    return stays, everybody, notes


def leave_out(
    stays: pl.DataFrame, path: Path, *, window_hours: float = WINDOW_HOURS
) -> tuple[pl.DataFrame, list[str]]:
    """The stays of adults that last at least the window, sorted by id, and notes on those left out or open.

    Raises UserError, naming `path`, where none is left.
    """
    read = stays.height
    whole = pl.col("patient_id").is_not_null() & (pl.col("los_hours") >= 0) & pl.col("age").is_finite()
    broken = stays.select((~whole.fill_null(value=False)).sum()).item()
    adult = pl.col("age").is_between(ADULT_YEARS, OLDEST_YEARS)
    stays = stays.filter(whole & (pl.col("los_hours") >= window_hours) & adult).sort(ID)
    if stays.is_empty():
        raise UserError(
            f"{path}: none of {read} stays is of an adult and lasts {window_hours:g} h or more; check "
            "patients, ages, admissions and discharges."
        )
    notes = [
        f"{stays.height} of {read} stays are of adults and last {window_hours:g} h or more"
        + ("." if stays.height == read else "; the others are left out.")
    ]
    if broken:
        notes.append(
            f"{broken} stays lack a patient, an age, an admission or a discharge, or end before they begin; "
            "they are left out."
        )
    if n_open := int(stays[OPEN].sum()):
        notes.append(
            f"{n_open} stays have not ended, or nobody knows when: their length and what comes after the "
            "window are unknown, and so is in-hospital death where they are still admitted."
        )
    return stays, notes


def finish_stays(stays: pl.DataFrame, watch: Watch, *, window_hours: float = WINDOW_HOURS) -> pl.DataFrame:
    """Add start and end (UTC), death, long_los, icu, imv, icu_24h and imv_24h to the stays.

    Start is the earlier of admission and first vital, end the later of discharge and last vital, as in the
    paper; vitals more than 24 h outside the stay are taken for mistakes. The length of stay is discharge −
    admission. icu and imv are null where the site has no row that could tell; so is icu in a stay without
    any row in adt, since every stay is somewhere. icu_24h and imv_24h tell of the window, whatever its
    length. Of a stay with `open` what its end alone can tell is null (`clif.open_stays.hide_unknown`).
    """
    start, end = edges(watch)
    stays = stays.with_columns(
        (pl.col("admission") + pl.Series(start).cast(pl.Duration("us"))).alias("start"),
        (pl.col("admission") + pl.Series(end).cast(pl.Duration("us"))).alias("end"),
        (pl.col("discharge") == "expired").alias("death"),
        (pl.col("los_hours") > LONG_STAY_HOURS).alias("long_los"),
    )
    for name in ("icu", "imv"):
        ever, early = _ever(watch, name, start, end, window_hours)
        unknown = pl.Series(~watch.seen.get(name, np.zeros(stays.height, dtype=bool)))
        if name == "imv" and not unknown.all():
            unknown = pl.repeat(value=False, n=stays.height, eager=True)
        stays = stays.with_columns(
            pl.when(~unknown).then(pl.Series(ever)).alias(name),
            pl.when(~unknown).then(pl.Series(early)).alias(f"{name}_24h"),
        )
    return hide_unknown(stays)


def edges(watch: Watch) -> tuple[np.ndarray, np.ndarray]:
    """Start and end of each stay in µs since admission (n)."""
    return np.minimum(watch.first, 0), np.maximum(watch.last, watch.length)


def _ever(
    watch: Watch, name: str, start: np.ndarray, end: np.ndarray, window_hours: float
) -> tuple[np.ndarray, np.ndarray]:
    """Whether a stay has the outcome at all, and already within the window."""
    ever, early = (np.zeros(len(watch.length), dtype=bool) for _ in range(2))
    for stay, micros in watch.hits.get(name, []):
        inside = (micros >= start[stay] - EDGE_HOURS * HOUR) & (micros <= end[stay])
        ever[stay[inside]] = True
        early[stay[inside & (micros <= start[stay] + window_hours * HOUR)]] = True
    return ever, early


def _hospitalizations(directory: ClifDirectory, event_map: EventMap) -> pl.DataFrame:
    static = _static(event_map, "hospitalization")
    frame = (
        directory.scan(
            "hospitalization",
            times=("admission_dttm", "discharge_dttm"),
            numbers=("age_at_admission",),
            others=(ID, "patient_id", "discharge_category", *(column for _, column in static)),
        )
        .select(
            ID,
            "patient_id",
            pl.col("admission_dttm").alias("admission"),
            pl.col("discharge_dttm").alias("discharge_time"),
            pl.col("age_at_admission").alias("age"),
            category(pl.col("discharge_category"), "hospitalization", "discharge_category").alias(
                "discharge"
            ),
            *_static_columns("hospitalization", static),
        )
        .unique()
        .drop_nulls(ID)
        .collect()
    )
    repeated = frame.height - frame[ID].n_unique()
    if repeated:
        raise UserError(
            f"{directory.path('hospitalization')}: {repeated} hospitalization_id stand on rows that differ; "
            "keep one row a stay."
        )
    return frame


def _patients(directory: ClifDirectory, event_map: EventMap) -> pl.DataFrame:
    static = _static(event_map, "patient")
    shown = ("sex_category", "race_category", "ethnicity_category")
    frame = (
        directory.scan("patient", others=("patient_id", *shown, *(column for _, column in static)))
        .select(
            "patient_id",
            *(_spelled(column).alias(column.removesuffix("_category")) for column in shown),
            *_static_columns("patient", static),
        )
        .unique()
        .drop_nulls("patient_id")
        .collect()
    )
    repeated = frame.height - frame["patient_id"].n_unique()
    if repeated:
        raise UserError(
            f"{directory.path('patient')}: {repeated} patient_id stand on rows that differ; keep one row a "
            "patient."
        )
    return frame


def _static(event_map: EventMap, table: str) -> list[tuple[str, str]]:
    fields = (*event_map.prefix, *event_map.suffix)
    return [(f.family, f.column) for f in fields if f.table == table and f.family != "age"]


def _static_columns(table: str, static: list[tuple[str, str]]) -> list[pl.Expr]:
    return [category(pl.col(column), table, column).alias(f"static_{family}") for family, column in static]


def _spelled(column: str) -> pl.Expr:
    """A demographic category as it is shown; values CLIF does not know as they are, empty ones null."""
    cleaned = pl.col(column).str.strip_chars()
    known = category(pl.col(column)).replace_strict(SPELLING, default=None, return_dtype=pl.String)
    return pl.when(cleaned != "").then(pl.coalesce(known, cleaned))


def add_split(stays: pl.DataFrame, fractions: SplitFractions) -> pl.DataFrame:
    """Add `split` by patient, in order of the patient's first admission (ties by patient_id).

    Every stay of a patient falls into that patient's split.

    >>> frame = pl.DataFrame({"patient_id": ["a", "b", "a", "c"], "admission": [1, 2, 9, 3]})
    >>> add_split(frame, SplitFractions(0.4, 0.2, 0.4))["split"].to_list()
    ['train', 'tuning', 'train', 'test']
    """
    patients = stays.group_by("patient_id").agg(pl.col("admission").min()).sort("admission", "patient_id")
    place = (pl.int_range(pl.len()) + 0.5) / pl.len()
    patients = patients.select(
        "patient_id",
        pl.when(place < fractions.train)
        .then(pl.lit("train"))
        .when(place < fractions.train + fractions.tuning)
        .then(pl.lit("tuning"))
        .otherwise(pl.lit("test"))
        .alias("split"),
    )
    return stays.join(patients, on="patient_id", how="left", maintain_order="left")
