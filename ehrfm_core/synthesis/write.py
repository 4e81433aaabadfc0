"""Write two hospitals of any size: a lot of stays at a time, each from a random stream of its own."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from ehrfm_core import __version__
from ehrfm_core.errors import UserError
from ehrfm_core.parallel import in_order
from ehrfm_core.study.files import read_json, write_json
from ehrfm_core.synthesis.charted import MAKERS
from ehrfm_core.synthesis.charting.chart import OWN, Chart
from ehrfm_core.synthesis.hospital import PARTS, SITES, Hospital, hospitals
from ehrfm_core.synthesis.latent.simulate import run
from ehrfm_core.synthesis.mark import MARK
from ehrfm_core.synthesis.tables import Tables
from ehrfm_core.synthesis.truth import true_hours, true_stays

FORMAT = 1
LOT = 2_000  # stays simulated and charted at once
MOST_STAYS = 5_000_000
DRAWS = 16
MANIFEST = "synthesis.json"
TRUTH = "truth"
TRUE_FILES = frozenset({"stays.parquet", "hours.parquet"})
FIRST_ID = 10_000_000  # ids of the first site; each further site begins as many higher
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Settings:
    """What determines every byte: stays by site, seed, parts of the shift, futures behind each true risk."""

    stays: dict[str, int]
    seed: int
    parts: tuple[str, ...]
    draws: int

    def to_json(self) -> dict[str, Any]:
        """As it stands in synthesis.json."""
        return {
            "format": FORMAT,
            "version": __version__,
            "seed": self.seed,
            "stays": self.stays,
            "shift": list(self.parts),
            "draws": self.draws,
        }


def synthesize(
    out: Path,
    *,
    stays: int | Mapping[str, int],
    seed: int = 0,
    parts: frozenset[str] = frozenset(PARTS),
    sites: Sequence[str] = SITES,
    draws: int = DRAWS,
    progress: Progress | None = None,
) -> bool:
    """Write `out`/mimic and `out`/ucmc as CLIF 2.1, the truth into `out`/truth; return whether anything ran.

    The same settings give the same bytes. Memory does not grow with `stays`. Written to hidden folders first:
    an interrupted run leaves nothing that looks finished. `progress` is told stays done and stays in all.
    Raises UserError where `out` holds something else, or the numbers cannot be.
    """
    if unknown := [site for site in sites if site not in SITES]:
        raise UserError(f"{unknown[0]!r} is none of the synthetic hospitals {', '.join(SITES)}.")
    by_site = {site: stays if isinstance(stays, int) else stays[site] for site in sites}
    if bad := [n for n in by_site.values() if not 1 <= n <= MOST_STAYS]:
        raise UserError(f"--stays {bad[0]}: give a number from 1 to {MOST_STAYS:,}.")
    if draws < 2:
        raise UserError(f"--draws {draws}: a risk and its error need at least 2 simulated futures.")
    settings = Settings(by_site, seed, tuple(part for part in PARTS if part in parts), draws)
    if _finished(out, settings, sites):
        return False
    out.mkdir(parents=True, exist_ok=True)
    known = dict(zip(SITES, hospitals(parts), strict=True))
    done, total = 0, sum(by_site.values())
    for index, site in enumerate(SITES):
        if site not in by_site:
            continue
        for written in _write_site(out, known[site], index, settings):
            done += written
            if progress:
                progress(done, total)
    write_json(out / MANIFEST, settings.to_json())
    return True


def _finished(out: Path, settings: Settings, sites: Sequence[str]) -> bool:
    """Whether `out` holds just this synthesis already; UserError where it holds anything else."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is not a folder; give a new or empty folder for the hospitals.")
    held = [path for path in out.iterdir() if not path.name.endswith(".partial")] if out.is_dir() else []
    if not held:
        return False
    if (out / MANIFEST).is_file():
        before = read_json(out / MANIFEST)
        wanted = settings.to_json()
        if before == wanted:
            return all(path.is_file() for site in sites for path in _files(out, site))
        raise UserError(
            f"{out} holds hospitals made with other options ({_difference(before, wanted)}); give a "
            "new folder, or remove this one first."
        )
    strange = [path for path in held if not _is_ours(path)]
    if strange:
        raise UserError(
            f"{out} holds {strange[0].name}, which is not from this command; give a new or empty folder."
        )
    return False  # an interrupted run: finished sites are made again as they were


