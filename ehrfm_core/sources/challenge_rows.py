"""Rows of many small text files, joined and read in one go, each with the number of its file."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from ehrfm_core.sources.challenge_files import Findings

AT_ONCE = 32 << 20  # bytes read in one go
CUT = "{amount} rows are cut off or have too many fields; they are left out."


def header_of(data: bytes) -> str:
    r"""The first line of a file, without a byte order mark.

    >>> header_of(b"Time,Parameter,Value\r\n00:00,Age,54")
    'Time,Parameter,Value'
    """
    line = data[:4096].removeprefix(b"\xef\xbb\xbf").partition(b"\n")[0]
    return line.decode("utf-8", "replace").strip()


def body_of(data: bytes, separator: bytes, n_fields: int) -> tuple[bytes, int, int]:
    """The lines after the header that have all their fields, their number, and that of those left out.

    A last line that does not end in a line break was cut off, its last number perhaps with it.
    """
    body = data.partition(b"\n")[2]
    if b"\r" in body:
        body = body.replace(b"\r\n", b"\n")
    body, _, tail = body.rpartition(b"\n")
    rows = body.split(b"\n")
    kept = [row for row in rows if row.count(separator) == n_fields - 1]
    broken = sum(1 for row in rows if row.strip()) - len(kept) if len(kept) < len(rows) else 0
    whole = body if len(kept) == len(rows) else b"\n".join(kept)
    return whole + b"\n" if kept else b"", len(kept), broken + bool(tail.strip())


@dataclass
class Rows:
    """Rows of files with the same header: `add` bodies, then `take` the frames read since.

    A frame has `record` (UInt32, the file's number), and the columns; numbers that are none are null and
    counted in `not_numbers`.
    """

    columns: Mapping[str, pl.DataType]
    separator: str
    not_numbers: int = 0
    _bodies: list[bytes] = field(default_factory=list)
    _numbers: list[int] = field(default_factory=list)
    _lines: list[int] = field(default_factory=list)
    _size: int = 0

    def add(self, number: int, body: bytes, lines: int) -> bool:
        """Take the body of a file; return whether there is enough for a `take`."""
        self._bodies.append(body)
        self._numbers.append(number)
        self._lines.append(lines)
        self._size += len(body)
        return self._size >= AT_ONCE

    def take(self) -> pl.DataFrame:
        """The rows added since the last call."""
        text = b"".join(self._bodies)
        record = pl.Series("record", np.repeat(np.array(self._numbers, dtype=np.uint32), self._lines))
        self._bodies, self._numbers, self._lines, self._size = [], [], [], 0
        if not text:
            return pl.DataFrame(schema={"record": pl.UInt32(), **self.columns})
        try:
            frame = self._read(text, self.columns)
        except pl.exceptions.ComputeError:  # some number is none: see which
            raw = self._read(text, dict.fromkeys(self.columns, pl.String()))
            frame = raw.with_columns(
                pl.col(name).str.strip_chars().cast(dtype, strict=False)
                for name, dtype in self.columns.items()
            )
            filled = (raw[name].drop_nulls().str.strip_chars() != "" for name in raw.columns)
            known = sum(int(flags.sum()) for flags in filled)
            self.not_numbers += known - sum(frame[name].count() for name in frame.columns)
        return frame.insert_column(0, record)

    def _read(self, text: bytes, columns: Mapping[str, pl.DataType]) -> pl.DataFrame:
        return pl.read_csv(
            io.BytesIO(text),
            has_header=False,
            separator=self.separator,
            quote_char=None,
            schema=dict(columns),
            encoding="utf8-lossy",
        )


def report_cut(findings: Findings, name: str, broken: int) -> None:
    """Tell of rows of a file that were left out."""
    if broken:
        findings.add(CUT, name, broken)
