"""How large a parquet file becomes in memory, told from its footer before anything is read."""

from __future__ import annotations

from pathlib import Path

from pyarrow import ArrowException, parquet

from ehrfm_core.errors import UserError

ALWAYS = 500_000_000  # bytes in memory that any file may take
TIMES = 400  # beyond: as many times the bytes on disk; tables of patients reach 40
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "INT64": 8, "DOUBLE": 8}  # others, text above all: 16


def check_size(path: Path) -> None:
    """Raise UserError where a file says of itself that it holds absurdly more than it has bytes.

    A kilobyte of parquet can stand for a thousand million rows of one repeated value. A footer that cannot
    be read is left to whoever reads the file.
    """
    try:
        footer = parquet.read_metadata(path)
    except (ArrowException, OSError):
        return
    needed = 0
    for i in range(footer.num_row_groups):
        group = footer.row_group(i)
        for j in range(group.num_columns):
            column = group.column(j)
            values = max(column.num_values, group.num_rows)
            needed += max(values * _WIDTHS.get(column.physical_type, 16), column.total_uncompressed_size)
    size = path.stat().st_size
    if needed > max(ALWAYS, TIMES * size):
        raise UserError(
            f"{path} has {size:,} bytes and would become {needed / 1e9:,.0f} GB in memory "
            f"({footer.num_rows:,} rows): that is no table of stays or events; write the file again."
        )
