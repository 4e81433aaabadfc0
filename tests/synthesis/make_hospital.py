"""Simulated hospitals for tests, and what was written of them, table by table."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import polars as pl

from ehrfm_core.study.files import sha256
from ehrfm_core.synthesis.charting.chart import OWN, Chart
from ehrfm_core.synthesis.hospital import Hospital
from ehrfm_core.synthesis.latent.futures import futures
from ehrfm_core.synthesis.latent.patients import Patients
from ehrfm_core.synthesis.latent.simulate import Stays, run
from ehrfm_core.synthesis.latent.step import DIED, FIRST_DAY, LONG_STAY
from ehrfm_core.synthesis.tables import LOCAL, Tables
from ehrfm_core.synthesis.write import synthesize

ID = "hospitalization_id"
SIGMAS = 4.0  # what chance alone may do
NOTHING: frozenset[str] = frozenset()
DRAWS = 4


@dataclass(frozen=True, eq=False)
class Simulated:
    """Stays of a hospital that nobody has written down."""

    hospital: Hospital
    patients: Patients
    stays: Stays

    @cached_property
    def chart(self) -> Chart:
        """The stays, ready to be read, with constant traits of the patients."""
        own = np.random.default_rng(7).standard_normal((len(self.patients.age), len(OWN)))
        return Chart(self.hospital, self.patients, self.stays, own.astype(np.float32))

    @cached_property
    def tables(self) -> Tables:
        """The chart with an id for everybody."""
        numbers = np.arange(len(self.stays.hours)) + 100_000
        return Tables(self.chart, numbers, 10 * numbers)

    @cached_property
    def happened(self) -> np.ndarray:
        """Whether death, long stay, and ICU and ventilation after the first day came (n, 4)."""
        stays = self.stays
        late = (stays.exit == DIED, stays.hours > LONG_STAY)
        return np.column_stack([*late, stays.first_icu > FIRST_DAY, stays.first_imv > FIRST_DAY])

    @cached_property
    def risks(self) -> tuple[np.ndarray, np.ndarray]:
        """True risks (n, 4) and their errors from a few futures."""
        return futures(np.random.default_rng(10), self.stays, self.hospital.policy, DRAWS)

    @cached_property
    def other_risks(self) -> tuple[np.ndarray, np.ndarray]:
        """The same from other futures: stays ranked by `risks` have an unbiased mean of these."""
        return futures(np.random.default_rng(11), self.stays, self.hospital.policy, DRAWS)


def clock(times: pl.Series) -> pl.Series:
    """Hour of the day of UTC times, as the hospital's clocks show it."""
    return (times - LOCAL).dt.hour()


def simulate(hospital: Hospital, n: int, *, seed: int = 0) -> Simulated:
    """Simulate n stays."""
    return Simulated(hospital, *run(np.random.default_rng(seed), n, hospital))


@dataclass(frozen=True, eq=False)
class Written:
    """What `synthesize` wrote into a folder."""

    folder: Path

    @cache  # noqa: B019 – lives as long as the tests
    def table(self, site: str, name: str) -> pl.DataFrame:
        """A CLIF table of a site."""
        return pl.read_parquet(self.folder / site / f"clif_{name}.parquet")

    @cache  # noqa: B019
    def truth(self, site: str, name: str) -> pl.DataFrame:
        """`stays` or `hours` of a site's truth."""
        return pl.read_parquet(self.folder / "truth" / site / f"{name}.parquet")

    def stays(self, site: str) -> pl.DataFrame:
        """Id, admission, discharge, and length in minutes of each stay."""
        length = (pl.col("discharge_dttm") - pl.col("admission_dttm")).dt.total_minutes()
        table = self.table(site, "hospitalization")
        return table.select(ID, "admission_dttm", "discharge_dttm", length.alias("length"))

    def timed(self, site: str, name: str, time: str = "recorded_dttm") -> pl.DataFrame:
        """A table with `minute` since admission and the stay's `length`."""
        minute = (pl.col(time) - pl.col("admission_dttm")).dt.total_minutes().alias("minute")
        return self.table(site, name).join(self.stays(site), on=ID).with_columns(minute)

    def beside_truth(self, site: str, name: str, time: str = "recorded_dttm") -> pl.DataFrame:
        """A table beside the latent state at the last full hour before each row."""
        rows = self.timed(site, name, time)
        rows = rows.with_columns((pl.col("minute") // 60).cast(pl.Int32).alias("hour"))
        return rows.join(self.truth(site, "hours"), on=[ID, "hour"])


def write(
    out: Path, *, stays: int, parts: frozenset[str] = NOTHING, seed: int = 0, sites: tuple[str, ...] = ()
) -> Written:
    """Write hospitals with the fewest futures."""
    some = {"sites": sites} if sites else {}
    assert synthesize(out, stays=stays, seed=seed, parts=parts, draws=2, **some)
    return Written(out)


def hashes(folder: Path) -> dict[str, str]:
    """Hash of every file below a folder, by path."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): sha256(path) for path in files}


def tables_of(folder: Path) -> dict[str, str]:
    """The same for the tables alone: what is recorded beside them names the options."""
    return {name: digest for name, digest in hashes(folder).items() if name.endswith(".parquet")}