def _is_ours(path: Path) -> bool:
    """Whether a folder is a synthetic hospital, or the truth behind some."""
    if path.name == TRUTH and path.is_dir():
        return all(
            child.is_dir() and {file.name for file in child.iterdir()} <= TRUE_FILES
            for child in path.iterdir()
        )
    return path.is_dir() and (path / MARK).is_file()


def _files(out: Path, site: str) -> list[Path]:
    """Every file of a finished hospital."""
    tables = [out / site / f"clif_{name}.parquet" for name in MAKERS]
    return [*tables, out / site / MARK, *(out / TRUTH / site / name for name in sorted(TRUE_FILES))]


def _difference(before: object, wanted: dict[str, Any]) -> str:
    """The first option in which two syntheses differ, in words."""
    if not isinstance(before, dict):
        return "its record cannot be read"
    key = next((key for key in wanted if before.get(key) != wanted[key]), None)
    return f"{key} {before.get(key)}, not {wanted[key]}" if key else "more than these"


def _write_site(out: Path, hospital: Hospital, index: int, settings: Settings) -> Iterator[int]:
    """Write a site and its truth, lot by lot; yields the number of stays written."""
    n = settings.stays[hospital.name]
    scratch = out / f".{hospital.name}.partial"
    shutil.rmtree(scratch, ignore_errors=True)
    (scratch / TRUTH).mkdir(parents=True)
    lots = [(lot, min(LOT, n - lot * LOT)) for lot in range(-(-n // LOT))]
    with ExitStack() as stack:
        writers: dict[str, pq.ParquetWriter] = {}
        for frames, size in in_order(lambda lot: _lot(hospital, index, settings, *lot), lots):
            for name, frame in frames.items():
                table = frame.to_arrow().cast(_plain(frame))
                if name not in writers:
                    writer = pq.ParquetWriter(scratch / f"{name}.parquet", table.schema, compression="zstd")
                    writers[name] = stack.enter_context(writer)
                writers[name].write_table(table)
            yield size
    write_json(scratch / MARK, settings.to_json() | {"site": hospital.name})
    final, truth = out / hospital.name, out / TRUTH / hospital.name
    for folder in (final, truth):
        shutil.rmtree(folder, ignore_errors=True)
    truth.parent.mkdir(exist_ok=True)
    (scratch / TRUTH).replace(truth)
    scratch.replace(final)


def _plain(frame: pl.DataFrame) -> pa.Schema:
    """Columns as every reader of parquet knows them: text as string, not as string view."""
    schema = frame.to_arrow().schema
    plain = {pa.string_view(): pa.large_string(), pa.large_string(): pa.large_string()}
    return pa.schema([field.with_type(plain.get(field.type, field.type)) for field in schema])


def _lot(
    hospital: Hospital, index: int, settings: Settings, lot: int, size: int
) -> tuple[dict[str, pl.DataFrame], int]:
    """Every table of a lot of stays, and the truth, by file name."""
    streams = np.random.SeedSequence([settings.seed, index, lot]).spawn(3 + len(MAKERS))
    simulation, own, future, *charting = (np.random.default_rng(stream) for stream in streams)
    patients, stays = run(simulation, size, hospital)
    traits = own.standard_normal((len(patients.age), len(OWN))).astype(np.float32)
    chart = Chart(hospital, patients, stays, traits)
    first = FIRST_ID * (1 + index) + lot * LOT
    numbers = first + np.arange(size)
    tables = Tables(chart, numbers, 10 * FIRST_ID + first + np.arange(len(patients.age)))
    frames = {
        f"clif_{name}": make(tables, rng) for (name, make), rng in zip(MAKERS.items(), charting, strict=True)
    }
    frames[f"{TRUTH}/stays"] = true_stays(tables, future, draws=settings.draws)
    frames[f"{TRUTH}/hours"] = true_hours(tables)
    return frames, size
