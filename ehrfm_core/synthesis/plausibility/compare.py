"""How plausible the synthetic hospitals are: side by side with a real one.

`readings` reads records with their stay, hour and place, `values` compares values
and charting intervals, `signs` correlations; `paper` compares stays with published
figures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from ehrfm_core.errors import UserError
from ehrfm_core.published import SITES
from ehrfm_core.synthesis.plausibility.readings import TABLES, Category, Records, open_records
from ehrfm_core.synthesis.plausibility.signs import PAIRS, category_of, medians, sign_rows
from ehrfm_core.synthesis.plausibility.values import early_rows, gap_rows, values_rows

MOST_LABS = 15
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Comparison:
    """A synthetic hospital beside a real one; columns as in the functions that make the rows.

    `values` (see `values_rows`), `gaps` (`gap_rows`), `early` (`early_rows`), `signs` (`sign_rows`); `notes`:
    what is missing, one sentence each.
    """

    values: pl.DataFrame
    gaps: pl.DataFrame
    early: pl.DataFrame
    signs: pl.DataFrame
    notes: list[str]

    @property
    def verdict(self) -> str:
        """How many clear signs of the real data the synthetic ones share, and which they do not."""
        clear = self.signs.filter("real_clear")
        same = clear.filter("agree")
        parts = [
            f"Of {self.signs.height} pairs {clear.height} have a clear sign in the real data (the interval "
            f"excludes 0); {same.height} of these have the same sign in the synthetic data, "
            f"{same.filter('synthetic_clear').height} of them clearly."
        ]
        for label, rows in (
            ("Same sign, but not clearly", same.filter(~pl.col("synthetic_clear").fill_null(value=False))),
            ("Other sign", clear.filter(~pl.col("agree"))),
            ("Not known in the synthetic data", clear.filter(pl.col("agree").is_null())),
        ):
            if rows.height:
                names = (f"{first}–{second}" for first, second in rows.select("first", "second").rows())
                parts.append(f"{label}: {', '.join(names)}.")
        return " ".join(parts)


def synthetic_sites(out: Path) -> dict[str, Path]:
    """The folders of both hospitals in what `synthesize` wrote, by site; UserError where one is not there."""
    for site in SITES:
        if not (out / site).is_dir():
            raise UserError(
                f"{out} holds no folder {site}: give the folder that `python -m train synthesize` wrote, "
                f"with {' and '.join(SITES)} in it."
            )
    return {site: out / site for site in SITES}


def compare(
    synthetic: Path,
    real: Path,
    *,
    pairs: Sequence[tuple[str, str]] = PAIRS,
    seed: int = 0,
    n_replicates: int = 500,
    progress: Progress = lambda done, total: None,
) -> Comparison:
    """Compare two CLIF directories: the 15 commonest labs and all vitals of the real one, and pairs.

    One category is read at a time, so that memory does not grow with their number; only stays of adults
    with at least 24 h count. `progress` is told how many steps are done, of how many. Raises UserError
    where a directory is none, or no stay is left.
    """
    theirs, ours = open_records(real), open_records(synthetic)
    shown = [*theirs.commonest("vitals"), *theirs.commonest("labs", MOST_LABS)]
    correlated = dict.fromkeys(category_of(name) for pair in pairs for name in pair)
    everything = list(dict.fromkeys((*shown, *correlated)))
    steps = len(everything) + len(pairs)
    values: list[dict[str, Any]] = []
    gaps: list[dict[str, Any]] = []
    in_bins: tuple[dict[Category, pl.DataFrame], ...] = ({}, {})
    for done, category in enumerate(everything):
        two = theirs.read(category), ours.read(category)
        if category in shown:
            values += values_rows(category, *two)
            gaps += gap_rows(category, *two)
        if category in correlated:
            for known, records in zip(in_bins, two, strict=True):
                known[category] = medians(records)
        progress(done + 1, steps)
    signs = sign_rows(
        (theirs, in_bins[0]),
        (ours, in_bins[1]),
        pairs=pairs,
        seed=seed,
        n_replicates=n_replicates,
        progress=lambda done, _: progress(len(everything) + done, steps),
    )
    told = dict.fromkeys(("real_clear", "synthetic_clear", "agree"), pl.Boolean)
    return Comparison(
        pl.DataFrame(values, infer_schema_length=None),
        pl.DataFrame(gaps, infer_schema_length=None),
        pl.DataFrame(early_rows(theirs, ours), infer_schema_length=None),
        pl.DataFrame(signs, infer_schema_length=None, schema_overrides=told),
        [*_missing("real", theirs, correlated), *_missing("synthetic", ours, everything)],
    )


def _missing(name: str, hospital: Records, wanted: Iterable[Category]) -> list[str]:
    """What of the wanted categories a hospital does not have, a sentence a table."""
    notes = []
    for table in TABLES:
        there = set(hospital.spellings[table]["name"])
        lacking = [
            category.name for category in wanted if category.table == table and category.name not in there
        ]
        if table not in hospital.directory:
            notes.append(f"The {name} hospital has no table clif_{table}.")
        elif lacking:
            notes.append(f"The {name} hospital has no {', '.join(lacking)} in clif_{table}.")
    if "adt" not in hospital.directory:
        notes.append(f"The {name} hospital has no table clif_adt: ICU and ward are not told apart.")
    return notes
