"""Which stays a cohort's rule holds for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl

from ehrfm_core.cohorts.polygon import inside
from ehrfm_core.cohorts.predicate import ANY, SITE, Cohort, Region
from ehrfm_core.errors import UserError

ID = "hospitalization_id"


def members(
    cohort: Cohort, site: str, stays: pl.DataFrame, paths: Callable[[], pl.DataFrame]
) -> pl.DataFrame:
    """The rows of `stays`, a site's table of stays, for which the rule holds.

    A rule never holds where the value is null, but for one that asks for "not recorded" (None). `paths` gives
    one row a stay and hour (hospitalization_id, hour, and <kind>_x and <kind>_y of each map); it is called
    only where the rule has a region. Raises UserError where a column is missing or of another type.
    """
    if cohort.sites is not None and site not in cohort.sites:
        return stays.clear()
    kept = stays.filter(*_filters(cohort, stays.schema))
    for region in cohort.regions:
        there = in_region(region, paths())
        kept = kept.join(there, on=ID, how="semi", maintain_order="left")
    return kept


def in_region(region: Region, paths: pl.DataFrame) -> pl.DataFrame:
    """Column hospitalization_id: the stays that are in a region, at the last hour or at any."""
    places = paths.lazy().select(ID, "hour", f"{region.kind}_x", f"{region.kind}_y")
    if region.hour != ANY:
        places = places.filter(pl.col("hour") == pl.col("hour").max())
    found = places.select(ID, pl.col(f"{region.kind}_x", f"{region.kind}_y").fill_null(np.nan)).collect()
    x, y = found[f"{region.kind}_x"].to_numpy(), found[f"{region.kind}_y"].to_numpy()
    there = np.any([inside(x, y, shape) for shape in region.shapes], axis=0)
    return found.select(ID).filter(pl.Series(there)).unique()


def _filters(cohort: Cohort, schema: pl.Schema) -> list[pl.Expr]:
    kept = [_level(column, values, schema) for column, values in cohort.levels if column != SITE]
    for column, (low, high) in cohort.ranges:
        _column(column, schema, number=True)
        kept += [pl.col(column) >= low] if low is not None else []
        kept += [pl.col(column) <= high] if high is not None else []
        kept += [pl.col(column).is_not_null()]
    for column, value in cohort.flags:
        _column(column, schema, kind=pl.Boolean)
        kept.append(pl.col(column) == value)
    return kept


def _level(column: str, values: tuple[str | None, ...], schema: pl.Schema) -> pl.Expr:
    _column(column, schema, kind=pl.String)
    known = pl.col(column).is_in([value for value in values if value is not None])
    return known | pl.col(column).is_null() if None in values else known


def _column(
    column: str, schema: pl.Schema, *, kind: type[pl.DataType] | None = None, number: bool = False
) -> None:
    found = schema.get(column)
    if found is None:
        raise UserError(f"The cohort asks for {column!r}, which the stays of this study do not have.")
    if (number and not found.is_numeric()) or (kind is not None and found != kind):
        raise UserError(f"The cohort asks for values of {column!r} that this column cannot have.")
