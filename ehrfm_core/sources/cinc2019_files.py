"""Files of the Challenge 2019: which are records, one row each, and their values by variable."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from ehrfm_core.sources.challenge_files import File, Findings, files_of
from ehrfm_core.sources.challenge_rows import Rows, body_of, header_of, report_cut
from ehrfm_core.sources.clif_variables import Counts, Variable, convert

NAME = re.compile(r"p[01]\d{5}\.psv")
LABEL, HOUR = "SepsisLabel", "ICULOS"
NEEDED = (HOUR, LABEL)
DESCRIBE = ("Age", "Gender", "Unit1", "Unit2")
UNREAD = ("HospAdmTime",)
VARIABLES = {
    "HR": Variable("heart_rate"),
    "O2Sat": Variable("spo2"),
    "Temp": Variable("temp_c"),
    "SBP": Variable("sbp"),
    "MAP": Variable("map"),
    "DBP": Variable("dbp"),
    "Resp": Variable("respiratory_rate"),
    "HCO3": Variable("bicarbonate"),
    "FiO2": Variable("fio2_set"),
    "pH": Variable("ph_arterial"),
    "PaCO2": Variable("pco2_arterial"),
    "SaO2": Variable("so2_arterial"),
    "AST": Variable("ast"),
    "BUN": Variable("bun"),
    "Alkalinephos": Variable("alkaline_phosphatase"),
    "Calcium": Variable("calcium_total"),
    "Chloride": Variable("chloride"),
    "Creatinine": Variable("creatinine"),
    "Bilirubin_direct": Variable("bilirubin_conjugated"),
    "Glucose": Variable("glucose_serum"),
    "Lactate": Variable("lactate"),
    "Magnesium": Variable("magnesium"),
    "Phosphate": Variable("phosphate"),
    "Potassium": Variable("potassium"),
    "Bilirubin_total": Variable("bilirubin_total"),
    "TroponinI": Variable("troponin_i", 1_000),
    "Hgb": Variable("hemoglobin"),
    "PTT": Variable("ptt"),
    "WBC": Variable("wbc"),
    "Platelets": Variable("platelet_count"),
}
LEFT_OUT = ("EtCO2", "BaseExcess", "Hct", "Fibrinogen")
COLUMNS = (*VARIABLES, *LEFT_OUT, *DESCRIBE, *UNREAD, *NEEDED)


@dataclass
class Records2019:
    """What the files hold, as it is read: one row a record (`records`), values by variable, ids by number."""

    counts: Counts
    names: list[str] = field(default_factory=list)
    known: set[str] = field(default_factory=set)
    records: list[pl.DataFrame] = field(default_factory=list)
    values: dict[str, list[pl.DataFrame]] = field(default_factory=dict)
    strangers: int = 0
    hourless: int = 0


def read_files(sources: Sequence[Path], findings: Findings, counts: Counts) -> Records2019:
    """Read every file of the sources; what is wrong with them goes to `findings`."""
    read = Records2019(counts)
    rows: dict[str, Rows] = {}  # by header
    for file in files_of(sources, findings):
        header = header_of(file.data)
        if header.startswith(("Time,Parameter,Value", "RecordID,")):
            read.strangers += 1
        elif not file.name.endswith(".psv"):
            findings.others += 1
        elif _fits(file, header, read, findings):
            same = rows.setdefault(header, Rows(dict.fromkeys(header.split("|"), pl.Float64()), "|"))
            body, lines, broken = body_of(file.data, b"|", len(same.columns))
            report_cut(findings, file.name, broken)
            if not lines:
                findings.add("no row; left out.", file.name)
                continue
            name = file.name.removesuffix(".psv")
            read.known.add(name)
            read.names.append(name)
            if same.add(len(read.names) - 1, body, lines):
                _take(same.take(), read)
    for same in rows.values():
        _take(same.take(), read)
        if same.not_numbers:
            findings.add("{amount} values are no numbers; they are left out.", "records", same.not_numbers)
    return read


def _fits(file: File, header: str, read: Records2019, findings: Findings) -> bool:
    """Whether a file is a record that is new; tells what is wrong with it, or what it lacks."""
    columns = header.split("|")
    lacking = [column for column in COLUMNS if column not in columns]
    vital = [column for column in lacking if column in NEEDED]
    if not NAME.fullmatch(file.name):
        findings.add(
            "no name such as p000001.psv or p100001.psv, which tells the hospital; left out.", file.name
        )
    elif not file.data.strip():
        findings.add("empty file; left out.", file.name)
    elif vital or len(set(columns)) < len(columns):
        what = f"column {vital[0]!r} is missing" if vital else "a column is there twice"
        findings.add(f"{what}; left out.", file.name)
    elif file.name.removesuffix(".psv") in read.known:
        findings.add("there already, under the same name; the first one counts.", file.place)
    else:
        if lacking:
            findings.add(
                f"column {lacking[0]!r} is missing ({len(lacking)} in all); the rest is read.", file.name
            )
        return True
    return False


def _take(rows: pl.DataFrame, read: Records2019) -> None:
    """Add rows of whole records to what was read."""
    hour = pl.col(HOUR).fill_nan(None)
    known = rows.filter((hour >= 1) & (hour < 24 * 366) & (hour % 1 == 0)).with_columns(
        pl.all().exclude("record").fill_nan(None)
    )
    read.hourless += rows.height - known.height
    rows = known.with_columns((60 * pl.col(HOUR)).cast(pl.Int32).alias("minute"))
    absent = [name for name in DESCRIBE if name not in rows.columns]
    rows = rows.with_columns(pl.lit(None, dtype=pl.Float64).alias(name) for name in absent)
    read.records.append(
        rows.group_by("record", maintain_order=True).agg(
            *(pl.col(name).drop_nulls().first() for name in DESCRIBE),
            pl.col(HOUR).min().alias("first"),
            pl.col(HOUR).max().alias("last"),
            pl.col(HOUR).filter(pl.col(LABEL) == 1).min().alias("positive"),
            pl.col(LABEL).count().alias("labels"),
        )
    )
    for name in (*VARIABLES, *LEFT_OUT):
        if name not in rows.columns:
            continue
        values = rows.select("record", "minute", pl.col(name).alias("value")).drop_nulls("value")
        if name in LEFT_OUT:
            read.counts.add("left_out", name, values.height)
            continue
        read.counts.add("missing", name, rows.height - values.height)
        read.values.setdefault(name, []).append(convert(name, VARIABLES[name], values, read.counts))
