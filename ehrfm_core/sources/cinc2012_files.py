"""Files of the Challenge 2012: which are records, which outcomes, and their rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from ehrfm_core.sources.challenge_files import File, Findings, files_of
from ehrfm_core.sources.challenge_rows import Rows, body_of, header_of, report_cut
from ehrfm_core.sources.clif_writing import ID

HEADER = "Time,Parameter,Value"
LENGTH, DEATH = "Length_of_stay", "In-hospital_death"


@dataclass
class Records2012:
    """What the files hold: rows as charted, names of records by number, outcomes, how many files of 2019."""

    frames: list[pl.DataFrame] = field(default_factory=list)
    names: dict[str, int] = field(default_factory=dict)
    outcomes: list[pl.DataFrame] = field(default_factory=list)
    strangers: int = 0
    not_numbers: int = 0


def read_files(sources: Sequence[Path], findings: Findings) -> Records2012:
    """Read every file of the sources; what is wrong with them goes to `findings`."""
    read = Records2012()
    rows = Rows({"Time": pl.String(), "Parameter": pl.String(), "Value": pl.Float64()}, ",")
    for file in files_of(sources, findings):
        header = header_of(file.data)
        if header == HEADER:
            if _add(file, read, rows, findings):
                read.frames.append(_typed(rows.take(), findings))
        elif header.startswith("RecordID"):
            _add_outcomes(file, header, read, findings)
        elif "|" in header and "SepsisLabel" in header:
            read.strangers += 1
        elif file.name.removesuffix(".txt").isdecimal():
            missing = [column for column in HEADER.split(",") if column not in header.split(",")]
            what = f"column {missing[0]!r} is missing" if missing else f"the first line is not {HEADER}"
            findings.add(f"{what if file.data.strip() else 'empty file'}; left out.", file.name)
        else:
            findings.others += 1
    read.frames.append(_typed(rows.take(), findings))
    read.not_numbers = rows.not_numbers
    return read


def _add(file: File, read: Records2012, rows: Rows, findings: Findings) -> bool:
    """Take a record; whether there are rows enough to be read."""
    body, lines, broken = body_of(file.data, b",", 3)
    name = file.name.removesuffix(".txt")
    if body.startswith(b"00:00,RecordID,"):
        name = body[15 : body.index(b"\n")].decode("utf-8", "replace").strip()
    report_cut(findings, file.name, broken)
    if name in read.names:
        findings.add("there already, under the same RecordID; the first one counts.", file.place)
        return False
    read.names[name] = len(read.names)
    return rows.add(read.names[name], body, lines)


def _add_outcomes(file: File, header: str, read: Records2012, findings: Findings) -> None:
    columns = header.split(",")
    if missing := [column for column in ("RecordID", LENGTH, DEATH) if column not in columns]:
        findings.add(f"column {missing[0]!r} is missing; its outcomes are left out.", file.name)
        return
    rows = Rows(dict.fromkeys(columns, pl.Float64()), ",")
    body, lines, broken = body_of(file.data, b",", len(columns))
    report_cut(findings, file.name, broken)
    rows.add(0, body, lines)
    frame = rows.take().select(
        pl.col("RecordID").cast(pl.Int64, strict=False).cast(pl.String).alias(ID), LENGTH, DEATH
    )
    read.outcomes.append(frame.drop_nulls(ID))


def _typed(rows: pl.DataFrame, findings: Findings) -> pl.DataFrame:
    """record, minute (since admission), name and value; rows without a time or a parameter left out."""
    times = rows["Time"].unique().to_list()
    minutes = {time: _minute(time) for time in times if time is not None}
    rows = rows.select(
        "record",
        pl.col("Time").replace_strict(minutes, default=None, return_dtype=pl.Int32).alias("minute"),
        pl.col("Parameter").str.strip_chars().replace({"": None}).cast(pl.Categorical).alias("name"),
        pl.col("Value").fill_nan(None).alias("value"),
    )
    nameless, timeless = rows["name"].null_count(), rows.filter(pl.col("minute").is_null())["name"].count()
    if nameless:
        findings.add("{amount} rows name no parameter; they are left out.", "records", nameless)
    if timeless:
        findings.add("{amount} rows have no time such as 07:37; they are left out.", "records", timeless)
    return rows.drop_nulls(["name", "minute"])


def _minute(time: str) -> int | None:
    """Minutes of HH:MM since admission.

    >>> _minute("47:30"), _minute("noon")
    (2850, None)
    """
    hours, colon, minutes = time.strip().partition(":")
    if not (colon and hours.isdecimal() and minutes.isdecimal() and len(hours) < 4 and int(minutes) < 60):
        return None
    return 60 * int(hours) + int(minutes)
